// Authentication of BFD packets by keyed SHA1 (RFC 5880 section 6.7.4): what is put on a packet that is sent, and whether one that
// came is believed. Several keys may be believed at once, so that they can be changed one end after the other. Of a session without
// a key to send with, packets without authentication are believed too: so it can be switched on one end after the other.

import { hash, timingSafeEqual } from 'node:crypto'
import {
  type BfdAuthenticationSection,
  type BfdAuthenticationType,
  bfdAuthenticationTypes,
  bfdPacketBytes,
  sha1DigestBytes,
  sha1Offsets,
  sha1SectionBytes,
} from './packet.ts'

export interface BfdKey {
  /** 0 to 255; two keys may have the same. */
  readonly id: number
  /** 1 to 20 octets. */
  readonly secret: Uint8Array
}

export interface BfdAuthentication {
  readonly type: BfdAuthenticationType
  /** Absent: our packets go without, and the peer's are believed without. */
  readonly send?: BfdKey
  /** Whichever of these made the digest. */
  readonly accept: readonly BfdKey[]
  /**
   * From when there is a key to send with, packets without authentication are still believed for so long, but only until the first
   * that has it: milliseconds.
   */
  readonly plainForMs: number
}

/** What a session remembers of authentication, beside its configuration (RFC 5880 section 6.8.1, bfd.XmitAuthSeq and others). */
export interface AuthenticationState {
  /** Of the next packet that we send. */
  readonly sequence: number
  /** Of the last packet that was believed, and until when it counts; absent before the first. */
  readonly received?: { readonly sequence: number; readonly untilMs: number }
  /** Until when packets without authentication are believed; -Infinity once one with it was. */
  readonly plainUntilMs: number
}

export type AuthenticationRefusal = 'bfd/not-authenticated' | 'bfd/wrong-key' | 'bfd/replayed'

/** Sequences begin anywhere, so that two sessions have different ones; the discriminator is as good a random number as any. */
export const initialAuthentication = (localDiscriminator: number): AuthenticationState => ({
  sequence: localDiscriminator,
  plainUntilMs: Number.NEGATIVE_INFINITY,
})

/** After the configuration changed from `before` to `after`: when a key to send with is there for the first time, the clock runs. */
export function reconfigured(
  state: AuthenticationState,
  before: BfdAuthentication | undefined,
  after: BfdAuthentication | undefined,
  nowMs: number,
): AuthenticationState {
  if (after?.send === undefined || before?.send !== undefined) return state
  return { ...state, plainUntilMs: nowMs + after.plainForMs }
}

/** The packet with its section, and what the session remembers then. Meticulous is to count each packet; the other may. */
export function authenticate(
  packet: Uint8Array,
  { type, send }: BfdAuthentication,
  state: AuthenticationState,
): readonly [Uint8Array, AuthenticationState] {
  if (send === undefined) return [packet, state]
  const bytes = new Uint8Array(bfdPacketBytes + sha1SectionBytes)
  bytes.set(packet)
  const view = new DataView(bytes.buffer)
  view.setUint8(1, view.getUint8(1) | 0x04)
  view.setUint8(3, bytes.length)
  view.setUint8(sha1Offsets.type, bfdAuthenticationTypes[type])
  view.setUint8(sha1Offsets.length, sha1SectionBytes)
  view.setUint8(sha1Offsets.keyId, send.id)
  view.setUint32(sha1Offsets.sequence, state.sequence)
  bytes.set(digestOf(bytes, send.secret), sha1Offsets.digest)
  return [bytes, { ...state, sequence: (state.sequence + 1) >>> 0 }]
}

/** How a packet that came is judged. */
export interface Incoming {
  /** As it came. */
  readonly bytes: Uint8Array
  readonly section: BfdAuthenticationSection | undefined
  readonly nowMs: number
  /** Of the session: three times this many packets may be missing between two (section 6.7.4). */
  readonly detectMult: number
}

/** What the session remembers after a packet that is believed, or why it is not. */
export function believe(
  { bytes, section, nowMs, detectMult }: Incoming,
  config: BfdAuthentication | undefined,
  state: AuthenticationState,
): AuthenticationState | AuthenticationRefusal {
  if (section === undefined) {
    const isPlainEnough = config?.send === undefined || nowMs < state.plainUntilMs
    return isPlainEnough ? state : 'bfd/not-authenticated'
  }
  if (config === undefined || section.type !== config.type) return 'bfd/wrong-key'
  const isSigned = config.accept.some(({ id, secret }) => id === section.keyId && isDigest(section, bytes, secret))
  if (!isSigned) return 'bfd/wrong-key'
  const { received } = state
  if (received !== undefined && nowMs < received.untilMs) {
    const ahead = (section.sequence - received.sequence) >>> 0
    if (ahead < (config.type === 'keyed-sha1' ? 0 : 1) || ahead > 3 * detectMult) return 'bfd/replayed'
  }
  return {
    ...state,
    received: { sequence: section.sequence, untilMs: Number.POSITIVE_INFINITY },
    plainUntilMs: Number.NEGATIVE_INFINITY,
  }
}

/** Nothing is expected of the next packet's sequence after `untilMs`: twice the detection time without one (section 6.8.1). */
export const remembered = (state: AuthenticationState, untilMs: number): AuthenticationState =>
  state.received === undefined ? state : { ...state, received: { ...state.received, untilMs } }

const isDigest = ({ digest }: BfdAuthenticationSection, bytes: Uint8Array, secret: Uint8Array): boolean =>
  timingSafeEqual(digest, digestOf(bytes, secret))

/** SHA1 of the packet with the key in the place of the digest. */
function digestOf(bytes: Uint8Array, secret: Uint8Array): Uint8Array {
  const keyed = Uint8Array.prototype.slice.call(bytes, 0, bfdPacketBytes + sha1SectionBytes)
  keyed.fill(0, sha1Offsets.digest)
  keyed.set(secret.subarray(0, sha1DigestBytes), sha1Offsets.digest)
  return hash('sha1', keyed, 'buffer')
}
