// The end of a round: every fault is over, the configuration is as it was, and within a bounded time routers, rules, records and
// clients must agree with the API objects, however they came to be as they are.

import type { JsonObject } from '../../../src/lab/apiserver/json.ts'
import { objectsAt, stringAt, withValue } from '../../../src/lab/apiserver/json.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { parseIp } from '../../../src/net/ip.ts'
import { must } from '../../../src/runtime/result.ts'
import {
  bookkeepingProblems,
  type ClusterObjects,
  expectedRoutes,
  nameOf,
  type Routes,
  statusProblems,
} from './expected.ts'
import { configuration, deployment } from './manifests.ts'
import { kernelTable, openedAddresses, type Table, toldTables } from './observed.ts'
import { attempt, type ChaosWorld, nodeRef } from './world.ts'

/** Statuses of a Service that changed often are written every thirty seconds; the rest is quicker. */
const settledWithinMs = 120_000

/** In a row: what is right for a moment on the way to something else is not quiet. */
const quietLooksWanted = 3

/** Puts the configuration back and waits until all is well; what is wrong then is a finding. */
export async function settle(world: ChaosWorld): Promise<void> {
  world.api.faults.clear()
  for (const object of configuration()) attempt(world, 'restore', (objects) => objects.put(object))
  for (const { name } of world.nodes)
    for (const [where, key] of nodeKeys)
      attempt(world, key, (objects) =>
        objects.update(nodeRef(name), (node) => withValue(node, ['metadata', where, key], undefined)),
      )
  for (const [app, replicas] of [
    ['web', 3],
    ['single', 1],
  ] as const)
    attempt(world, app, (objects) => objects.put(deployment(app, replicas)))
  let problems: readonly string[] = ['nothing was looked at']
  let quietLooks = 0
  const startMs = performance.now()
  try {
    await waitFor(
      async () => {
        problems = await allProblems(world)
        quietLooks = problems.length === 0 ? quietLooks + 1 : 0
        return quietLooks === quietLooksWanted
      },
      { what: 'a quiet world', timeoutMs: settledWithinMs, intervalMs: 1000 },
    )
    world.log(`settled after ${((performance.now() - startMs) / 1000).toFixed(1)} s: ${describe(world)}`)
  } catch (error) {
    for (const problem of problems) world.find(problem)
    if (problems.length === 0) world.find(String(error))
  }
}

const nodeKeys = [
  ['annotations', 'bellhop.io/drain'],
  ['annotations', 'bellhop.io/next-hop'],
  ['labels', 'node.kubernetes.io/exclude-from-external-load-balancers'],
] as const

const describe = (world: ChaosWorld): string => {
  const cluster = readCluster(world)
  return `${cluster.services.length} Services, ${cluster.vips.length} Vips, ${expectedRoutes(cluster).size} of them routed`
}

function readCluster(world: ChaosWorld): ClusterObjects {
  const list = (apiVersion: string, kind: string): readonly JsonObject[] => world.objects().list(apiVersion, kind)
  return {
    services: list('v1', 'Service').filter((service) => stringAt(service, 'metadata', 'namespace') === 'default'),
    slices: list('discovery.k8s.io/v1', 'EndpointSlice'),
    nodes: list('v1', 'Node'),
    vips: list('bellhop.io/v1alpha1', 'Vip'),
    pools: list('bellhop.io/v1alpha1', 'VipPool'),
  }
}

async function allProblems(world: ChaosWorld): Promise<readonly string[]> {
  const cluster = readCluster(world)
  const routes = expectedRoutes(cluster)
  const found = [
    ...worldProblems(cluster, world),
    ...bookkeepingProblems(cluster),
    ...statusProblems(cluster, routes, ['leaf1', 'leaf2']),
    ...peerProblems(world),
    ...(await leafProblems(world, routes)),
    ...(await ruleProblems(world, cluster)),
  ]
  // Requests that cannot arrive take their time: asked last, and only where everything says that they can.
  return found.length > 0 ? found : clientProblems(world, routes)
}

/** The lab's own part: nodes are Ready, and pods as many as asked for. */
function worldProblems({ nodes }: ClusterObjects, world: ChaosWorld): readonly string[] {
  const ready = nodes.filter((node) =>
    objectsAt(node, 'status', 'conditions').some(
      (each) => stringAt(each, 'type') === 'Ready' && stringAt(each, 'status') === 'True',
    ),
  )
  const pods = world
    .objects()
    .list('v1', 'Pod', 'default')
    .filter((pod) =>
      objectsAt(pod, 'status', 'conditions').some(
        (each) => stringAt(each, 'type') === 'Ready' && stringAt(each, 'status') === 'True',
      ),
    )
  return [
    ...(ready.length === world.nodes.length ? [] : [`only ${ready.length} nodes are Ready`]),
    ...(pods.length === 5 ? [] : [`${pods.length} pods are ready instead of 5`]),
  ]
}

function peerProblems(world: ChaosWorld): readonly string[] {
  const wanted = world.homes.map(({ name }) => `bellhop-controller-${name} Established`).join(', ')
  return world
    .objects()
    .list('bellhop.io/v1alpha1', 'BgpPeer')
    .flatMap((peer) => {
      const said = objectsAt(peer, 'status', 'sessions')
        .map((entry) => `${stringAt(entry, 'speaker')} ${stringAt(entry, 'state')}`)
        .sort()
        .join(', ')
      return said === wanted ? [] : [`the status of BgpPeer ${nameOf(peer)} says: ${said}`]
    })
}

async function leafProblems({ lab, homes }: ChaosWorld, routes: Routes): Promise<readonly string[]> {
  const problems: string[] = []
  for (const router of lab.routers) {
    const told = await toldTables(lab, router)
    for (const { name, address } of homes) {
      const table = told.get(address.ipv4)
      if (table === undefined) problems.push(`${router.name} has no session with ${name}`)
      else problems.push(...difference(`${router.name}, told by ${name},`, table, routes))
    }
    problems.push(...difference(`the kernel of ${router.name}`, await kernelTable(router), routes))
  }
  return problems
}

function difference(who: string, table: Table, routes: Routes): readonly string[] {
  const wrong = [...new Set([...table.keys(), ...routes.keys()])].filter(
    (vip) => (table.get(vip) ?? []).join() !== (routes.get(vip) ?? []).join(),
  )
  return wrong.map(
    (vip) =>
      `${who} has ${vip} via ${(table.get(vip) ?? ['nothing']).join()} instead of ${(routes.get(vip) ?? ['nothing']).join()}`,
  )
}

async function ruleProblems({ nodes }: ChaosWorld, { vips }: ClusterObjects): Promise<readonly string[]> {
  const wanted = vips.map((vip) => stringAt(vip, 'spec', 'address') ?? '').sort()
  const problems: string[] = []
  for (const node of nodes) {
    const opened = await openedAddresses(node)
    if (opened.join() !== wanted.join())
      problems.push(`${node.name} lets through ${opened.join()} instead of ${wanted.join()}`)
  }
  return problems
}

async function clientProblems({ lab }: ChaosWorld, routes: Routes): Promise<readonly string[]> {
  const problems: string[] = []
  for (const vip of routes.keys()) {
    const answers = await lab.topology.client.request(must(parseIp(vip)), { count: 4, timeoutMs: 5000 })
    if (answers.failed > 0)
      problems.push(`${answers.failed} of 4 requests to ${vip} failed: ${[...answers.errors.keys()].join('; ')}`)
  }
  return problems
}
