// Who watches whom, from the Leases of replicas and agents: each controller has a BFD session with the agent of every other node, at
// the address that routers would forward to. What both sides have to agree upon stands here, and nowhere else.

import type { OnLink } from '../bfd/on-link.ts'
import type { BfdSessionConfig } from '../bfd/session-config.ts'
import type { SignOfLife } from '../k8s/heartbeat.ts'
import type { Node } from '../k8s/objects.ts'
import { type Ip, parseIp } from '../net/ip.ts'
import { judgeNode } from '../plan/eligibility.ts'

/**
 * UDP ports, the numbers of the status servers. BFD's own port 4784 would do for one of the two: an agent, a controller that watches
 * the paths to its routers, and perhaps a routing daemon share a host.
 */
export const livenessPorts = { controller: 7474, agent: 7475 } as const

/** A node is dead after 900 ms of silence. */
export const livenessTimers = { transmitMs: 300, receiveMs: 300, multiplier: 3 } as const
export const livenessDetectionMs = livenessTimers.receiveMs * livenessTimers.multiplier

/** On an agent's Lease: it answers. */
export const agentAnnotation = 'bellhop.io/liveness'
export const agentAnnotationValue = 'bfd'
/** On a replica's Lease: where its packets come from. */
export const controllerAnnotation = 'bellhop.io/liveness-address'
/** On both: the Node. */
export const nodeAnnotation = 'bellhop.io/node'

const ttlMax = 255
/** The kernel's socket filter has room for so many sources. */
export const strictSourcesMax = 300

/** Where the node is watched, and whence it watches: the next hop of its VIPs, IPv4 where it has both. */
export const livenessAddress = (node: Node): Ip | undefined => judgeNode(node, undefined).addresses[0]

/**
 * The sessions of a controller on `ownNode`, by node. Not with the agent of its own node: that a controller runs there is proof of
 * life enough. A Lease counts as long as it exists: when the API server is gone, none is renewed.
 */
export function sessionsWithAgents(
  signs: Iterable<SignOfLife>,
  nodes: ReadonlyMap<string, Node>,
  ownNode: string,
  isOnLink: OnLink,
): readonly BfdSessionConfig[] {
  const watched = new Map<string, Ip>()
  for (const { annotations } of signs) {
    const name = annotations[nodeAnnotation] ?? ''
    const node = nodes.get(name)
    if (node === undefined || name === ownNode || annotations[agentAnnotation] !== agentAnnotationValue) continue
    const address = livenessAddress(node)
    if (address !== undefined) watched.set(name, address)
  }
  return sessions(watched, isOnLink)
}

/**
 * The sessions of an agent, by address. A controller in `heard` whose Lease is gone is answered as long as it is heard: one that
 * only lost the API server is buried by the others, and must not be made to think that the nodes left.
 */
export function sessionsWithControllers(
  signs: Iterable<SignOfLife>,
  heard: Iterable<Ip>,
  isOnLink: OnLink,
): readonly BfdSessionConfig[] {
  const watched = new Map<string, Ip>([...heard].map((address) => [address, address]))
  for (const { annotations } of signs) {
    const address = parseIp(annotations[controllerAnnotation] ?? '')
    if (address.ok) watched.set(address.value, address.value)
  }
  return sessions(watched, isOnLink)
}

// Whoever is on our link sends packets that no router has forwarded (RFC 5082): what comes from further away is forged.
function sessions(watched: ReadonlyMap<string, Ip>, isOnLink: OnLink): readonly BfdSessionConfig[] {
  const strict = watched.size <= strictSourcesMax
  return [...watched]
    .map(([key, remoteAddress]) => ({
      key,
      remoteAddress,
      multihop: { ttlMin: strict && isOnLink(remoteAddress) ? ttlMax : 1 },
      ...livenessTimers,
      adminDown: false,
    }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
}
