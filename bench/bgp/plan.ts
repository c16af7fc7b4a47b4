// What every benchmark of the speaker agrees on: the addresses of the segment, the table that is announced, and which of the
// receiver's addresses a run uses. Each run has addresses that no session was on before, so that no daemon's pause after a
// lost session is part of anybody's time.

/** When to say at what time a change began: not while it is on its way, because whoever reads it would want a core. */
export const answerDelayMs = 3

/** N prefixes with M next hops each. */
export interface TableSize {
  readonly prefixes: number
  readonly nextHops: number
}

export const senderAsn = 64512
export const receiverAsn = 64513
export const feederAsn = 64514
export const bgpPort = 179
export const segmentBits = 16
/** A /32 with its path id on the wire. */
export const entryBytes = 9

const address = (third: number, index: number): string => `10.99.${third + (index >> 8)}.${index & 255}`

export const senderAddress = (index: number): string => address(1, index + 1)
export const receiverAddress = (index: number): string => address(2, index + 1)
/** On the segment, so that it may be announced to everybody on it (RFC 4271 section 5.1.3); nobody answers there. */
export const nextHop = (index: number): string => address(8, index + 1)
export const feederAddress = address(7, 1)
/** Of a router at the receiver's end that announces and withdraws single routes. */
export const changerAddress = address(7, 2)

export const firstNextHopBits = ((10 << 24) | (99 << 16) | (8 << 8) | 1) >>> 0
/** 198.18.0.0/15 is set aside for benchmarks (RFC 2544). */
export const firstPrefixBits = ((198 << 24) | (18 << 16)) >>> 0

/** `198.18.1.4`, the host of prefix `index`. */
export function host(index: number): string {
  const bits = firstPrefixBits + index
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.')
}

/** UPDATEs that are full: what is left beside header, ORIGIN, AS_PATH of one AS and NEXT_HOP. */
const updateBytesMax = 4096
const overheadBytes = 23 + 4 + 9 + 7

/** The fewest octets in which the table can be written with messages of 4096 octets, End-of-RIB not counted. */
export function packedBytes({ prefixes, nextHops }: TableSize): number {
  const perMessage = Math.floor((updateBytesMax - overheadBytes) / entryBytes)
  return nextHops * (prefixes * entryBytes + Math.ceil(prefixes / perMessage) * overheadBytes)
}

/** Receivers of run `run`, counted from 0 over all runs of a benchmark: `peers` addresses that no other run has. */
export const receiversOf = (firstReceiver: number, peers: number): readonly string[] =>
  Array.from({ length: peers }, (_, i) => receiverAddress(firstReceiver + i))
