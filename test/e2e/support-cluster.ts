// A cluster for tests at the level of the API, and nothing below it: the embedded API server with RBAC, or the cluster that
// KUBECONFIG names. There everything lives in namespaces and behind a load balancer class of this run's own, so that nobody
// else's Services are touched, and everything made is taken away again.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import path from 'node:path'
import { parse, stringify } from 'yaml'
import { type ApiServerHandle, startApiServer } from '../../src/lab/apiserver/server.ts'
import {
  createKubectl,
  type Kubectl,
  type RunningController,
  startControllerProcess,
  whenReady,
} from '../../src/lab/loopback/programs.ts'
import { repositoryRoot } from '../../src/lab/netns/node-program.ts'
import { type Receiver, startReceiver } from '../../src/lab/receiver/receiver.ts'
import { parseAsn, parseRouterId } from '../../src/net/asn.ts'
import { familyOf, type Ip, parseIp } from '../../src/net/ip.ts'
import { must } from '../../src/runtime/result.ts'
import { namedKubeconfig, onNamedCluster } from './support-named-cluster.ts'
import { refusalsIn } from './support-rights.ts'

export interface ClusterNode {
  readonly name: string
  readonly ipv4?: Ip
  readonly ipv6?: Ip
}

export interface ApiCluster {
  /** Present when the server is the embedded one: faults can be injected. */
  readonly embedded?: ApiServerHandle
  /** As an administrator. */
  readonly kubectl: Kubectl
  /** Part of the name of every cluster-scoped object of this run. */
  readonly run: string
  /** Where the Services are. */
  readonly namespace: string
  /** spec.loadBalancerClass of the Services that are ours. */
  readonly serviceClass: string
  /** Ready nodes with an address, at most three. */
  readonly nodes: readonly ClusterNode[]
  readonly dualStack: boolean
  readonly leaf: Receiver
  /** Starts a replica and waits until it is ready. Replicas of one `group` elect one leader. */
  readonly startController: (
    name: string,
    options?: { readonly group?: 'first' | 'second' },
  ) => Promise<RunningController>
  /** The log lines of all replicas so far at level error, or about a request that was forbidden. */
  readonly errorLines: () => readonly string[]
  readonly destroy: () => Promise<void>
}

export const clusterAsn = 64512
export const leafAsn = 64513

/** The clusters to test on: the embedded one, or the one that KUBECONFIG names. */
export const clusterKinds: readonly ('embedded' | 'of KUBECONFIG')[] = onNamedCluster ? ['of KUBECONFIG'] : ['embedded']

export async function createApiCluster(kind: (typeof clusterKinds)[number]): Promise<ApiCluster> {
  const undo: (() => Promise<unknown>)[] = []
  const destroy = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step()
  }
  try {
    return await build(kind, undo, destroy)
  } catch (error) {
    await destroy()
    throw error
  }
}

async function build(
  kind: (typeof clusterKinds)[number],
  undo: (() => Promise<unknown>)[],
  destroy: () => Promise<void>,
): Promise<ApiCluster> {
  const directory = mkdtempSync(path.join(tmpdir(), 'bellhop-e2e-'))
  undo.push(async () => rmSync(directory, { recursive: true, force: true }))
  const run = `e2e-${process.pid}`
  const embedded = kind === 'embedded' ? await startEmbedded(undo) : undefined
  const kubeconfig = path.join(directory, 'kubeconfig')
  writeFileSync(kubeconfig, embedded?.kubeconfig() ?? (await namedKubeconfig()), { mode: 0o600 })
  // Credential plugins look for their own files at home.
  const kubectl = createKubectl(kubeconfig, embedded === undefined ? homedir() : directory)
  const namespace = `${run}-web`
  const groups = { first: embedded === undefined ? `${run}-bellhop` : 'bellhop-system', second: `${run}-other` }
  await refuseWhereBellhopRuns(kubectl)
  await makeNamespaces(kubectl, [namespace, ...new Set(Object.values(groups))], undo)
  await installCrds(kubectl, undo)
  const token = await serviceAccountToken(kubectl, { run, namespace: groups.first }, undo)
  const controllerConfig = path.join(directory, 'kubeconfig-controller')
  const config = embedded?.kubeconfig(token) ?? withToken(readFileSync(kubeconfig, 'utf8'), token)
  writeFileSync(controllerConfig, config, { mode: 0o600 })
  undo.push(() => removeLeftovers(kubectl, run, namespace))

  const leaf = await startReceiver({
    address: must(parseIp('127.0.0.1')),
    asn: must(parseAsn(leafAsn)),
    routerId: must(parseRouterId('10.0.0.1')),
  })
  undo.push(() => leaf.close())

  const nodes = await readNodes(kubectl)
  const serviceClass = `bellhop.io/${run}`
  const started: RunningController[] = []
  undo.push(() => Promise.all(started.map(({ process: replica }) => replica.stop())))
  // While replicas still run, Services are released as in daily life; what is left then is for `removeLeftovers`.
  undo.push(() => kubectl.run(['delete', 'services', '--all', '-n', namespace, '--timeout=20s']))
  return {
    ...(embedded === undefined ? {} : { embedded }),
    ...{ kubectl, run, namespace, serviceClass, nodes, leaf, destroy },
    dualStack: await isDualStack(kubectl, namespace),
    errorLines: () =>
      started
        .flatMap(({ process: replica }) => replica.output().split('\n'))
        .filter((line) => line.includes('"level":"error"') || refusalsIn(line).length > 0),
    startController: async (name, { group = 'first' } = {}) => {
      const [node] = nodes
      const controller = await startControllerProcess({
        ...{ directory, name, node: (nodes.find((each) => name.endsWith(each.name)) ?? node)?.name ?? '' },
        // The second group leads in a namespace for which the service account of the first has no rights.
        kubeconfig: group === 'first' ? controllerConfig : kubeconfig,
        args: ['--namespace', groups[group], '--class', serviceClass, '--default-class', 'false'],
      })
      started.push(controller)
      await whenReady(controller)
      return controller
    },
  }
}

async function startEmbedded(undo: (() => Promise<unknown>)[]): Promise<ApiServerHandle> {
  const server = await startApiServer({ authorization: 'RBAC' })
  undo.push(() => server.stop())
  for (const serial of [1, 2, 3])
    server.objects.put({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: `node${serial}` },
      status: {
        addresses: [`10.0.0.1${serial}`, `fd00:10::1${serial}`].map((address) => ({ type: 'InternalIP', address })),
        conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: '' }],
      },
    })
  return server
}

async function refuseWhereBellhopRuns(kubectl: Kubectl): Promise<void> {
  const { status, stdout } = await kubectl.run(['get', 'bgpconfs,bgppeers,vippools,vips', '-o', 'name'])
  if (status === 0 && stdout.trim() !== '')
    throw new Error(
      `this cluster has objects of Bellhop already, which these tests would disturb:\n${stdout}` +
        `what an interrupted run left goes with: kubectl delete bgppeers,vippools,bgpconfs -l ${runLabel}`,
    )
}

async function makeNamespaces(
  kubectl: Kubectl,
  names: readonly string[],
  undo: (() => Promise<unknown>)[],
): Promise<void> {
  for (const name of names) {
    await kubectl.must(['create', 'namespace', name])
    undo.push(() => kubectl.run(['delete', 'namespace', name, '--timeout=60s']))
  }
}

async function installCrds(kubectl: Kubectl, undo: (() => Promise<unknown>)[]): Promise<void> {
  const crds = path.join(repositoryRoot, 'crds')
  const existing = await kubectl.run(['get', 'crd', 'vips.bellhop.io', '-o', 'name'])
  if (existing.status === 0) return
  undo.push(() => kubectl.run(['delete', '-k', crds, '--ignore-not-found', '--timeout=60s']))
  await kubectl.must(['apply', '-k', crds])
}

/** A token with the rights that the installation gives a controller and no others, in this run's namespace and under its name. */
async function serviceAccountToken(
  kubectl: Kubectl,
  { run, namespace }: { readonly run: string; readonly namespace: string },
  undo: (() => Promise<unknown>)[],
): Promise<string> {
  const name = `${run}-controller`
  const rbac = readFileSync(path.join(repositoryRoot, 'deploy/base/controller-rbac.yaml'), 'utf8')
  const input = rbac.replaceAll('bellhop-system', namespace).replaceAll('name: bellhop-controller', `name: ${name}`)
  undo.push(() => kubectl.run(['delete', 'clusterroles,clusterrolebindings', name, '--ignore-not-found']))
  await kubectl.must(['apply', '-f', '-'], { input })
  return (await kubectl.must(['create', 'token', name, '-n', namespace, '--duration=2h'])).trim()
}

/** The same cluster, as whoever has the token. */
function withToken(kubeconfig: string, token: string): string {
  const config = parse(kubeconfig) as { readonly users: readonly { readonly name: string }[] }
  return stringify({ ...config, users: config.users.map(({ name }) => ({ name, user: { token } })) })
}

// Whatever a failed test left: finalizers that no replica takes away any more, and objects without a namespace.
async function removeLeftovers(kubectl: Kubectl, run: string, namespace: string): Promise<void> {
  const services = await kubectl.run(['get', 'services', '-n', namespace, '-o', 'name'])
  for (const name of services.stdout.split('\n').filter((line) => line !== ''))
    await kubectl.run(['patch', name, '-n', namespace, '--type=merge', '-p', '{"metadata":{"finalizers":null}}'])
  const pools = (await kubectl.run(['get', 'vips', '-o', 'json'])).stdout
  const vips = pools === '' ? [] : (JSON.parse(pools) as List<{ readonly spec: { readonly pool: string } }>).items
  for (const { metadata, spec } of vips)
    if (spec.pool.startsWith(run)) await kubectl.run(['delete', 'vip', metadata.name])
  await kubectl.run(['delete', 'bgppeers,vippools,bgpconfs', '-l', `${runLabel}=${run}`])
}

/** On every cluster-scoped object that a test makes, with the run as its value. */
export const runLabel = 'bellhop.io/e2e-run'

interface List<T> {
  readonly items: readonly (T & { readonly metadata: { readonly name: string } })[]
}

interface NodeObject {
  readonly status: {
    readonly addresses?: readonly { readonly type: string; readonly address: string }[]
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
  }
}

async function readNodes(kubectl: Kubectl): Promise<readonly ClusterNode[]> {
  const { items } = JSON.parse(await kubectl.must(['get', 'nodes', '-o', 'json'])) as List<NodeObject>
  const ready = items.filter(({ status }) =>
    status.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True'),
  )
  const nodes = ready.map(({ metadata, status }): ClusterNode => {
    const addresses = (status.addresses ?? [])
      .filter(({ type }) => type === 'InternalIP')
      .flatMap(({ address }) => {
        const ip = parseIp(address)
        return ip.ok ? [ip.value] : []
      })
    const ipv4 = addresses.find((ip) => familyOf(ip) === 'IPv4')
    const ipv6 = addresses.find((ip) => familyOf(ip) === 'IPv6')
    return { name: metadata.name, ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) }
  })
  const usable = nodes.filter(({ ipv4 }) => ipv4 !== undefined).slice(0, 3)
  if (usable.length === 0) throw new Error('these tests need a Ready node with an IPv4 InternalIP')
  return usable
}

async function isDualStack(kubectl: Kubectl, namespace: string): Promise<boolean> {
  const input = JSON.stringify({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'probe', namespace } },
    spec: { ipFamilyPolicy: 'RequireDualStack', ports: [{ port: 80 }] },
  })
  return (await kubectl.run(['create', '--dry-run=server', '-f', '-'], { input })).status === 0
}
