// What makes a node's own BGP speaker different from its neighbours': its identity, by its addresses and the annotations of its
// Node. A value that makes no sense is refused as a whole: a session from the wrong address or AS would be worse than none.

import type { BgpPeer, ClusterView, Node } from '../k8s/objects.ts'
import { type Asn, parseAsn, parseRouterId, type RouterId, routerIdFromNumber } from '../net/asn.ts'
import { familyOf, type Ip, type IpFamily, isLoopback, parseIp, unicastHostRefusal } from '../net/ip.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { nextHopAnnotation } from './eligibility.ts'
import { hash32 } from './hash.ts'

/** The source of the node's sessions: one address, or one of each family. */
export const bgpSourceAddressAnnotation = 'bellhop.io/bgp-source-address'
export const routerIdAnnotation = 'bellhop.io/router-id'
/** The node's AS number, instead of the BgpConf's and the BgpPeer's. */
export const bgpAsnAnnotation = 'bellhop.io/bgp-asn'

/** The speaker of one node. */
export interface NodeIdentity {
  readonly routerId: RouterId
  readonly asn?: Asn
  readonly sourceAddress: { readonly [family in IpFamily]?: Ip }
  /** `node`: the annotation with its next hops has the last word; else it is the address of the session. */
  readonly nextHop: 'node' | 'self'
}

/**
 * The identity of the speaker on `name`. Its router id is what its annotation says, else its own IPv4 address, else a number made of
 * its name: one of the BgpConf would be the same on every node. An error is for operators.
 */
export function nodeIdentity(view: ClusterView, name: string): Result<NodeIdentity, string> {
  const node = view.nodes.get(name)
  if (node === undefined) return err(`there is no Node ${name}`)
  const { annotations } = node.meta
  const refuse = (annotation: string, because: string): Result<never, string> =>
    err(`node ${name}: annotation ${annotation} ${because}`)
  const routerId = annotations[routerIdAnnotation]
  const id = routerId === undefined ? undefined : parseRouterId(routerId.trim())
  if (id?.ok === false) return refuse(routerIdAnnotation, `is "${routerId}", which is not four numbers as in 10.0.0.11`)
  const written = annotations[bgpAsnAnnotation]
  const asn = written === undefined ? undefined : parseAsn(/^\d+$/.test(written.trim()) ? Number(written) : Number.NaN)
  if (asn?.ok === false)
    return refuse(
      bgpAsnAnnotation,
      `is "${written}", which is ${asn.error.code === 'asn/reserved' ? 'a reserved' : 'no'} AS number`,
    )
  const sourceAddress = sourceAddresses(annotations[bgpSourceAddressAnnotation])
  if (!sourceAddress.ok) return refuse(bgpSourceAddressAnnotation, sourceAddress.error)
  return ok({
    routerId: id?.value ?? addressRouterId(node) ?? madeRouterId(node),
    ...(asn === undefined ? {} : { asn: asn.value }),
    sourceAddress: sourceAddress.value,
    nextHop: nextHopAnnotation in annotations ? 'node' : 'self',
  })
}

/** A node's first IPv4 InternalIP as the BGP identifier of whoever speaks there. */
export function addressRouterId({ internalIPs }: Node): RouterId | undefined {
  const own = internalIPs.find((ip) => familyOf(ip) === 'IPv4')
  const parsed = own === undefined ? undefined : parseRouterId(own)
  return parsed?.ok === true ? parsed.value : undefined
}

/**
 * The BGP identifier of whoever speaks on a node without IPv4: a number made of the node's name. RFC 6286 wants no more of one than
 * four octets, not all zero, unique within the AS; and this one is the same after every restart.
 */
export function madeRouterId({ meta }: Node): RouterId {
  const made = routerIdFromNumber(hash32(meta.name) || 1)
  if (!made.ok) throw new Error(`no router id can be made of ${meta.name}`)
  return made.value
}

function sourceAddresses(written: string | undefined): Result<NodeIdentity['sourceAddress'], string> {
  const addresses: { [family in IpFamily]?: Ip } = {}
  for (const text of written === undefined ? [] : written.split(',').map((part) => part.trim())) {
    const ip = parseIp(text)
    if (!ip.ok) return err(`has "${text}", which is not an IP address`)
    const refusal = isLoopback(ip.value) ? undefined : unicastHostRefusal(ip.value)
    if (refusal !== undefined) return err(`has ${ip.value}, which ${refusal.because}`)
    const family = familyOf(ip.value)
    if (addresses[family] !== undefined) return err(`has two ${family} addresses`)
    addresses[family] = ip.value
  }
  return ok(addresses)
}

/**
 * A BgpPeer as the node's speaker has it: every difference to a controller's session in one place. ADD-PATH is for several next
 * hops, and here is only one: not to offer it spares routers that mix it up with graceful restart.
 */
export function peerOfNode(peer: BgpPeer, { asn, sourceAddress, nextHop }: NodeIdentity): BgpPeer {
  const source = peer.address === undefined ? undefined : sourceAddress[familyOf(peer.address)]
  return {
    ...peer,
    nextHop,
    addPath: peer.addPath === 'require' ? 'require' : 'disabled',
    ...(asn === undefined ? {} : { localAsn: asn }),
    ...(source === undefined ? {} : { sourceAddress: source }),
  }
}
