// What is known of each path attribute: one row each, as the RFCs and the IANA registry "BGP Path Attributes" give it.
// The decoder takes flags and treatments from here, the encoder flags and order, so that the two cannot disagree.

import type { Treatment } from './message.ts'

/** Attribute flag bits (RFC 4271 section 4.3). */
export const optionalFlag = 0x80
export const transitiveFlag = 0x40
export const extendedLengthFlag = 0x10

const wellKnown = transitiveFlag
const optionalTransitive = optionalFlag | transitiveFlag
const optionalNonTransitive = optionalFlag

export type AttributeName =
  | 'ORIGIN'
  | 'AS_PATH'
  | 'NEXT_HOP'
  | 'MULTI_EXIT_DISC'
  | 'LOCAL_PREF'
  | 'ATOMIC_AGGREGATE'
  | 'AGGREGATOR'
  | 'COMMUNITIES'
  | 'ORIGINATOR_ID'
  | 'CLUSTER_LIST'
  | 'MP_REACH_NLRI'
  | 'MP_UNREACH_NLRI'
  | 'EXTENDED_COMMUNITIES'
  | 'AS4_PATH'
  | 'AS4_AGGREGATOR'
  | 'IPV6_EXTENDED_COMMUNITIES'
  | 'AIGP'
  | 'LARGE_COMMUNITY'
  | 'ONLY_TO_CUSTOMER'

export interface AttributeRow {
  readonly code: number
  readonly name: AttributeName
  /** The Optional and Transitive bits it must carry, and no others when we write it. */
  readonly flags: number
  /** Where it is defined. */
  readonly definedIn: string
  /** What a bad length or value leads to. */
  readonly malformed: Treatment
  /** The section that asks for it. */
  readonly malformedSource: string
  /**
   * What wrong Optional or Transitive bits lead to. RFC 7606 section 3.c: treat-as-withdraw, unless the specification of
   * the attribute, or section 3.j for the two that carry NLRI, says otherwise.
   */
  readonly wrongFlags: Treatment
}

const row = (
  code: number,
  name: AttributeName,
  flags: number,
  definedIn: string,
  malformed: Treatment,
  malformedSource: string,
  wrongFlags: Treatment = 'treat-as-withdraw',
): AttributeRow => ({ code, name, flags, definedIn, malformed, malformedSource, wrongFlags })

/** By type code, ascending: also the order in which we write them (RFC 4271 section 5, appendix F.3). */
const attributeTable: readonly AttributeRow[] = [
  row(1, 'ORIGIN', wellKnown, 'RFC 4271 section 5.1.1', 'treat-as-withdraw', 'RFC 7606 section 7.1'),
  row(2, 'AS_PATH', wellKnown, 'RFC 4271 section 5.1.2', 'treat-as-withdraw', 'RFC 7606 section 7.2'),
  row(3, 'NEXT_HOP', wellKnown, 'RFC 4271 section 5.1.3', 'treat-as-withdraw', 'RFC 7606 section 7.3'),
  row(
    4,
    'MULTI_EXIT_DISC',
    optionalNonTransitive,
    'RFC 4271 section 5.1.4',
    'treat-as-withdraw',
    'RFC 7606 section 7.4',
  ),
  row(5, 'LOCAL_PREF', wellKnown, 'RFC 4271 section 5.1.5', 'treat-as-withdraw', 'RFC 7606 section 7.5'),
  row(6, 'ATOMIC_AGGREGATE', wellKnown, 'RFC 4271 section 5.1.6', 'attribute-discard', 'RFC 7606 section 7.6'),
  row(7, 'AGGREGATOR', optionalTransitive, 'RFC 4271 section 5.1.7', 'attribute-discard', 'RFC 7606 section 7.7'),
  row(8, 'COMMUNITIES', optionalTransitive, 'RFC 1997', 'treat-as-withdraw', 'RFC 7606 section 7.8'),
  row(9, 'ORIGINATOR_ID', optionalNonTransitive, 'RFC 4456 section 8', 'treat-as-withdraw', 'RFC 7606 section 7.9'),
  row(10, 'CLUSTER_LIST', optionalNonTransitive, 'RFC 4456 section 8', 'treat-as-withdraw', 'RFC 7606 section 7.10'),
  row(
    14,
    'MP_REACH_NLRI',
    optionalNonTransitive,
    'RFC 4760 section 3',
    'session-reset',
    'RFC 7606 section 7.11',
    'session-reset',
  ),
  row(
    15,
    'MP_UNREACH_NLRI',
    optionalNonTransitive,
    'RFC 4760 section 4',
    'session-reset',
    'RFC 7606 section 7.12',
    'session-reset',
  ),
  row(16, 'EXTENDED_COMMUNITIES', optionalTransitive, 'RFC 4360', 'treat-as-withdraw', 'RFC 7606 section 7.14'),
  row(17, 'AS4_PATH', optionalTransitive, 'RFC 6793 section 3', 'attribute-discard', 'RFC 6793 section 6'),
  row(18, 'AS4_AGGREGATOR', optionalTransitive, 'RFC 6793 section 3', 'attribute-discard', 'RFC 6793 section 6'),
  row(25, 'IPV6_EXTENDED_COMMUNITIES', optionalTransitive, 'RFC 5701', 'treat-as-withdraw', 'RFC 7606 section 7.15'),
  row(26, 'AIGP', optionalNonTransitive, 'RFC 7311', 'attribute-discard', 'RFC 7311 section 3.2', 'attribute-discard'),
  row(32, 'LARGE_COMMUNITY', optionalTransitive, 'RFC 8092 section 3', 'treat-as-withdraw', 'RFC 8092 section 6'),
  row(35, 'ONLY_TO_CUSTOMER', optionalTransitive, 'RFC 9234 section 5', 'treat-as-withdraw', 'RFC 9234 section 5'),
]

const byCode: readonly (AttributeRow | undefined)[] = Array.from({ length: 256 }, (_, code) =>
  attributeTable.find((candidate) => candidate.code === code),
)
const byName: ReadonlyMap<AttributeName, AttributeRow> = new Map(attributeTable.map((known) => [known.name, known]))

/** The row of a type code, or undefined when we do not know the attribute. */
export const attributeByCode = (code: number): AttributeRow | undefined => byCode[code]

/** The row of a name. */
export function attributeByName(name: AttributeName): AttributeRow {
  const known = byName.get(name)
  if (known === undefined) throw new Error(`no row for the path attribute ${name}`)
  return known
}

/** The name, or `attribute 99`. */
export const renderAttributeCode = (code: number): string => byCode[code]?.name ?? `attribute ${code}`
