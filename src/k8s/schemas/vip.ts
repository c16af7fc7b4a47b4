// Vip: one allocation. We write these ourselves, so a refusal here means that somebody else did.

import { vipName } from '../../vip/vip-name.ts'
import { asObject } from '../json.ts'
import type { ObjectMeta, Protocol, Vip, VipClaim, VipHold, VipLayer2 } from '../objects.ts'
import { digestOf } from '../status-match.ts'
import { ipAt, lenientPrefixes } from './addresses.ts'
import type { Fields } from './fields.ts'

/** Problems are noted on `spec`; undefined without an address. */
export function parseVip(raw: unknown, meta: ObjectMeta, spec: Fields): Vip | undefined {
  const address = ipAt(spec, 'address')
  if (spec.raw('address') === undefined) spec.refuse('is needed', 'address')
  const pool = spec.text('pool') ?? ''
  const services = spec.objects('services').map(claimOf)
  const hold = holdOf(spec)
  const layer2 = layer2Of(spec)
  if (address === undefined) return undefined
  if (meta.name !== vipName(address))
    spec.refuse(
      `${address} belongs to the object named ${vipName(address)}: under another name it locks nothing`,
      'address',
    )
  return {
    meta,
    address,
    pool,
    services,
    ...(hold === undefined ? {} : { hold }),
    ...(layer2 === undefined ? {} : { layer2 }),
    status: digestOf(asObject(asObject(raw)?.['status'])),
  }
}

function neededText(fields: Fields, key: string): string {
  if (fields.raw(key) === undefined) fields.refuse('is needed', key)
  return fields.text(key) ?? ''
}

function holdOf(spec: Fields): VipHold | undefined {
  const hold = spec.object('hold')
  if (hold === undefined) return undefined
  const until = neededText(hold, 'until')
  const untilMs = Date.parse(until)
  if (until !== '' && Number.isNaN(untilMs)) hold.refuse(`"${until}" is no time such as 2026-01-31T12:00:00Z`, 'until')
  return { namespace: neededText(hold, 'namespace'), name: neededText(hold, 'name'), untilMs }
}

function layer2Of(spec: Fields): VipLayer2 | undefined {
  const layer2 = spec.object('layer2')
  if (layer2 === undefined) return undefined
  const from = layer2.text('from')
  return {
    node: neededText(layer2, 'node'),
    interface: neededText(layer2, 'interface'),
    ...(from === undefined ? {} : { from }),
  }
}

function claimOf(claim: Fields): VipClaim {
  const sourceRanges = lenientPrefixes(claim.texts('sourceRanges'))
  return {
    namespace: neededText(claim, 'namespace'),
    name: neededText(claim, 'name'),
    uid: neededText(claim, 'uid'),
    ports: claim.objects('ports').map((port) => ({
      protocol: port.oneOf<Protocol>('protocol', ['TCP', 'UDP', 'SCTP'], 'TCP'),
      port: port.integer('port', { min: 1, max: 65_535 }) ?? 0,
    })),
    shareKey: claim.text('shareKey') ?? '',
    ...(sourceRanges.length === 0 ? {} : { sourceRanges }),
  }
}
