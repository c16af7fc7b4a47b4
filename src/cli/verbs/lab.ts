// `bellhop lab`: the demo's world, kept until Ctrl-C, for trying things by hand.

import path from 'node:path'
import { flattenedKubeconfig, NamedClusterError } from '../../lab/control-plane/named-cluster.ts'
import { type Lab, type LabOptions, shellLines, startLab } from '../../lab/lab.ts'
import { missingForLab } from '../../lab/requirements.ts'
import { silentLog } from '../../runtime/log.ts'
import { systemClock } from '../../runtime/system-clock.ts'

export interface LabFlags {
  /** A kubeconfig file. */
  readonly cluster?: string
}

/** Where the API objects go, for `startLab`. */
export const labCluster = async ({ cluster }: LabFlags): Promise<Pick<LabOptions, 'cluster'>> =>
  cluster === undefined ? {} : { cluster: { kubeconfig: await flattenedKubeconfig(cluster) } }

/** Whether `work` could do with the cluster that was named; what speaks against it is said, and the exit status 1. */
export async function onCluster(work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    if (!(error instanceof NamedClusterError)) throw error
    process.stderr.write(`error: ${error.message}\n`)
    process.exitCode = 1
    return false
  }
}

export async function labVerb(flags: LabFlags): Promise<void> {
  const missing = missingForLab()
  if (missing.length > 0) {
    process.stderr.write(`the lab needs more than there is here: ${missing.join(', ')}\n`)
    process.exitCode = 1
    return
  }
  await onCluster(() => keepLab(flags))
}

async function keepLab(flags: LabFlags): Promise<void> {
  const interrupted = new AbortController()
  const ended = new Promise<void>((resolve) => interrupted.signal.addEventListener('abort', () => resolve()))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort())
  process.stdout.write(
    'Three nodes, two leaf routers, an edge router and a client are built in network namespaces ...\n',
  )
  const cluster = await labCluster(flags)
  // Ctrl-C in a terminal ends the programs that build the lab, too: that it cannot be built is no news then.
  const unlessInterrupted = (error: unknown): undefined => {
    if (!interrupted.signal.aborted) throw error
  }
  await using lab = await startLab({
    ...{ prefix: 'lab', leaves: ['bird', 'frr'] as const, ...cluster },
    ...{ clock: systemClock, log: silentLog },
  }).catch(unlessInterrupted)
  if (lab === undefined) return
  if (!interrupted.signal.aborted) await furnish(lab).catch(unlessInterrupted)
  await ended
  process.stdout.write('The lab is taken away ...\n')
}

async function furnish(lab: Lab): Promise<void> {
  await lab.install()
  const [node1, node2] = lab.topology.nodes
  for (const node of [node1, node2]) if (node !== undefined) lab.startController(node)
  for (const node of lab.topology.nodes) lab.startAgent(node)
  process.stdout.write(welcome(lab))
}

/** What a newcomer can do, in lines to paste. */
function welcome(lab: Lab): string {
  const { topology, routers } = lab
  const lines = (entries: readonly (readonly [command: string, meaning: string])[]): string =>
    entries.map(([command, meaning]) => `  # ${meaning}\n  ${command}\n`).join('')
  const inside = topology.client.namespace.commandLine
  const [node1] = topology.nodes
  const nodeEntries: [string, string][] =
    node1 === undefined ? [] : [[node1.namespace.commandLine(['bash']), 'a shell on a node; node2 and node3 likewise']]
  return `The lab is up: node1 to node3 with agents, controllers on node1 and node2. In another terminal, as root:

${shellLines(topology.network.directory)
  .map((line) => `  ${line}\n`)
  .join('')}
  kubectl apply -f ${lab.manifest('bgp')} -f ${lab.manifest('whoami')}
  kubectl get bgppeers,vippools,vips,services -o wide

${lines([
  [inside(['curl', '-s', 'http://203.0.113.10/']), 'the client asks the Service for the first time'],
  [inside(['bash']), 'a shell at the client'],
  ...nodeEntries,
  ...routers.flatMap(({ name, kind, namespace, operator }): [string, string][] =>
    operator === undefined ? [] : [[namespace.commandLine(operator.shell), `the command line of ${name} (${kind})`]],
  ),
  ['kubectl annotate pod <name> lab.bellhop.io/ready=false', 'a pod becomes unready'],
  [`tail -f ${path.join(topology.network.directory, '*.log')}`, 'what controllers and agents log'],
])}
Ctrl-C here takes it all away again.
`
}
