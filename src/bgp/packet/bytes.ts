// Reading and writing network byte order in plain Uint8Arrays. Reads beyond the end give zero: callers check lengths first,
// and a decoder that must not throw is better served by a wrong value after a forgotten check than by an exception.

export const readU16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)

export const readU24 = (bytes: Uint8Array, at: number): number => (readU16(bytes, at) << 8) | (bytes[at + 2] ?? 0)

export const readU32 = (bytes: Uint8Array, at: number): number => readU16(bytes, at) * 65536 + readU16(bytes, at + 2)

/** Writes the low 16 bits; returns the offset behind them. */
export function writeU16(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 8
  target[at + 1] = value
  return at + 2
}

/** Writes the low 32 bits; returns the offset behind them. */
export function writeU32(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 24
  target[at + 1] = value >>> 16
  target[at + 2] = value >>> 8
  target[at + 3] = value
  return at + 4
}

export const u16 = (value: number): Uint8Array => Uint8Array.of(value >>> 8, value & 0xff)

export const u32 = (value: number): Uint8Array =>
  Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)

/** One array from many. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Lower-case hex, for reasons that people read. */
export function hexOf(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}
