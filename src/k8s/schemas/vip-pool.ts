// VipPool: the addresses that may be given out, as normalised ranges with the exclusions already taken out.

import { ipFromBigInt, isLinkLocal, unicastHostRefusal } from '../../net/ip.ts'
import { type IpRange, normalizeRanges, renderRange, subtractRange } from '../../net/range.ts'
import { asObject } from '../json.ts'
import type { ObjectMeta, VipPool } from '../objects.ts'
import { rangesAt } from './addresses.ts'
import type { Fields } from './fields.ts'
import { durationAt, selectorAt } from './selector.ts'

/** Problems are noted on `spec`. */
export function parseVipPool(raw: unknown, meta: ObjectMeta, spec: Fields): VipPool {
  if (spec.texts('addresses').length === 0)
    spec.refuse('is needed: prefixes (203.0.113.0/24) or ranges (first-last)', 'addresses')
  const addresses = rangesAt(spec, 'addresses')
  for (const range of addresses) refuseUnusable(spec, range)
  const exclude = rangesAt(spec, 'exclude')
  const namespaceSelector = selectorAt(spec, 'namespaceSelector')
  const serviceSelector = selectorAt(spec, 'serviceSelector')
  const layer2 = spec.object('layer2')
  const nodeSelector = layer2 === undefined ? undefined : selectorAt(layer2, 'nodeSelector')
  return {
    meta,
    ranges: normalizeRanges(exclude.reduce<readonly IpRange[]>(takeOut, normalizeRanges(addresses))),
    autoAssign: spec.flag('autoAssign', true),
    priority: spec.integer('priority', { min: -0x8000_0000, max: 0x7fff_ffff }) ?? 0,
    avoidBuggyIPs: spec.flag('avoidBuggyIPs', false),
    namespaces: spec.texts('namespaces'),
    ...(namespaceSelector === undefined ? {} : { namespaceSelector }),
    ...(serviceSelector === undefined ? {} : { serviceSelector }),
    sharing: spec.oneOf('sharing', ['None', 'SameNamespace', 'AnyNamespace'], 'SameNamespace'),
    holdSeconds: durationAt(spec, 'hold', 0),
    disabled: spec.flag('disabled', false),
    mode: spec.oneOf('mode', ['bgp', 'layer2'], 'bgp'),
    layer2: {
      interfaces: layer2?.texts('interfaces') ?? [],
      ...(nodeSelector === undefined ? {} : { nodeSelector }),
    },
    nextHops: spec.oneOf('nextHops', ['Endpoints', 'AllNodes'], 'Endpoints'),
    endpointPolicy: spec.oneOf('endpointPolicy', ['Ready', 'Serving'], 'Ready'),
    status: asObject(asObject(raw)?.['status']) ?? {},
  }
}

const takeOut = (ranges: readonly IpRange[], removed: IpRange): readonly IpRange[] =>
  ranges.flatMap((range) => subtractRange(range, removed))

// A range whose ends are hosts may still pass over something strange, but no one writes 203.0.113.0-239.0.0.1 by accident.
function refuseUnusable(spec: Fields, range: IpRange): void {
  for (const end of new Set([range.first, range.last])) {
    const ip = ipFromBigInt(range.family, end)
    // RFC 3927 section 7, RFC 4291 section 2.5.6: no router passes them on.
    const because = isLinkLocal(ip) ? 'is a link-local address' : unicastHostRefusal(ip)?.because
    if (because === undefined) continue
    spec.refuse(`${renderRange(range)}: ${ip} ${because}, no Service can have it`, 'addresses')
    return
  }
}
