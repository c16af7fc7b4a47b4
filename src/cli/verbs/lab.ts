// `bellhop lab`: the demo's world, kept until Ctrl-C, for trying things by hand.

import { repositoryFile, startLab } from '../../lab/lab.ts'
import { missingForLab } from '../../lab/requirements.ts'
import { silentLog } from '../../runtime/log.ts'
import { systemClock } from '../../runtime/system-clock.ts'

export async function labVerb(): Promise<void> {
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
  await using lab = await startLab({ prefix: 'lab', leaves: ['bird', 'frr'], clock: systemClock, log: silentLog })
  await lab.mustKubectl(['apply', '-f', repositoryFile('deploy/base/namespace.yaml'), '-k', repositoryFile('crds')])
  const [node1, node2] = lab.topology.nodes
  for (const node of [node1, node2]) if (node !== undefined) lab.startController(node)
  for (const node of lab.topology.nodes) lab.startAgent(node)
  const { directory } = lab.topology.network
  process.stdout.write(`The lab is up. In another terminal:

  export KUBECONFIG=${directory}/kubeconfig
  kubectl apply -f ${repositoryFile('src/lab/demo/manifests')}
  kubectl get bgppeers,vips,services
  ip netns list            # leaf1 (BIRD), leaf2 (FRR), node1 to node3, client
  ls ${directory}          # logs of everything

Ctrl-C takes it all away again.
`)
  await ended
}
