// MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760): found well formed, found to belong to a family that this session does not
// have, or found beyond repair. A field whose routes cannot be read leaves no choice but a session reset (RFC 7606 section 3.j).
//
//   MP_REACH_NLRI     AFI(2) SAFI(1) next hop length(1) next hop reserved(1) NLRI
//   MP_UNREACH_NLRI   AFI(2) SAFI(1) NLRI

import { judgeFlags } from './attribute-rules.ts'
import { attributeByName } from './attribute-table.ts'
import { readU16 } from './bytes.ts'
import { attributeFinding, type Finding, type Slot } from './finding.ts'
import { type AfiSafi, familyOfAfiSafi, type SessionCodec } from './message.ts'
import { countNlri, type NlriForm, receivedForm, type Span } from './nlri.ts'

/** Routes of a family that the session has. */
export interface ReadableRoutes extends AfiSafi {
  readonly type: 'readable'
  readonly form: NlriForm
  /** Empty for MP_UNREACH_NLRI. */
  readonly nextHops: Span
  readonly nlri: Span
  readonly count: number
}

/** A family that was not negotiated: nothing in it is read, for not even the presence of path ids is known. */
export interface IgnoredRoutes extends AfiSafi {
  readonly type: 'ignored'
  /** What follows AFI and SAFI. */
  readonly raw: Span
}

export type MultiprotocolRoutes = ReadableRoutes | IgnoredRoutes

/** Judges an MP_REACH_NLRI. The finding asks for a session reset. */
export function judgeMpReach(bytes: Uint8Array, slot: Slot, codec: SessionCodec): MultiprotocolRoutes | Finding {
  const row = attributeByName('MP_REACH_NLRI')
  const flags = judgeFlags(bytes, slot, row)
  if (flags !== undefined) return flags
  const reset = (reason: string, source = row.malformedSource): Finding => resetFinding(bytes, slot, reason, source)
  if (slot.end - slot.start < 5) return reset(`MP_REACH_NLRI of ${slot.end - slot.start} octets, must have 5`)
  const form = negotiatedForm(bytes, slot, codec)
  if (form === undefined) return ignored(bytes, slot)
  const length = bytes[slot.start + 3] ?? 0
  const nextHops = { start: slot.start + 4, end: slot.start + 4 + length }
  if (nextHops.end + 1 > slot.end) return reset(`MP_REACH_NLRI with a next hop of ${length} octets that exceeds it`)
  if (!nextHopLengths(form, codec).includes(length))
    return reset(`MP_REACH_NLRI with a next hop of ${length} octets for ${form.family}`)
  const nlri = { start: nextHops.end + 1, end: slot.end }
  const count = countNlri(bytes, nlri, form)
  if (typeof count === 'string') return reset(`MP_REACH_NLRI with ${count}`, 'RFC 7606 section 5.3')
  return { type: 'readable', ...afiSafiAt(bytes, slot), form, nextHops, nlri, count }
}

/** Judges an MP_UNREACH_NLRI. The finding asks for a session reset. */
export function judgeMpUnreach(bytes: Uint8Array, slot: Slot, codec: SessionCodec): MultiprotocolRoutes | Finding {
  const row = attributeByName('MP_UNREACH_NLRI')
  const flags = judgeFlags(bytes, slot, row)
  if (flags !== undefined) return flags
  if (slot.end - slot.start < 3)
    return resetFinding(
      bytes,
      slot,
      `MP_UNREACH_NLRI of ${slot.end - slot.start} octets, must have 3`,
      row.malformedSource,
    )
  const form = negotiatedForm(bytes, slot, codec)
  if (form === undefined) return ignored(bytes, slot)
  const nlri = { start: slot.start + 3, end: slot.end }
  const count = countNlri(bytes, nlri, form)
  if (typeof count === 'string')
    return resetFinding(bytes, slot, `MP_UNREACH_NLRI with ${count}`, 'RFC 7606 section 5.3')
  return {
    type: 'readable',
    ...afiSafiAt(bytes, slot),
    form,
    nextHops: { start: nlri.start, end: nlri.start },
    nlri,
    count,
  }
}

// RFC 2545 section 3: a global address, alone or with a link-local one. RFC 8950 section 3: the same for IPv4 routes.
function nextHopLengths({ family }: NlriForm, codec: SessionCodec): readonly number[] {
  if (family === 'ipv6-unicast') return [16, 32]
  return codec.extendedNextHop?.has(family) ? [4, 16, 32] : [4]
}

function negotiatedForm(bytes: Uint8Array, slot: Slot, codec: SessionCodec): NlriForm | undefined {
  const family = familyOfAfiSafi(afiSafiAt(bytes, slot))
  return family !== undefined && codec.families.has(family) ? receivedForm(family, codec) : undefined
}

const afiSafiAt = (bytes: Uint8Array, slot: Slot): AfiSafi => ({
  afi: readU16(bytes, slot.start),
  safi: bytes[slot.start + 2] ?? 0,
})

const ignored = (bytes: Uint8Array, slot: Slot): IgnoredRoutes => ({
  type: 'ignored',
  ...afiSafiAt(bytes, slot),
  raw: { start: slot.start + 3, end: slot.end },
})

// RFC 4760 section 7: UPDATE message error, optional attribute error.
const resetFinding = (bytes: Uint8Array, slot: Slot, reason: string, source: string): Finding =>
  attributeFinding(bytes, slot, { treatment: 'session-reset', source, reason, error: 'optional-attribute' })
