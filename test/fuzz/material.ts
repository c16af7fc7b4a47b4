// Messages to start from, the same in every run: generated ones with their session, those of the message corpus where it is
// there, and small changes to either.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { encodeMessage } from '../../src/bgp/packet/encode.ts'
import type { SessionCodec } from '../../src/bgp/packet/message.ts'
import { messageFor, session } from '../bgp/packet/arbitraries.ts'
import type { Random } from './runner.ts'

const generated = fc
  .sample(
    session.chain((codec) => fc.tuple(fc.constant(codec), messageFor(codec))),
    { numRuns: 500, seed: 1 },
  )
  .map(([codec, message]) => ({ codec, bytes: encodeMessage(message, codec) }))

function corpus(): readonly Uint8Array[] {
  const directory = path.resolve(import.meta.dirname, '../../../shared/corpus/vectors')
  if (!existsSync(directory)) return []
  return readdirSync(directory)
    .sort()
    .flatMap((file) => readFileSync(path.join(directory, file), 'utf8').split('\n').filter(Boolean))
    .map((line) => Uint8Array.from(Buffer.from((JSON.parse(line) as { hex: string }).hex, 'hex')))
    .filter(({ length }) => length >= 19)
}

/** Outcomes of two OPENs. */
export const codecs: readonly SessionCodec[] = generated.map(({ codec }) => codec)

/** Whole messages. */
export const messages: readonly Uint8Array[] = [...generated.map(({ bytes }) => bytes), ...corpus()]

// Octets that mean something: flags, small lengths and types, lengths of prefixes, path segments.
const telling = [0, 1, 2, 3, 4, 14, 15, 17, 18, 24, 32, 33, 64, 80, 128, 129, 144, 192, 208, 255]

/** The message with a few octets after the header overwritten, now and then longer or shorter, its length field mostly right. */
export function mutate(bytes: Uint8Array, { below, oneIn, pick }: Random): Uint8Array {
  const changed = new Uint8Array(Math.max(19, bytes.length + (oneIn(4) ? below(9) - 4 : 0)))
  changed.set(bytes.subarray(0, changed.length))
  for (let writes = below(5); writes > 0; writes--) {
    const at = 18 + below(changed.length - 18)
    changed[at] = oneIn(2) ? pick(telling) : below(256)
  }
  if (!oneIn(8)) {
    changed[16] = changed.length >> 8
    changed[17] = changed.length & 0xff
  }
  return changed
}
