// Bytes that no peer should send, for a given number of seconds, against the framer, the decoder and the scanner. Starts from
// generated messages and, where it is there, from the message corpus; changes a few octets at a time; checks what must hold
// for any input. Ends with status 1 at the first input for which it does not, and prints that.
//
//   node test/fuzz/packet-fuzz.ts --seconds 10 --seed 1
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { encodeMessage } from '../../src/bgp/packet/encode.ts'
import { createFramer } from '../../src/bgp/packet/framing.ts'
import type { SessionCodec } from '../../src/bgp/packet/message.ts'
import { messageFor, session } from '../bgp/packet/arbitraries.ts'
import { type Outcome, receive } from '../bgp/packet/invariants.ts'

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, seed: { type: 'string', default: '1' } },
})
const seconds = Number(values.seconds)
const seed = Number(values.seed)
if (!(seconds > 0) || !Number.isInteger(seed)) throw new Error('--seconds is a positive number, --seed an integer')

// Mulberry32: small, fast, and the same everywhere.
function generator(start: number): (below: number) => number {
  let state = start >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const random = generator(seed)
const pick = <T>(list: readonly T[]): T => {
  const item = list[random(list.length)]
  if (item === undefined) throw new Error('nothing to pick from')
  return item
}

const generated = fc
  .sample(
    session.chain((codec) => fc.tuple(fc.constant(codec), messageFor(codec))),
    { numRuns: 500, seed },
  )
  .map(([codec, message]) => ({ codec, bytes: encodeMessage(message, codec) }))
const codecs: readonly SessionCodec[] = generated.map(({ codec }) => codec)

function corpus(): readonly Uint8Array[] {
  const directory = path.resolve(import.meta.dirname, '../../../shared/corpus/vectors')
  if (!existsSync(directory)) return []
  return readdirSync(directory)
    .flatMap((file) => readFileSync(path.join(directory, file), 'utf8').split('\n').filter(Boolean))
    .map((line) => Uint8Array.from(Buffer.from((JSON.parse(line) as { hex: string }).hex, 'hex')))
    .filter(({ length }) => length >= 19)
}

// Octets that mean something: flags, small lengths and types, lengths of prefixes, path segments.
const telling = [0, 1, 2, 3, 4, 14, 15, 17, 18, 24, 32, 33, 64, 80, 128, 129, 144, 192, 208, 255]

function mutate(bytes: Uint8Array): Uint8Array {
  const changed = new Uint8Array(Math.max(19, bytes.length + (random(4) === 0 ? random(9) - 4 : 0)))
  changed.set(bytes.subarray(0, changed.length))
  for (let writes = random(5); writes > 0; writes--) {
    const at = 18 + random(changed.length - 18)
    changed[at] = random(2) === 0 ? pick(telling) : random(256)
  }
  if (random(8) !== 0) {
    changed[16] = changed.length >> 8
    changed[17] = changed.length & 0xff
  }
  return changed
}

// Wherever the bytes are cut, the framer must hand out as many as the header says, or wait for them, or refuse.
function frame(bytes: Uint8Array, codec: SessionCodec): 'message' | 'waiting' | 'error' {
  const framer = createFramer()
  const cut = random(bytes.length + 1)
  framer.push(bytes.slice(0, cut))
  const early = framer.next(codec.messageBytesMaxReceive)
  framer.push(bytes.slice(cut))
  const framed = early ?? framer.next(codec.messageBytesMaxReceive)
  const length = Buffer.from(bytes).readUInt16BE(16)
  if (framed === undefined) assert.ok(length > bytes.length)
  else if (framed.type === 'message') assert.deepEqual(framed.bytes, bytes.slice(0, length))
  return framed?.type ?? 'waiting'
}

const seeds = [...generated.map(({ bytes }) => bytes), ...corpus()]
const framed = { message: 0, waiting: 0, error: 0 }
const counts: Record<Outcome, number> = {
  taken: 0,
  'attribute-discard': 0,
  'treat-as-withdraw': 0,
  'session-reset': 0,
}
const deadline = performance.now() + 1000 * seconds
let inputs = 0
let bytes: Uint8Array = new Uint8Array(0)
while (performance.now() < deadline) {
  const codec = pick(codecs)
  // Now and then on top of the last change, to get further away from what is well formed.
  bytes = mutate(random(3) === 0 && bytes.length > 19 ? bytes : pick(seeds))
  inputs++
  try {
    framed[frame(bytes, codec)]++
    counts[receive(bytes, codec)]++
  } catch (error) {
    console.error(`seed ${seed}, input ${inputs}: ${Buffer.from(bytes).toString('hex')}`)
    console.error('session', codec)
    throw error
  }
}
console.log(`seed ${seed}: ${inputs} inputs from ${seeds.length} messages in ${seconds} s`)
console.log(`  framer: ${framed.message} messages, ${framed.waiting} incomplete, ${framed.error} refused`)
for (const [outcome, count] of Object.entries(counts)) console.log(`  ${outcome}: ${count}`)
