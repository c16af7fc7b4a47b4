// Streams of messages, good and bad, cut at every single place and then at many places at once: however the bytes arrive, the
// framer hands out the same messages and the same error, and nothing that it handed out changes afterwards.
//
//   node test/fuzz/framer-fuzz.ts --seconds 10 --seed 1

import assert from 'node:assert/strict'
import { createFramer, type Framed } from '../../src/bgp/packet/framing.ts'
import { createGrammar } from './grammar.ts'
import { codecs, messages, mutate } from './material.ts'
import { type Case, fuzz, type Random } from './runner.ts'

const longestStream = 1200

/** The messages as hex, and the words of the error that ended the stream. */
function frame(chunks: Iterable<Uint8Array>, maxBytes: number): readonly string[] {
  const framer = createFramer()
  const kept: Framed[] = []
  const early: string[] = []
  for (const chunk of chunks) {
    framer.push(chunk.slice())
    for (let framed = framer.next(maxBytes); framed !== undefined; framed = framer.next(maxBytes)) {
      kept.push(framed)
      early.push(render(framed))
      if (framed.type === 'error') break
    }
    if (kept.at(-1)?.type === 'error') break
  }
  assert.deepEqual(kept.map(render), early, 'a message that was handed out does not change')
  return early
}

const render = (framed: Framed): string =>
  framed.type === 'message' ? Buffer.from(framed.bytes).toString('hex') : `error: ${framed.error.reason}`

function cutAt(stream: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.toSorted((a, b) => a - b), stream.length]
  return ends.map((end, i) => stream.subarray(ends[i - 1] ?? 0, end))
}

function streamOf(random: Random): Uint8Array {
  const grammar = createGrammar(random, random.pick(codecs), random.pick([0, 0, 10]))
  const parts: Uint8Array[] = []
  let octets = 0
  while (octets < longestStream && !random.oneIn(6)) {
    const part = random.oneIn(3) ? mutate(random.pick(messages), random) : grammar.message()
    parts.push(part)
    octets += part.length
  }
  const whole = new Uint8Array(Buffer.concat(parts))
  return whole.slice(0, random.oneIn(2) ? whole.length : random.below(whole.length + 1))
}

const oneStream: Case = (random, count) => {
  const stream = streamOf(random).slice(0, 2 * longestStream)
  const maxBytes = random.pick([4096, 65535])
  const whole = frame([stream], maxBytes)
  try {
    for (let at = 0; at <= stream.length; at++) assert.deepEqual(frame(cutAt(stream, [at]), maxBytes), whole)
    for (let times = 0; times < 10; times++) {
      const places = Array.from({ length: random.below(40) }, () => random.below(stream.length + 1))
      assert.deepEqual(frame(cutAt(stream, places), maxBytes), whole)
    }
    assert.deepEqual(
      frame(
        [...stream].map((octet) => Uint8Array.of(octet)),
        maxBytes,
      ),
      whole,
    )
  } catch (cause) {
    throw new Error(`stream ${Buffer.from(stream).toString('hex')}`, { cause })
  }
  count('ways of cutting', stream.length + 12)
  count('messages', whole.length)
  if (whole.at(-1)?.startsWith('error') === true) count('streams refused')
}

fuzz(import.meta.filename, oneStream)
