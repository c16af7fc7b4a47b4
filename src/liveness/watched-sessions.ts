// Who watches whom, from the Leases of replicas and agents: each controller has a BFD session with the agent of every other node, at
// the address that routers would forward to. What both sides have to agree upon stands here, and nowhere else.

import type { BfdAuthentication } from '../bfd/authentication.ts'
import type { OnLink } from '../bfd/on-link.ts'
import type { BfdSessionConfig } from '../bfd/session-config.ts'
import type { SignOfLife } from '../k8s/heartbeat-watch.ts'
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
/** On an agent's Lease: when a controller falls silent it renews the Lease at once. */
export const speaksUpAnnotation = 'bellhop.io/liveness-speaks-up'
/** On a replica's Lease: where its packets come from. */
export const controllerAnnotation = 'bellhop.io/liveness-address'
/** On both: the Node. */
export const nodeAnnotation = 'bellhop.io/node'

const ttlMax = 255
/** The kernel's socket filter has room for so many sources. */
export const strictSourcesMax = 300

/** Where the node is watched, and whence it watches: the next hop of its VIPs, IPv4 where it has both. */
export const livenessAddress = (node: Node): Ip | undefined => judgeNode(node, undefined).addresses[0]

/** How the session with the holder of a Lease with these annotations is authenticated; undefined: not. */
export type AuthenticationWith = (annotations: SignOfLife['annotations']) => BfdAuthentication | undefined

/**
 * The sessions of a controller on `ownNode`, by node. Not with the agent of its own node: that a controller runs there is proof of
 * life enough. A Lease counts as long as it exists: when the API server is gone, none is renewed.
 */
export function sessionsWithAgents(
  signs: Iterable<SignOfLife>,
  nodes: ReadonlyMap<string, Node>,
  ownNode: string,
  isOnLink: OnLink,
  authenticationWith: AuthenticationWith,
): readonly BfdSessionConfig[] {
  const watched = new Map<string, Watched>()
  for (const { annotations } of signs) {
    const name = annotations[nodeAnnotation] ?? ''
    const node = nodes.get(name)
    if (node === undefined || name === ownNode || annotations[agentAnnotation] !== agentAnnotationValue) continue
    const address = livenessAddress(node)
    if (address !== undefined) watched.set(name, { address, authentication: authenticationWith(annotations) })
  }
  return sessions(watched, isOnLink)
}

interface Watched {
  readonly address: Ip
  readonly authentication: BfdAuthentication | undefined
}

/**
 * The sessions of an agent, by address. A controller in `heard` (with what its Lease said last) whose Lease is gone is answered as
 * long as it is heard: one that only lost the API server is buried by the others, and must not be made to think that the nodes left.
 */
export function sessionsWithControllers(
  signs: Iterable<Pick<SignOfLife, 'annotations'>>,
  heard: ReadonlyMap<Ip, SignOfLife['annotations']>,
  isOnLink: OnLink,
  authenticationWith: AuthenticationWith,
): readonly BfdSessionConfig[] {
  const annotationsOf = new Map(heard)
  for (const { annotations } of signs) {
    const address = parseIp(annotations[controllerAnnotation] ?? '')
    if (address.ok) annotationsOf.set(address.value, annotations)
  }
  const watched = [...annotationsOf].map(
    ([address, annotations]) => [address, { address, authentication: authenticationWith(annotations) }] as const,
  )
  return sessions(new Map(watched), isOnLink)
}

// Whoever is on our link sends packets that no router has forwarded (RFC 5082): what comes from further away is forged.
function sessions(watched: ReadonlyMap<string, Watched>, isOnLink: OnLink): readonly BfdSessionConfig[] {
  const strict = watched.size <= strictSourcesMax
  return [...watched]
    .map(([key, { address, authentication }]) => ({
      key,
      remoteAddress: address,
      multihop: { ttlMin: strict && isOnLink(address) ? ttlMax : 1 },
      ...livenessTimers,
      adminDown: false,
      ...(authentication === undefined ? {} : { authentication }),
    }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
}
