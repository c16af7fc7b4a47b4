// The statuses that users of OpenELB and MetalLB look at, computed from our own allocation: what `kubectl get eip` and
// `kubectl get ipaddresspool` go on showing after the controller was replaced.

import { asObject, asText, type RawObject } from '../k8s/json.ts'
import type { Vip, VipPool } from '../k8s/objects.ts'
import { familyOf, type Ip, type IpFamily, ipFromBigInt } from '../net/ip.ts'
import { rangeSize } from '../net/range.ts'
import { same } from '../plan/same.ts'
import type { PoolUsage } from '../vip/types.ts'

/** A pool that stands in for a foreign object, with what is allocated from it. */
export interface PoolFacts {
  readonly pool: VipPool
  readonly usage: PoolUsage
  /** The Vips of the pool, in the order of their addresses. */
  readonly vips: readonly Vip[]
}

/** `status` of an Eip or an IPAddressPool; undefined for other kinds, which get none. */
export function foreignStatus(raw: RawObject, facts: PoolFacts): RawObject | undefined {
  if (raw['kind'] === 'Eip')
    return (asText(raw['apiVersion']) ?? '').endsWith('/v1alpha1') ? porterStatus(facts) : eipStatus(facts)
  return raw['kind'] === 'IPAddressPool' ? poolStatus(facts) : undefined
}

const porterStatus = ({ usage, vips }: PoolFacts): RawObject => ({
  occupied: usage.available === 0n,
  usage: vips.length,
  poolSize: clamped(usage.total),
})

function eipStatus(facts: PoolFacts): RawObject {
  const { pool, vips } = facts
  const first = pool.ranges[0]
  const last = pool.ranges.at(-1)
  return {
    ...porterStatus(facts),
    used: Object.fromEntries(
      vips.map(({ address, services }) => [
        address,
        services.map(({ namespace, name }) => `${namespace}/${name}`).join(';'),
      ]),
    ),
    ...(first === undefined || last === undefined
      ? {}
      : { firstIP: ipFromBigInt(first.family, first.first), lastIP: ipFromBigInt(last.family, last.last) }),
    ready: true,
    v4: first?.family === 'IPv4',
  }
}

function poolStatus({ pool, vips }: PoolFacts): RawObject {
  const assigned = (family: IpFamily): number => vips.filter(({ address }) => familyOf(address) === family).length
  const available = (family: IpFamily): number => {
    const sizes = pool.ranges.filter((range) => range.family === family).map(rangeSize)
    const total = sizes.reduce((sum, size) => sum + size, 0n)
    return clamped(total - BigInt(assigned(family)))
  }
  return {
    assignedIPv4: assigned('IPv4'),
    assignedIPv6: assigned('IPv6'),
    availableIPv4: available('IPv4'),
    availableIPv6: available('IPv6'),
  }
}

// JSON numbers, and int64 in the other product's types.
const clamped = (size: bigint): number =>
  Number(size > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : size)

/** Whether `status` holds everything that `wanted` says; other fields are somebody else's. */
export function shows(status: unknown, wanted: RawObject): boolean {
  const there = asObject(status)
  return Object.entries(wanted).every(([key, value]) => same(there?.[key], value))
}

/** By pool: its Vips, by address. */
export function vipsByPool(
  vips: Iterable<Vip>,
  compare: (a: Ip, b: Ip) => number,
): ReadonlyMap<string, readonly Vip[]> {
  return Map.groupBy(
    [...vips].sort((a, b) => compare(a.address, b.address)),
    ({ pool }) => pool,
  )
}
