// A whole cluster in one process and a handful of network namespaces: API server, nodes with kubelet and kube-proxy stand-ins, two
// leaf routers, a client. The demo and the end-to-end tests are told on top of it; Bellhop's own programs are started in the
// nodes' namespaces as they would be on real nodes.

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createKubeClient, type KubeClient } from '../k8s/client.ts'
import type { Clock } from '../runtime/clock.ts'
import { type ExecResult, systemExec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import { must } from '../runtime/result.ts'
import type { ApiServerHandle } from './apiserver/server.ts'
import type { ControlPlane } from './control-plane/control-plane.ts'
import { startEmbeddedControlPlane } from './control-plane/embedded.ts'
import { takeNamedCluster } from './control-plane/named-cluster.ts'
import { startKubeProxy } from './kube-proxy/kube-proxy.ts'
import { type ProxyChoice, proxyChoiceOf, startRealKubeProxy } from './kube-proxy/real-kube-proxy.ts'
import { startKubelet } from './kubelet/kubelet.ts'
import { createLabKubectl, type RunKubectl } from './lab-kubectl.ts'
import { nodeProgram, repositoryRoot } from './netns/node-program.ts'
import type { LabProcess } from './netns/process.ts'
import { kubectlProgram } from './requirements.ts'
import { createRouter } from './routers/create-router.ts'
import type { NeighborOptions, Router, RouterKind } from './routers/router.ts'
import { bothFamilies, clusterPodPrefixes, type Families } from './topology/addresses.ts'
import { createTopology, type LabNode, type Topology } from './topology/topology.ts'
import { type Unpluggable, unpluggable } from './unpluggable.ts'

export interface LabOptions {
  /** Lower-case letters and digits, at most 8: part of every namespace's name. */
  readonly prefix: string
  /** What runs on leaf1 and leaf2. */
  readonly leaves: readonly [RouterKind, RouterKind]
  readonly nodes?: number
  /** What the cluster has; default both, IPv4 first. One alone is a cluster without a trace of the other. */
  readonly families?: Families
  /** What else the leaves are told about each of their neighbours, which are all nodes. */
  readonly neighbor?: Partial<Omit<NeighborOptions, 'address' | 'asn'>>
  /** Which kube-proxy the nodes have; default what the environment says, and a stand-in in iptables mode. */
  readonly kubeProxy?: ProxyChoice
  /**
   * A cluster that keeps the API objects instead of the embedded API server: YAML of a kubeconfig with everything in it. See
   * control-plane/named-cluster.ts for what is made there.
   */
  readonly cluster?: { readonly kubeconfig: string }
  readonly clock: Clock
  readonly log: Log
}

export interface Lab extends AsyncDisposable {
  readonly topology: Topology
  /** The embedded API server; absent where a cluster was named. */
  readonly api?: ApiServerHandle
  /** leaf1 and leaf2, in this order, running. */
  readonly routers: readonly [Router, Router]
  /** The real kubectl, as the cluster's administrator. Never rejects. */
  readonly kubectl: RunKubectl
  /** As `kubectl`; throws with kubectl's own words when it fails. */
  readonly mustKubectl: (args: readonly string[], options?: { readonly input?: string }) => Promise<string>
  /** Applies the namespace, the CRDs and the rights of an installation, and takes its tokens. */
  readonly install: (options?: { readonly nodeSpeakers?: true }) => Promise<void>
  /** Fetches tokens of the service accounts, which must exist. Programs started from now on have their rights and no others. */
  readonly takeTokens: () => Promise<void>
  /** The file with a manifest of the demo, as it must be on this control plane. */
  readonly manifest: (name: 'bgp' | 'whoami') => string
  /** Applies a manifest, YAML or JSON, as it must be on this control plane. */
  readonly apply: (manifest: string) => Promise<string>
  /** Pulls all cables of a node; its kubelet and kube-proxy go on without the API server. */
  readonly cutOff: (node: LabNode) => Promise<void>
  /** Plugs them in again. */
  readonly reconnect: (node: LabNode) => Promise<void>
  /** Starts a controller replica on a node, after `takeTokens`; its log is `<directory>/<name>.log`. */
  readonly startController: (node: LabNode, options?: ProgramOptions) => LabProcess
  readonly startAgent: (node: LabNode, options?: ProgramOptions) => LabProcess
  /** Runs a bellhop command to its end on a node. */
  readonly bellhop: (node: LabNode, args: readonly string[]) => Promise<ExecResult>
  readonly destroy: () => Promise<void>
}

export interface ProgramOptions {
  /** Further arguments. */
  readonly args?: readonly string[]
}

/** AS numbers of the lab: the cluster and the two leaves. */
export const clusterAsn = 64512
export const leafAsns = [64513, 64514] as const

/** Port of a controller's and an agent's status server, on each node. */
export const controllerPort = 7474
export const agentPort = 7475

const nodeLeaseSeconds = 4

/** Builds the lab. Needs root, network namespaces, and the programs of the chosen routers. */
export async function startLab(options: LabOptions): Promise<Lab> {
  const cleanups: (() => Promise<unknown>)[] = []
  let destroyed: Promise<void> | undefined
  const destroy = (): Promise<void> => {
    destroyed ??= runAll(cleanups.reverse())
    return destroyed
  }
  try {
    return await build(options, cleanups, destroy)
  } catch (error) {
    await destroy()
    throw error
  }
}

// One that fails keeps none of the others from being run.
async function runAll(cleanups: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = []
  for (const cleanup of cleanups) await cleanup().catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw failures[0]
}

async function build(
  {
    prefix,
    leaves,
    nodes,
    neighbor,
    cluster,
    clock,
    log,
    families = bothFamilies,
    kubeProxy = proxyChoiceOf(process.env),
  }: LabOptions,
  cleanups: (() => Promise<unknown>)[],
  destroy: () => Promise<void>,
): Promise<Lab> {
  const topology = await createTopology({ prefix, families, ...(nodes === undefined ? {} : { nodes }) })
  cleanups.push(topology.destroy)
  const directory = topology.network.directory
  const plane =
    cluster === undefined
      ? await startEmbeddedControlPlane({ leaseSeconds: nodeLeaseSeconds, families })
      : await takeNamedCluster({
          ...{ kubeconfig: cluster.kubeconfig, namespace: `bellhop-${prefix}-${process.pid}` },
          ...{ nodeNames: topology.nodes.map(({ name }) => name), directory, clock, log },
        })
  cleanups.push(plane.stop)
  const hostConfig = path.join(directory, 'kubeconfig')
  writeFileSync(hostConfig, plane.kubeconfig, { mode: 0o600 })
  const fromNodes = await topology.publishApi(plane.server)

  const client = must(await createKubeClient({ credentials: plane.credentials, clock, log, userAgent: 'bellhop-lab' }))
  cleanups.push(async () => client.close())

  const routers = await startRouters(topology, { leaves, neighbor, family: families[0] }, cleanups)
  const kubeconfig = path.join(directory, 'kubeconfig-nodes')
  if (plane.embedded !== undefined)
    writeFileSync(kubeconfig, plane.nodeKubeconfig(fromNodes, plane.embedded.adminToken), { mode: 0o600 })
  else if (kubeProxy.program !== undefined)
    throw new Error('a kube-proxy of your own runs against the API server of the lab alone: unset BELLHOP_KUBE_PROXY')
  const cables = await startNodes(topology, { client, plane, clock, log, kubeProxy, kubeconfig }, cleanups)
  const { kubectl, close } = createLabKubectl(systemExec, kubectlProgram(), hostConfig)
  // First of all: whoever is in the middle of something with it must not make anything behind those who tidy up.
  cleanups.push(close)
  const mustKubectl: Lab['mustKubectl'] = async (args, kubectlOptions) => {
    const result = await kubectl(args, kubectlOptions)
    if (result.status !== 0) throw new Error(`kubectl ${args.join(' ')}: ${result.stderr.trim()}`)
    return result.stdout
  }
  const installation = createInstallation({ plane, directory, fromNodes, mustKubectl })

  const startProgram = (node: LabNode, verb: ProgramVerb, args: readonly string[]): LabProcess =>
    node.namespace.spawn(
      nodeProgram('src/cli/main.ts', [
        ...[verb, ...args, ...plane.programArgs],
        ...['--kubeconfig', installation.kubeconfigOf(verb), '--node', node.name, '--log-format', 'json'],
      ]),
      { logPath: path.join(directory, `${verb}-${node.name}.log`), env: { BELLHOP_LOG_LEVEL: 'debug' } },
    )

  return {
    ...(plane.embedded === undefined ? {} : { api: plane.embedded }),
    ...{ topology, routers, kubectl, mustKubectl },
    install: installation.install,
    takeTokens: installation.takeTokens,
    manifest: installation.manifest,
    apply: (manifest) => mustKubectl(['apply', '-f', '-'], { input: plane.adapt(manifest) }),
    cutOff: async (node) => {
      cables.get(node.name)?.unplug()
      await Promise.all([node.setLan('down'), node.setManagement('down')])
    },
    reconnect: async (node) => {
      await Promise.all([node.setLan('up'), node.setManagement('up')])
      cables.get(node.name)?.plug()
    },
    startController: (node, { args = [] } = {}) =>
      startProgram(node, 'controller', ['--name', `bellhop-controller-${node.name}`, ...args]),
    startAgent: (node, { args = [] } = {}) => startProgram(node, 'agent', args),
    bellhop: (node, args) => node.namespace.exec(nodeProgram('src/cli/main.ts', args)),
    destroy,
    [Symbol.asyncDispose]: destroy,
  }
}

type ProgramVerb = 'controller' | 'agent'

/** How an administrator installs Bellhop on the control plane, except that its programs are started by the lab. */
function createInstallation({
  plane,
  directory,
  fromNodes,
  mustKubectl,
}: {
  readonly plane: ControlPlane
  readonly directory: string
  readonly fromNodes: { readonly host: string; readonly port: number }
  readonly mustKubectl: Lab['mustKubectl']
}): Pick<Lab, 'install' | 'takeTokens' | 'manifest'> & { readonly kubeconfigOf: (verb: ProgramVerb) => string } {
  const tokens = new Set<ProgramVerb>()
  const kubeconfigOf = (verb: ProgramVerb): string => path.join(directory, `kubeconfig-${verb}`)
  const takeTokens = async (): Promise<void> => {
    for (const verb of ['controller', 'agent'] as const) {
      const token = await mustKubectl(['create', 'token', `bellhop-${verb}`, '-n', 'bellhop-system', '--duration=2h'])
      writeFileSync(kubeconfigOf(verb), plane.nodeKubeconfig(fromNodes, token.trim()), { mode: 0o600 })
      tokens.add(verb)
    }
  }
  return {
    takeTokens,
    kubeconfigOf: (verb) => {
      if (!tokens.has(verb)) throw new Error(`the lab has no token for a ${verb} yet: install Bellhop first`)
      return kubeconfigOf(verb)
    },
    install: async ({ nodeSpeakers } = {}) => {
      const rights = ['base/controller-rbac', 'base/agent-rbac', ...(nodeSpeakers ? ['node-speakers/rbac'] : [])]
      for (const file of ['base/namespace', ...rights])
        await mustKubectl(['apply', '-f', repositoryFile(`deploy/${file}.yaml`)])
      await mustKubectl(['apply', '-k', repositoryFile('crds')])
      await mustKubectl(waitForCrds.split(' '))
      await takeTokens()
    },
    manifest: (name) => {
      const file = repositoryFile(`src/lab/demo/manifests/${name}.yaml`)
      if (plane.embedded !== undefined) return file
      const adapted = path.join(directory, `${name}.yaml`)
      writeFileSync(adapted, plane.adapt(readFileSync(file, 'utf8')))
      return adapted
    },
  }
}

/** What has to be true before an object of ours can be applied. */
export const waitForCrds = 'wait --for=condition=Established --timeout=20s crd -l app.kubernetes.io/name=bellhop'

async function startRouters(
  topology: Topology,
  {
    leaves: kinds,
    neighbor,
    family,
  }: Pick<LabOptions, 'leaves'> & {
    readonly neighbor: LabOptions['neighbor']
    readonly family: Families[0]
  },
  cleanups: (() => Promise<unknown>)[],
): Promise<readonly [Router, Router]> {
  const start = async (index: 0 | 1): Promise<Router> => {
    const leaf = topology.leaves[index]
    const router = createRouter(kinds[index], {
      name: leaf.name,
      namespace: leaf.namespace,
      directory: topology.network.directory,
      asn: leafAsns[index],
      routerId: leaf.address.ipv4,
      neighbors: topology.nodes.map(({ address }) => ({
        ...{ address: address[family], asn: clusterAsn, addPath: true },
        ...neighbor,
      })),
    })
    cleanups.push(() => router.stop('SIGTERM'))
    await router.start()
    return router
  }
  const [first, second] = await Promise.all([start(0), start(1)])
  return [first, second]
}

async function startNodes(
  topology: Topology,
  {
    kubeProxy,
    kubeconfig,
    ...deps
  }: {
    readonly client: KubeClient
    readonly plane: ControlPlane
    readonly clock: Clock
    readonly log: Log
    readonly kubeProxy: ProxyChoice
    readonly kubeconfig: string
  },
  cleanups: (() => Promise<unknown>)[],
): Promise<ReadonlyMap<string, Unpluggable>> {
  const cables = new Map<string, Unpluggable>()
  const started: Promise<void>[] = []
  for (const node of topology.nodes) {
    const cable = unpluggable(deps.client)
    cables.set(node.name, cable)
    const own = { ...deps, client: cable.client, node }
    const kubelet = startKubelet({
      ...{ ...own, network: topology.network, leaseSeconds: nodeLeaseSeconds },
      taints: deps.plane.nodeTaints,
      ...(deps.plane.namespace === undefined ? {} : { namespace: deps.plane.namespace }),
    })
    const { program, mode } = kubeProxy
    const podPrefixes = clusterPodPrefixes
    const proxy =
      program === undefined
        ? startKubeProxy({ ...own, podPrefixes, mode })
        : startRealKubeProxy({
            ...{ node, program, mode, kubeconfig, podPrefixes },
            directory: topology.network.directory,
          })
    started.push(kubelet.registered, proxy.synced)
    cleanups.push(async () => {
      await Promise.all([kubelet.stop(), proxy.stop()])
    })
  }
  await Promise.all(started)
  return cables
}

/** What a person types first in another terminal. */
export const shellLines = (directory: string): readonly string[] => [
  `export KUBECONFIG=${path.join(directory, 'kubeconfig')} PATH=${repositoryFile('.cache/bin')}:$PATH`,
]

/** A file below the repository's root, for `kubectl apply -f`. */
export const repositoryFile = (file: string): string => path.join(repositoryRoot, file)
