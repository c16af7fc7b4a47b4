// Random numbers for BFD: discriminators must not be guessed (RFC 5880 section 9).

import type { Random } from '../runtime/clock.ts'

const word = new Uint32Array(1)

export const unguessable: Random = () => (crypto.getRandomValues(word)[0] ?? 0) / 2 ** 32
