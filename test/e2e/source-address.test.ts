// externalTrafficPolicy: Local as a client and a server see it, through two leaves by ECMP, in both families: the client's own address
// at the pod, with strict reverse path filters on the nodes; no request lost while a Deployment is rolled over; and what becomes of
// connections that last, when pods come and go on nodes that stay, and when a node goes.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { nothingFails, type Stage, setStage, vip4, vip6 } from '../../src/lab/demo/stage.ts'
import { createStory, type Probe } from '../../src/lab/demo/story.ts'
import { proxyChoiceOf } from '../../src/lab/kube-proxy/real-kube-proxy.ts'
import { type Lab, startLab } from '../../src/lab/lab.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import { clientAddress } from '../../src/lab/topology/addresses.ts'
import type { LoadOptions, RunningLoad } from '../../src/lab/topology/load.ts'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'
import { labCluster } from './support-named-cluster.ts'
import { becomes } from './support-replicas.ts'

const programs = ['iptables', 'curl', 'kubectl', ...programsOf('bird'), ...programsOf('frr')]
const timeout = 120_000
/** Of each node's Deployment: a node always has a pod that serves, whatever is rolled over or scaled. */
const perNode = 2

interface Pod {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string }
  readonly spec: { readonly nodeName?: string }
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] }
}

const deploymentOn = (node: string): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: whoami-${node}, labels: {app: whoami}}
spec:
  replicas: ${perNode}
  selector: {matchLabels: {app: whoami, on: ${node}}}
  template:
    metadata: {labels: {app: whoami, on: ${node}}}
    spec:
      nodeSelector: {kubernetes.io/hostname: ${node}}
      containers:
        - name: whoami
          image: whoami
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`

const healthCheckProgram = `
const [port, status] = process.argv.slice(1).map(Number)
require('node:http').createServer((_, response) => response.writeHead(status).end()).listen(port, () => console.log('listening'))
`

describeWith({ netns: true, programs }, 'Local, from client to server', () => {
  let lab: Lab
  let stage: Stage

  const pods = async (): Promise<readonly Pod[]> => {
    const text = await lab.mustKubectl(['get', 'pods', '-l', 'app=whoami', '-o', 'json'])
    return (JSON.parse(text) as { readonly items: readonly Pod[] }).items
  }
  const isReady = ({ status }: Pod): boolean =>
    status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false
  /** So many pods a node, all of them ready, none of them among `older`. */
  const podsAre =
    (count: number, older: ReadonlySet<string> = new Set()): Probe =>
    async () => {
      const there = await pods()
      if (there.some(({ metadata }) => older.has(metadata.name))) return 'an older pod is still there'
      const ready = there.filter(isReady)
      return there.length === count * stage.nodes.length && ready.length === there.length
        ? undefined
        : `${ready.length} of ${there.length} pods are ready`
    }
  const loads = (options: LoadOptions): Promise<readonly RunningLoad[]> =>
    Promise.all([vip4, vip6].map((vip) => lab.topology.client.startLoad(vip, options)))
  const scale = (count: number): Promise<string> =>
    lab.mustKubectl(['scale', 'deployment', '-l', 'app=whoami', `--replicas=${count}`])

  beforeAll(async () => {
    const cluster = await labCluster()
    lab = await startLab({ prefix: 'source', leaves: ['bird', 'frr'], ...cluster, clock: systemClock, log: silentLog })
    stage = setStage(lab, createStory({ write: () => {}, clock: systemClock, terminal: false }))
    await lab.install()
    for (const manifest of ['bgp', 'whoami'] as const) await lab.mustKubectl(['apply', '-f', lab.manifest(manifest)])
    await lab.mustKubectl(['annotate', 'service', 'whoami', 'bellhop.io/endpoint-policy=Serving'])
    await lab.mustKubectl(['delete', 'deployment', 'whoami'])
    for (const { name } of stage.nodes) await lab.apply(deploymentOn(name))
    await Promise.all([stage.startAgents(), stage.startController(stage.nodes[0])])
    await becomes('all pods', podsAre(perNode))
    await becomes('all next hops', stage.leavesHold(stage.nodes))
  }, timeout)
  afterAll(() => lab?.destroy())

  test('every pod sees the client’s own address, though the nodes’ reverse path filters are strict', async () => {
    for (const { namespace } of stage.nodes)
      expect(await namespace.run(['sysctl', '-n', 'net.ipv4.conf.all.rp_filter'])).toBe('1\n')
    for (const [vip, own] of [
      [vip4, clientAddress.ipv4],
      [vip6, clientAddress.ipv6],
    ] as const) {
      const answers = await lab.topology.client.request(vip, { count: 90 })
      expect([answers.failed, [...answers.bySource.keys()]]).toEqual([0, [own]])
      expect(answers.byPod.size).toBe(perNode * stage.nodes.length)
    }
  })

  test('Deployments are rolled over under load: no request fails', { timeout }, async () => {
    const older = new Set((await pods()).map(({ metadata }) => metadata.name))
    const running = await loads({ intervalMs: 20, timeoutMs: 3000 })
    await lab.mustKubectl(['rollout', 'restart', 'deployment', '-l', 'app=whoami'])
    await becomes('other pods', podsAre(perNode, older))
    for (const load of running) {
      await load.stop()
      expect(await nothingFails(load, 100)()).toBeUndefined()
    }
  })

  test('a Service that asks for a second opinion leaves a node whose health check says no', { timeout }, async () => {
    const [node1, node2, node3] = stage.nodes
    const port = Number(
      await lab.mustKubectl(['get', 'service', 'whoami', '-o', 'jsonpath={.spec.healthCheckNodePort}']),
    )
    const answer = (node: LabNode, status: number): LabProcess =>
      node.namespace.spawn([process.execPath, '-e', healthCheckProgram, String(port), String(status)])
    // Stand-ins for kube-proxy's own answers, one of which contradicts the EndpointSlices. The real one contradicts nothing, but
    // can be kept from answering.
    const isReal = proxyChoiceOf(process.env).program !== undefined
    const answers = isReal ? [] : [answer(node1, 200), answer(node2, 503), answer(node3, 200)]
    for (const program of answers)
      await program.waitUntil(() => program.output().includes('listening'), { what: 'a health check to listen' })
    if (isReal)
      await node2.namespace.run(['nft', '-f', '-'], {
        input: `table inet silence { chain input { type filter hook input priority 0; tcp dport ${port} drop; }; }`,
      })
    await lab.mustKubectl(['annotate', 'service', 'whoami', 'bellhop.io/health-check=NodePort'])
    await becomes('node2 to be left out', stage.leavesHold([node1, node3]))
    await lab.mustKubectl(['annotate', 'service', 'whoami', 'bellhop.io/health-check-'])
    await becomes('all next hops', stage.leavesHold(stage.nodes))
    for (const program of answers) await program.stop()
    if (isReal) await node2.namespace.run(['nft', 'delete table inet silence'])
  })

  test('pods come and go on nodes that stay: no connection that lasts is disturbed', { timeout }, async () => {
    const running = await loads({ connections: 'kept', askers: 20, intervalMs: 200, timeoutMs: 3000 })
    await scale(perNode + 1)
    await becomes('a pod more on each node', podsAre(perNode + 1))
    await scale(perNode)
    await becomes('a pod less on each node', podsAre(perNode))
    for (const load of running) {
      const { failed, disturbed, errors } = await load.stop()
      expect([failed, disturbed, [...new Set(errors)]]).toEqual([0, 0, []])
    }
  })

  test('a node goes: its connections break, and a part of the others’, but no new one', { timeout }, async () => {
    const [node1, node2, node3] = stage.nodes
    const lasting = await loads({ connections: 'kept', askers: 40, intervalMs: 200, timeoutMs: 3000 })
    for (const { metadata, spec } of await pods())
      if (spec.nodeName === node2.name)
        await lab.mustKubectl(['annotate', 'pod', metadata.name, 'lab.bellhop.io/ready=false'])
    await becomes('the others', stage.leavesHold([node1, node3]))
    const fresh = await loads({ intervalMs: 20, timeoutMs: 3000 })
    for (const load of fresh) await becomes('requests on new connections', nothingFails(load, 100))
    for (const load of [...fresh, ...lasting]) await load.stop()
    for (const load of lasting) {
      const { disturbed } = load.report()
      // Routers hash flows onto next hops: with one of three gone, a third has to move, and a hash without memory moves more.
      expect(disturbed).toBeGreaterThan(0)
      expect(disturbed).toBeLessThan(40)
    }
  })
})
