// An UPDATE cut into its fields and its path attributes, by lengths alone (RFC 4271 section 4.3, RFC 7606 section 4).
// What the pieces mean, and whether they may stand together, is for `update-rules.ts`.

import { extendedLengthFlag, renderAttributeCode } from './attribute-table.ts'
import { readU16 } from './bytes.ts'
import { headerBytes } from './encode.ts'
import { type Finding, messageFinding, type Slot } from './finding.ts'
import type { Span } from './nlri.ts'

export interface UpdateFrame {
  /** IPv4 unicast. */
  readonly withdrawn: Span
  /** In the order of the message, repetitions included; up to the first that does not fit. */
  readonly slots: readonly Slot[]
  /** IPv4 unicast. */
  readonly nlri: Span
  /** The attributes did not come out even: what was not reached is lost, NLRI are still found. */
  readonly overrun?: Finding
}

const multiprotocolCodes: ReadonlySet<number> = new Set([14, 15])

/** Cuts up a whole UPDATE with its header, of at least 23 octets. The finding asks for a session reset. */
export function frameUpdate(bytes: Uint8Array): UpdateFrame | Finding {
  const withdrawn = { start: headerBytes + 2, end: headerBytes + 2 + readU16(bytes, headerBytes) }
  if (withdrawn.end + 2 > bytes.length) return tooLarge('the withdrawn routes')
  const start = withdrawn.end + 2
  const end = start + readU16(bytes, withdrawn.end)
  if (end > bytes.length) return tooLarge('the path attributes')
  const slots: Slot[] = []
  const nlri = { start: end, end: bytes.length }
  let at = start
  while (at < end) {
    const flags = bytes[at] ?? 0
    const extended = (flags & extendedLengthFlag) !== 0
    const valueAt = at + (extended ? 4 : 3)
    if (valueAt > end) return { withdrawn, slots, nlri, overrun: truncatedHeader(bytes, at, end) }
    const code = bytes[at + 1] ?? 0
    const valueEnd = valueAt + (extended ? readU16(bytes, at + 2) : (bytes[at + 2] ?? 0))
    if (valueEnd > end) return { withdrawn, slots, nlri, overrun: overrunning(code, valueEnd - end) }
    slots.push({ flags, code, headerStart: at, start: valueAt, end: valueEnd })
    at = valueEnd
  }
  return { withdrawn, slots, nlri }
}

const tooLarge = (field: string): Finding =>
  messageFinding({
    treatment: 'session-reset',
    source: 'RFC 7606 section 3.b',
    reason: `the length of ${field} exceeds the message`,
    error: 'malformed-attribute-list',
  })

// The attribute that does not fit may be one that carries NLRI; then what to withdraw is not known (RFC 7606 section 3.j).
const overrunTreatment = (code: number | undefined): 'session-reset' | 'treat-as-withdraw' =>
  code !== undefined && multiprotocolCodes.has(code) ? 'session-reset' : 'treat-as-withdraw'

const truncatedHeader = (bytes: Uint8Array, at: number, end: number): Finding =>
  messageFinding({
    treatment: overrunTreatment(at + 2 <= end ? bytes[at + 1] : undefined),
    source: 'RFC 7606 section 4',
    reason: `${end - at} octets are left where the path attributes end, too few for another`,
    error: 'malformed-attribute-list',
  })

const overrunning = (code: number, octets: number): Finding =>
  messageFinding({
    treatment: overrunTreatment(code),
    source: 'RFC 7606 section 4',
    reason: `${renderAttributeCode(code)} runs ${octets} octets beyond the end of the path attributes`,
    error: 'malformed-attribute-list',
  })
