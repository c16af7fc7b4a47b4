// Messages as hex text, spaces allowed, with the lengths filled in where a table row should show only what it is about.
import type { Family, SessionCodec } from '../../../src/bgp/packet/message.ts'

/** The bytes of hex text. */
export const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** A whole message around a body. */
export function message(type: number, body: string): Uint8Array {
  const bytes = fromHex(`${'ff'.repeat(16)} 0000 ${type.toString(16).padStart(2, '0')} ${body}`)
  bytes[16] = bytes.length >> 8
  bytes[17] = bytes.length & 0xff
  return bytes
}

const u16 = (value: number): string => value.toString(16).padStart(4, '0')
const octets = (hex: string): number => hex.replaceAll(' ', '').length / 2

export interface UpdateFields {
  readonly withdrawn?: string
  readonly attributes?: string
  readonly nlri?: string
}

/** An UPDATE of three fields in hex. */
export const update = ({ withdrawn = '', attributes = '', nlri = '' }: UpdateFields): Uint8Array =>
  message(2, `${u16(octets(withdrawn))} ${withdrawn} ${u16(octets(attributes))} ${attributes} ${nlri}`)

/** An OPEN of AS 65001, hold time 90, identifier 10.0.0.1, with these optional parameters, their length filled in. */
export const openWith = (parameters: string): Uint8Array =>
  message(1, `04 fde9 005a 0a000001 ${octets(parameters).toString(16).padStart(2, '0')} ${parameters}`)

/** A session between four-octet speakers with both families and no ADD-PATH, or something else. */
export function codec(changes: Partial<SessionCodec> = {}): SessionCodec {
  return {
    fourOctetAs: true,
    sessionType: 'ebgp',
    addPathReceive: new Set(),
    addPathSend: new Set(),
    families: new Set<Family>(['ipv4-unicast', 'ipv6-unicast']),
    messageBytesMaxReceive: 4096,
    messageBytesMaxSend: 4096,
    ...changes,
  }
}

/** The attributes that a route needs: ORIGIN IGP, AS_PATH 65010 in four octets, NEXT_HOP 10.0.0.101. */
export const origin = '40 01 01 00'
export const asPath = '40 02 06 02 01 0000fdf2'
export const nextHop = '40 03 04 0a000065'
export const mandatory = `${origin} ${asPath} ${nextHop}`
/** 192.0.2.0/24 */
export const route = '18 c00002'
