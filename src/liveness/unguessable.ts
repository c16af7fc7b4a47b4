// Random numbers for BFD: discriminators must not be guessed (RFC 5880 section 9). Drawn by the hundred, because each packet's jitter
// takes one, and asking the system's generator costs more than the rest of the packet.

import type { Random } from '../runtime/clock.ts'

const words = new Uint32Array(256)
let used = words.length

export const unguessable: Random = () => {
  if (used === words.length) {
    crypto.getRandomValues(words)
    used = 0
  }
  return (words[used++] ?? 0) / 2 ** 32
}
