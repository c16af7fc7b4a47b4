// What a node's datapath has to know of the VIPs: their addresses, the ports that Services have on them, and who may come.
// One value for every back end, made from Vip objects by the agent and compared by nobody: each back end compares what it
// makes of it. Pure.

import type { Protocol, Vip } from '../k8s/objects.ts'
import { compareIpBytes, type Ip, ipToBytes } from '../net/ip.ts'
import type { Prefix } from '../net/prefix.ts'

/** A port of a Service on a VIP. */
export interface VipPort {
  readonly protocol: Protocol
  readonly port: number
  /** `loadBalancerSourceRanges`; empty lets everybody in. */
  readonly sourceRanges: readonly Prefix[]
}

export interface VipRules {
  readonly address: Ip
  readonly ports: readonly VipPort[]
}

/**
 * Sorted by address. `before`: what was sorted last, so that of ten thousand only those that are not among them are compared. An agent
 * does this with each change of a VIP.
 */
export function sortRules(rules: Iterable<VipRules>, before: readonly VipRules[] = []): readonly VipRules[] {
  const rest = new Set(rules)
  const kept = before.filter((vip) => rest.delete(vip))
  const fresh = [...rest]
    .map((vip) => ({ vip, bytes: ipToBytes(vip.address) }))
    .sort((a, b) => compareIpBytes(a.bytes, b.bytes))
  const sorted: VipRules[] = []
  let at = 0
  for (const { vip, bytes } of fresh) {
    const end = firstAfter(kept, bytes, at)
    for (const before of kept.slice(at, end)) sorted.push(before)
    sorted.push(vip)
    at = end
  }
  return [...sorted, ...kept.slice(at)]
}

/** Where in a sorted list, from `from` on, the first VIP stands whose address is beyond these bytes. */
function firstAfter(sorted: readonly VipRules[], bytes: Uint8Array, from: number): number {
  let [low, high] = [from, sorted.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const vip = sorted[middle]
    if (vip === undefined || compareIpBytes(ipToBytes(vip.address), bytes) > 0) high = middle
    else low = middle + 1
  }
  return low
}
/** Whether two sets ask for the same; nearly all of what is asked for again is the very same value. */
export const sameRules = (a: readonly VipRules[], b: readonly VipRules[]): boolean =>
  a === b ||
  (a.length === b.length && a.every((vip, i) => vip === b[i] || JSON.stringify(vip) === JSON.stringify(b[i])))

export const rulesOfVip = ({ address, services }: Pick<Vip, 'address' | 'services'>): VipRules => ({
  address,
  ports: services.flatMap(({ ports, sourceRanges = [] }) => ports.map((port) => ({ ...port, sourceRanges }))),
})

/** VIPs of which nothing but the address is known. */
export const addressesOnly = (vips: readonly Ip[]): readonly VipRules[] =>
  vips.map((address) => ({ address, ports: [] }))
