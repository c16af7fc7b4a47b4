// Whether one path attribute is well formed, and what RFC 7606 and the RFC that defines it ask for when it is not.
// One attribute at a time: what the message as a whole must hold is in `update-rules.ts`.

import {
  type AttributeRow,
  attributeByCode,
  optionalFlag,
  renderAttributeCode,
  transitiveFlag,
} from './attribute-table.ts'
import { readU16, readU32 } from './bytes.ts'
import type { UpdateErrorName } from './errors.ts'
import { attributeFinding, type Finding, type Slot } from './finding.ts'
import type { SessionCodec } from './message.ts'

interface Problem {
  readonly error: UpdateErrorName
  readonly reason: string
}

/**
 * Judges one attribute other than MP_REACH_NLRI and MP_UNREACH_NLRI. Undefined: keep it, as a known attribute or, when it is
 * optional and unknown, as bytes.
 */
export function judgeAttribute(bytes: Uint8Array, slot: Slot, codec: SessionCodec): Finding | undefined {
  const row = attributeByCode(slot.code)
  if (row === undefined) return judgeUnknown(bytes, slot)
  return judgeFlags(bytes, slot, row) ?? judgePeer(bytes, slot, row, codec) ?? judgeValue(bytes, slot, row, codec)
}

function judgeUnknown(bytes: Uint8Array, slot: Slot): Finding | undefined {
  if ((slot.flags & optionalFlag) !== 0) return undefined
  return attributeFinding(bytes, slot, {
    treatment: 'session-reset',
    source: 'RFC 4271 section 6.3',
    reason: `${renderAttributeCode(slot.code)} is marked well-known, but is not known`,
    error: 'unrecognized-well-known-attribute',
  })
}

/** Only Optional and Transitive are judged: RFC 7606 section 3.c drops the rest of what RFC 4271 has to say on flags. */
export function judgeFlags(bytes: Uint8Array, slot: Slot, row: AttributeRow): Finding | undefined {
  const flags = slot.flags & (optionalFlag | transitiveFlag)
  if (flags === row.flags) return undefined
  return attributeFinding(bytes, slot, {
    treatment: row.wrongFlags,
    source: wrongFlagsSource(row),
    reason: `${row.name} with flags 0x${hex(slot.flags)}, must have 0x${hex(row.flags)} of 0xc0`,
    error: 'attribute-flags',
  })
}

// By rule; or, for attributes that carry NLRI, because what cannot be trusted cannot be withdrawn; or as the attribute's own
// specification has it.
function wrongFlagsSource({ wrongFlags, malformedSource }: AttributeRow): string {
  if (wrongFlags === 'treat-as-withdraw') return 'RFC 7606 section 3.c'
  return wrongFlags === 'session-reset' ? 'RFC 7606 section 3.j' : malformedSource
}

const hex = (octet: number): string => octet.toString(16).padStart(2, '0')

// Attributes that this kind of peer has no business to send; well formed or not, they are discarded.
function judgePeer(bytes: Uint8Array, slot: Slot, row: AttributeRow, codec: SessionCodec): Finding | undefined {
  const discard = (reason: string, source: string): Finding =>
    attributeFinding(bytes, slot, { treatment: 'attribute-discard', source, reason, error: 'optional-attribute' })
  switch (row.name) {
    case 'LOCAL_PREF':
    case 'ORIGINATOR_ID':
    case 'CLUSTER_LIST':
      return codec.sessionType === 'ebgp'
        ? discard(`${row.name} from an external neighbour`, row.malformedSource)
        : undefined
    case 'AS4_PATH':
    case 'AS4_AGGREGATOR':
      return codec.fourOctetAs ? discard(`${row.name} from a four-octet AS speaker`, row.malformedSource) : undefined
    default:
      return undefined
  }
}

function judgeValue(bytes: Uint8Array, slot: Slot, row: AttributeRow, codec: SessionCodec): Finding | undefined {
  const problem = valueProblem(bytes, slot, row, codec)
  if (problem === undefined) return undefined
  return attributeFinding(bytes, slot, {
    treatment: row.malformed,
    source: row.malformedSource,
    reason: `${row.name} ${problem.reason}`,
    error: problem.error,
  })
}

function valueProblem(bytes: Uint8Array, slot: Slot, row: AttributeRow, codec: SessionCodec): Problem | undefined {
  const length = slot.end - slot.start
  switch (row.name) {
    case 'ORIGIN':
      return lengthProblem(length, 1) ?? originProblem(bytes[slot.start] ?? 0)
    case 'AS_PATH':
      return asPathProblem(bytes, slot, { asnOctets: codec.fourOctetAs ? 4 : 2, sessionType: codec.sessionType })
    case 'NEXT_HOP':
      return lengthProblem(length, 4) ?? hostProblem(bytes[slot.start] ?? 0)
    case 'MULTI_EXIT_DISC':
    case 'LOCAL_PREF':
    case 'ORIGINATOR_ID':
    case 'ONLY_TO_CUSTOMER':
      return lengthProblem(length, 4)
    case 'ATOMIC_AGGREGATE':
      return lengthProblem(length, 0)
    case 'AGGREGATOR':
      return aggregatorProblem(bytes, slot, codec.fourOctetAs ? 4 : 2)
    case 'AS4_AGGREGATOR':
      return aggregatorProblem(bytes, slot, 4)
    case 'AS4_PATH':
      return as4PathProblem(bytes, slot)
    case 'COMMUNITIES':
    case 'CLUSTER_LIST':
      return multipleProblem(length, 4)
    case 'EXTENDED_COMMUNITIES':
      return multipleProblem(length, 8)
    case 'LARGE_COMMUNITY':
      return multipleProblem(length, 12)
    case 'IPV6_EXTENDED_COMMUNITIES':
      return multipleProblem(length, 20)
    case 'AIGP':
      return aigpProblem(bytes, slot)
    case 'MP_REACH_NLRI':
    case 'MP_UNREACH_NLRI':
      throw new Error(`${row.name} is judged with its NLRI`)
  }
}

const lengthProblem = (length: number, wanted: number): Problem | undefined =>
  length === wanted ? undefined : { error: 'attribute-length', reason: `of ${length} octets, must be ${wanted}` }

const multipleProblem = (length: number, unit: number): Problem | undefined =>
  length > 0 && length % unit === 0
    ? undefined
    : { error: 'attribute-length', reason: `of ${length} octets, must be a multiple of ${unit} and not 0` }

const originProblem = (value: number): Problem | undefined =>
  value <= 2 ? undefined : { error: 'invalid-origin', reason: `with the undefined value ${value}` }

// RFC 4271 section 6.3: a valid host address, which no address of these is.
function hostProblem(firstOctet: number): Problem | undefined {
  const kind =
    firstOctet === 0
      ? '0.0.0.0/8'
      : firstOctet === 127
        ? 'the loopback network'
        : firstOctet >= 224
          ? 'the multicast or reserved space'
          : undefined
  return kind === undefined ? undefined : { error: 'invalid-next-hop', reason: `in ${kind} is not a host` }
}

const aggregatorProblem = (bytes: Uint8Array, slot: Slot, asnOctets: 2 | 4): Problem | undefined =>
  lengthProblem(slot.end - slot.start, asnOctets + 4) ??
  ((asnOctets === 4 ? readU32(bytes, slot.start) : readU16(bytes, slot.start)) === 0
    ? { error: 'optional-attribute', reason: 'with AS number 0 (RFC 7607)' }
    : undefined)

const knownSegmentTypes = 4
const confederationSegmentFirst = 3

interface AsPathForm {
  readonly asnOctets: 2 | 4
  readonly sessionType: SessionCodec['sessionType']
}

// RFC 7606 section 7.2, RFC 7607 section 2, and RFC 5065 section 5: confederation segments stay inside the confederation.
function asPathProblem(bytes: Uint8Array, { start, end }: Slot, form: AsPathForm): Problem | undefined {
  const malformed = (reason: string): Problem => ({ error: 'malformed-as-path', reason })
  let at = start
  while (at < end) {
    if (at + 2 > end) return malformed('with an octet too many')
    const type = bytes[at] ?? 0
    const count = bytes[at + 1] ?? 0
    if (type === 0 || type > knownSegmentTypes) return malformed(`with a segment of the unknown type ${type}`)
    if (count === 0) return malformed('with an empty segment')
    if (type >= confederationSegmentFirst && form.sessionType === 'ebgp')
      return malformed('with a confederation segment from outside the confederation (RFC 5065)')
    const next = at + 2 + count * form.asnOctets
    if (next > end) return malformed(`with a segment of ${count} AS numbers that runs beyond its end`)
    for (at += 2; at < next; at += form.asnOctets)
      if ((form.asnOctets === 4 ? readU32(bytes, at) : readU16(bytes, at)) === 0)
        return malformed('with AS number 0 (RFC 7607)')
  }
  return undefined
}

// RFC 6793 section 6: as AS_PATH, but confederation segments are only passed over, and an empty one is malformed.
function as4PathProblem(bytes: Uint8Array, slot: Slot): Problem | undefined {
  if (slot.end === slot.start) return { error: 'optional-attribute', reason: 'is empty' }
  const problem = asPathProblem(bytes, slot, { asnOctets: 4, sessionType: 'ibgp' })
  return problem && { ...problem, error: 'optional-attribute' }
}

// RFC 7311 section 3.2: a list of TLVs with two octets of length, header included; an AIGP TLV has eleven.
function aigpProblem(bytes: Uint8Array, { start, end }: Slot): Problem | undefined {
  let at = start
  while (at < end) {
    const length = at + 3 <= end ? readU16(bytes, at + 1) : 0
    if (length < 3 || at + length > end || (bytes[at] === 1 && length !== 11))
      return { error: 'optional-attribute', reason: 'with a TLV of the wrong length' }
    at += length
  }
  return undefined
}
