// `bellhop lab`: the demo's world, kept until Ctrl-C, for trying things by hand.

import { flattenedKubeconfig } from '../../lab/control-plane/named-cluster.ts'
import { type LabOptions, startLab } from '../../lab/lab.ts'
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

export async function labVerb(flags: LabFlags): Promise<void> {
  const missing = await missingForLab()
  if (missing.length > 0) {
    process.stderr.write(`the lab needs more than there is here: ${missing.join(', ')}\n`)
    process.exitCode = 1
    return
  }
  const ended = new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
  const cluster = await labCluster(flags)
  await using lab = await startLab({
    ...{ prefix: 'lab', leaves: ['bird', 'frr'] as const, ...cluster },
    ...{ clock: systemClock, log: silentLog },
  })
  await lab.install()
  const [node1, node2] = lab.topology.nodes
  for (const node of [node1, node2]) if (node !== undefined) lab.startController(node)
  for (const node of lab.topology.nodes) lab.startAgent(node)
  const { directory } = lab.topology.network
  process.stdout.write(`The lab is up. In another terminal:

  export KUBECONFIG=${directory}/kubeconfig
  kubectl apply -f ${lab.manifest('bgp')} -f ${lab.manifest('whoami')}
  kubectl get bgppeers,vips,services
  ip netns list            # leaf1 (BIRD), leaf2 (FRR), node1 to node3, client
  ls ${directory}          # logs of everything

Ctrl-C takes it all away again.
`)
  await ended
}
