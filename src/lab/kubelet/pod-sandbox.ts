// A pod as the node runs it: a network namespace with a cable to the node, routes of both families on either end, and the
// HTTP server in it.

import { hostPrefix } from '../../net/prefix.ts'
import { addressIn } from '../netns/namespace.ts'
import type { Network } from '../netns/network.ts'
import { nodeProgram } from '../netns/node-program.ts'
import type { LabProcess } from '../netns/process.ts'
import { type DualStack, podGateway } from '../topology/addresses.ts'
import type { LabNode } from '../topology/topology.ts'

export interface SandboxOptions {
  readonly network: Network
  readonly node: LabNode
  /** `namespace/name`. */
  readonly pod: string
  /** Distinguishes a pod from an earlier one of the same name; at most 12 characters. */
  readonly serial: string
  readonly address: DualStack
  readonly port: number
  /** How long the server goes on after SIGTERM. */
  readonly terminationDelayMs: number
}

export interface Sandbox {
  readonly address: DualStack
  /** The server that runs now; a crashed one is replaced by `restart`. */
  readonly server: () => LabProcess
  readonly restart: () => void
  /** Removes namespace, cable and whatever still runs. */
  readonly remove: () => Promise<void>
}

/** Creates the namespace and starts the server; that it answers is for a probe to find out. */
export async function createSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { network, node, address } = options
  const namespace = await network.addNamespace(`${node.name}-pod-${options.serial}`)
  const cable = `pod${options.serial}`
  await network.connect(
    {
      at: namespace,
      interface: 'eth0',
      addresses: node.families.map((family) => addressIn(hostPrefix(address[family]), address[family])),
    },
    { at: node.namespace, interface: cable, addresses: [`${podGateway.ipv6}/64`] },
  )
  // The node answers for the gateway without having an IPv4 address on the cable, as with Calico, so that what is masqueraded
  // towards a pod bears the node's own address.
  await node.namespace.setSysctls({
    [`net.ipv4.conf.${cable}.proxy_arp`]: 1,
    [`net.ipv4.neigh.${cable}.proxy_delay`]: 0,
  })
  if (node.families.includes('ipv4'))
    await namespace.ip([`route add ${podGateway.ipv4} dev eth0`, `route add default via ${podGateway.ipv4} dev eth0`])
  await namespace.ip([`route add default via ${podGateway.ipv6} dev eth0`])
  await node.namespace.ip(node.families.map((family) => `route add ${hostPrefix(address[family])} dev ${cable}`))
  const start = (): LabProcess =>
    namespace.spawn(
      nodeProgram('src/lab/kubelet/whoami-program.ts', [
        options.pod.slice(options.pod.indexOf('/') + 1),
        node.name,
        String(options.port),
        String(options.terminationDelayMs),
      ]),
    )
  let server = start()
  return {
    address,
    server: () => server,
    restart: () => {
      server = start()
    },
    remove: () => network.removeNamespace(namespace),
  }
}
