// BFD control packets (RFC 5880 section 4.1), wire to value and back. Of authentication sections those with SHA1 (section 4.4) are
// read; whether what they say is true is judged in authentication.ts, with the key.
//
//   0                   1                   2                   3
//  |Vers | Diag    |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//  |                       My Discriminator                        |
//  |                      Your Discriminator                       |
//  |                    Desired Min TX Interval                    |
//  |                   Required Min RX Interval                    |
//  |                 Required Min Echo RX Interval                 |
//
// and with the A bit, which is what follows Control plane independent:
//
//  |   Auth Type   |  Auth Len 28  |  Auth Key ID  |   Reserved    |
//  |                        Sequence Number                        |
//  |                 Auth Key/Hash (20 octets) ...                 |

import { err, ok, type Result } from '../runtime/result.ts'

/** RFC 5880 section 4.1, in the order of their numbers. */
export const bfdStates = ['AdminDown', 'Down', 'Init', 'Up'] as const
export type BfdState = (typeof bfdStates)[number]

/** RFC 5880 section 4.1 (Diag), RFC 6428 for 9; numbers are indices. */
export const bfdDiagnostics = [
  'no diagnostic',
  'control detection time expired',
  'echo function failed',
  'neighbor signaled session down',
  'forwarding plane reset',
  'path down',
  'concatenated path down',
  'administratively down',
  'reverse concatenated path down',
] as const

export interface BfdControl {
  readonly diagnostic: number
  readonly state: BfdState
  readonly poll: boolean
  readonly final: boolean
  readonly controlPlaneIndependent: boolean
  readonly demand: boolean
  readonly detectMult: number
  readonly myDiscriminator: number
  readonly yourDiscriminator: number
  /** Microseconds. */
  readonly desiredMinTx: number
  readonly requiredMinRx: number
  readonly requiredMinEchoRx: number
}

/** The ways to authenticate that we know, with the number that each has on the wire (RFC 5880 section 4.1, Auth Type). */
export const bfdAuthenticationTypes = { 'keyed-sha1': 4, 'meticulous-keyed-sha1': 5 } as const
export type BfdAuthenticationType = keyof typeof bfdAuthenticationTypes

/** An authentication section as it came; nothing of it is to be believed yet. */
export interface BfdAuthenticationSection {
  readonly type: BfdAuthenticationType
  /** 0 to 255. */
  readonly keyId: number
  /** 32 bits. */
  readonly sequence: number
  /** 20 octets. */
  readonly digest: Uint8Array
}

/** A packet with or without a section at its end. */
export interface BfdReceived {
  readonly packet: BfdControl
  readonly section?: BfdAuthenticationSection
}

export interface BfdPacketError {
  readonly code:
    | 'bfd/version'
    | 'bfd/length'
    | 'bfd/detect-mult-zero'
    | 'bfd/multipoint'
    | 'bfd/my-discriminator-zero'
    | 'bfd/your-discriminator-zero'
    | 'bfd/authentication'
    | 'bfd/poll-and-final'
}

/** Octets of a packet without authentication. */
export const bfdPacketBytes = 24
/** Octets of an authentication section with SHA1, and where its parts are in the packet. */
export const sha1SectionBytes = 28
export const sha1Offsets = { type: 24, length: 25, keyId: 26, sequence: 28, digest: 32 } as const
export const sha1DigestBytes = 20
const version = 1

/** The 24 octets of a control packet. */
export function encodeBfd(packet: BfdControl): Uint8Array {
  const bytes = new Uint8Array(bfdPacketBytes)
  const view = new DataView(bytes.buffer)
  bytes[0] = (version << 5) | packet.diagnostic
  bytes[1] =
    (bfdStates.indexOf(packet.state) << 6) |
    (packet.poll ? 0x20 : 0) |
    (packet.final ? 0x10 : 0) |
    (packet.controlPlaneIndependent ? 0x08 : 0) |
    (packet.demand ? 0x02 : 0)
  bytes[2] = packet.detectMult
  bytes[3] = bfdPacketBytes
  view.setUint32(4, packet.myDiscriminator)
  view.setUint32(8, packet.yourDiscriminator)
  view.setUint32(12, packet.desiredMinTx)
  view.setUint32(16, packet.requiredMinRx)
  view.setUint32(20, packet.requiredMinEchoRx)
  return bytes
}

/** Reads a UDP payload; refuses what RFC 5880 section 6.8.6 says must be discarded without looking at a session. */
export function decodeBfd(bytes: Uint8Array): Result<BfdReceived, BfdPacketError> {
  const refuse = (code: BfdPacketError['code']): Result<BfdReceived, BfdPacketError> => err({ code })
  if (bytes.length < bfdPacketBytes) return refuse('bfd/length')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const [first, second, detectMult, length] = [view.getUint8(0), view.getUint8(1), view.getUint8(2), view.getUint8(3)]
  if (first >> 5 !== version) return refuse('bfd/version')
  const authenticated = (second & 0x04) !== 0
  if (length < (authenticated ? 26 : bfdPacketBytes) || length > bytes.length) return refuse('bfd/length')
  if (detectMult === 0) return refuse('bfd/detect-mult-zero')
  if ((second & 0x01) !== 0) return refuse('bfd/multipoint')
  const myDiscriminator = view.getUint32(4)
  const yourDiscriminator = view.getUint32(8)
  const state = bfdStates[second >> 6] ?? 'Down'
  if (myDiscriminator === 0) return refuse('bfd/my-discriminator-zero')
  if (yourDiscriminator === 0 && (state === 'Init' || state === 'Up')) return refuse('bfd/your-discriminator-zero')
  const section = authenticated ? decodeSection(view, length) : undefined
  if (authenticated && section === undefined) return refuse('bfd/authentication')
  const poll = (second & 0x20) !== 0
  const final = (second & 0x10) !== 0
  if (poll && final) return refuse('bfd/poll-and-final')
  const packet: BfdControl = {
    diagnostic: first & 0x1f,
    state,
    poll,
    final,
    controlPlaneIndependent: (second & 0x08) !== 0,
    demand: (second & 0x02) !== 0,
    detectMult,
    myDiscriminator,
    yourDiscriminator,
    desiredMinTx: view.getUint32(12),
    requiredMinRx: view.getUint32(16),
    requiredMinEchoRx: view.getUint32(20),
  }
  return ok(section === undefined ? { packet } : { packet, section })
}

/** undefined: a type that we do not know, or not of its length. */
function decodeSection(view: DataView, length: number): BfdAuthenticationSection | undefined {
  const number = view.getUint8(sha1Offsets.type)
  const type = number === 4 ? 'keyed-sha1' : number === 5 ? 'meticulous-keyed-sha1' : undefined
  const isWhole = view.getUint8(sha1Offsets.length) === sha1SectionBytes && length === bfdPacketBytes + sha1SectionBytes
  if (type === undefined || !isWhole) return undefined
  return {
    type,
    keyId: view.getUint8(sha1Offsets.keyId),
    sequence: view.getUint32(sha1Offsets.sequence),
    digest: new Uint8Array(view.buffer, view.byteOffset + sha1Offsets.digest, sha1DigestBytes),
  }
}
