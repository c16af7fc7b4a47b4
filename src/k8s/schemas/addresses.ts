// Addresses, AS numbers and communities inside objects: the parsers of net/, with refusals in operators' words.

import { type Asn, parseAsn } from '../../net/asn.ts'
import { addressBits, familyOf, type Ip, parseIp } from '../../net/ip.ts'
import { type Prefix, prefixOf } from '../../net/prefix.ts'
import { type IpRange, type RangeError as IpRangeError, parseRange } from '../../net/range.ts'
import { listOf } from '../json.ts'
import type { Fields } from './fields.ts'

/** The address at `key`, or undefined (absent, or refused). */
export function ipAt(fields: Fields, key: string): Ip | undefined {
  const text = fields.text(key)
  return text === undefined ? undefined : readIp(fields, key, text)
}

/** The addresses in the list at `key`; those that are none are refused one by one. */
export function ipsAt(fields: Fields, key: string): readonly Ip[] {
  return fields.texts(key).flatMap((text, i) => {
    const ip = readIp(fields, `${key}[${i}]`, text)
    return ip === undefined ? [] : [ip]
  })
}

function readIp(fields: Fields, key: string, text: string): Ip | undefined {
  const ip = parseIp(text)
  if (ip.ok) return ip.value
  fields.refuse(`"${text}" is no IPv4 or IPv6 address`, key)
  return undefined
}

/** Every address in a list that is one; the others are nobody's fault we could report to. */
export const lenientIps = (list: unknown): readonly Ip[] => listOf(list, lenientIp)

/** The address, if it is one. */
export function lenientIp(text: unknown): Ip | undefined {
  const ip = typeof text === 'string' ? parseIp(text) : undefined
  return ip?.ok ? ip.value : undefined
}

/** Every network in a list that is one, with host bits cleared as Kubernetes reads them. */
export const lenientPrefixes = (list: unknown): readonly Prefix[] =>
  listOf(list, (text) => {
    const [address = '', length = '', ...rest] = typeof text === 'string' ? text.trim().split('/') : []
    const ip = parseIp(address)
    if (!ip.ok || rest.length > 0 || !/^\d{1,3}$/.test(length)) return undefined
    return Number(length) <= addressBits(familyOf(ip.value)) ? prefixOf(ip.value, Number(length)) : undefined
  })

/** The AS number at `key`, or undefined (absent, or refused). */
export function asnAt(fields: Fields, key: string): Asn | undefined {
  const number = fields.integer(key, { min: 0, max: 0xffff_ffff })
  if (number === undefined) return undefined
  const asn = parseAsn(number)
  if (asn.ok) return asn.value
  fields.refuse(`${number} is a reserved AS number that no speaker may use`, key)
  return undefined
}

const rangeProblems: Readonly<Record<IpRangeError['code'], string>> = {
  'range/malformed': 'is no address, prefix (a.b.c.d/n) or range (first-last)',
  'range/host-bits-set': 'has host bits set: write the network address, or a range',
  'range/mixed-families': 'goes from one IP family to the other',
  'range/backwards': 'ends before it begins',
}

/** The ranges in the list at `key`. */
export function rangesAt(fields: Fields, key: string): readonly IpRange[] {
  return fields.texts(key).flatMap((text, i) => {
    const range = parseRange(text)
    if (range.ok) return [range.value]
    fields.refuse(`"${text}" ${rangeProblems[range.error.code]}`, `${key}[${i}]`)
    return []
  })
}
