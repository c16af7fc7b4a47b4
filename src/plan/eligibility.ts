// Which nodes may be next hops, under which address, and why the others may not. One verdict a node and family, the same for every
// VIP: what a VIP adds is only which nodes host its endpoints.

import type { Node } from '../k8s/objects.ts'
import { familyOf, type Ip, type IpFamily, isLinkLocal, parseIp, unicastHostRefusal } from '../net/ip.ts'
import { type DrainPhase, drainAnnotation, isDrained } from './drain.ts'

export const excludeLabel = 'node.kubernetes.io/exclude-from-external-load-balancers'
export const nextHopAnnotation = 'bellhop.io/next-hop'

export type NextHopVerdict =
  /** `leaving`: it is drained, and serves for a while where no other node does. */
  | { readonly ok: true; readonly address: Ip; readonly leaving?: true }
  | {
      readonly ok: false
      readonly code: 'no-address' | 'not-eligible'
      /** For operators, continuing "node n1 ...". */
      readonly because: string
    }

export interface NodeEligibility {
  readonly node: string
  readonly IPv4: NextHopVerdict
  readonly IPv6: NextHopVerdict
  /** Its addresses whatever the verdict: path ids are given over all of them, so that a node's state moves nobody's id. */
  readonly addresses: readonly Ip[]
}

const notEligible = (because: string): NextHopVerdict => ({ ok: false, code: 'not-eligible', because })
const noAddress = (because: string): NextHopVerdict => ({ ok: false, code: 'no-address', because })

/** The verdict on an endpoint's node that is not in the cluster. */
export const unknownNode: NextHopVerdict = notEligible('does not exist')

/**
 * The verdict on one node. `liveness` is what our own detection says of it, and outranks the Node's condition Ready; cordoning
 * (spec.unschedulable) changes nothing. `drain`: how far a drain that its annotation asks for has come; whoever keeps no account
 * of that takes the node out at once.
 */
export function judgeNode(
  node: Node,
  liveness: 'up' | 'down' | undefined,
  drain: DrainPhase = 'left',
): NodeEligibility {
  const addresses = { IPv4: addressOf(node, 'IPv4'), IPv6: addressOf(node, 'IPv6') }
  const phase = isDrained(node.meta.annotations[drainAnnotation]) ? drain : 'staying'
  const because = outBecause(node, liveness, phase)
  const verdict = (family: IpFamily): NextHopVerdict => {
    if (because !== undefined) return notEligible(because)
    const address = addresses[family]
    return address.ok && phase === 'leaving' ? { ...address, leaving: true } : address
  }
  return {
    node: node.meta.name,
    IPv4: verdict('IPv4'),
    IPv6: verdict('IPv6'),
    addresses: [addresses.IPv4, addresses.IPv6].flatMap((address) => (address.ok ? [address.address] : [])),
  }
}

function outBecause(node: Node, liveness: 'up' | 'down' | undefined, phase: DrainPhase): string | undefined {
  const { labels, deleting } = node.meta
  if (deleting) return 'is being deleted'
  if (excludeLabel in labels) return `carries the label ${excludeLabel}`
  if (phase === 'left') return `is drained (annotation ${drainAnnotation})`
  if (node.networkUnavailable) return 'has the condition NetworkUnavailable'
  if (liveness === 'down') return 'does not answer: its BFD session is down'
  if (liveness === undefined && !node.ready) return 'is not Ready'
  return undefined
}

function addressOf(node: Node, family: IpFamily): NextHopVerdict {
  const written = node.meta.annotations[nextHopAnnotation]
  const addresses: Ip[] = []
  for (const text of written === undefined ? [] : written.split(',').map((part) => part.trim())) {
    const ip = parseIp(text)
    if (!ip.ok) return noAddress(`has "${text}" in the annotation ${nextHopAnnotation}, which is not an IP address`)
    if (familyOf(ip.value) === family) addresses.push(ip.value)
  }
  const address = addresses[0] ?? node.internalIPs.find((ip) => familyOf(ip) === family)
  if (address === undefined)
    return noAddress(`has no ${family} InternalIP, and no ${family} address in the annotation ${nextHopAnnotation}`)
  if (addresses.length > 1) return noAddress(`has two ${family} addresses in the annotation ${nextHopAnnotation}`)
  // Some routers answer such a NEXT_HOP with a NOTIFICATION, which would cost all VIPs of the session.
  const refusal = unicastHostRefusal(address)
  if (refusal !== undefined) return noAddress(`has the address ${address}, which ${refusal.because}`)
  if (family === 'IPv6' && isLinkLocal(address))
    return noAddress(`has the address ${address}, which is link-local: a third party cannot be reached by it`)
  return { ok: true, address }
}

/** Whether two verdicts lead to the same routes and the same words. */
export function sameEligibility(a: NodeEligibility | undefined, b: NodeEligibility | undefined): boolean {
  return a !== undefined && b !== undefined && sameVerdict(a.IPv4, b.IPv4) && sameVerdict(a.IPv6, b.IPv6)
}

function sameVerdict(a: NextHopVerdict, b: NextHopVerdict): boolean {
  return a.ok ? b.ok && a.address === b.address && a.leaving === b.leaving : !b.ok && a.because === b.because
}
