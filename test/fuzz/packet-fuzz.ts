// Bytes that no peer should send, against the decoder and the scanner: messages that others have sent, changed a few octets at a
// time, and messages built from the grammar with defects in it. What must hold for any input is in test/bgp/packet/invariants.ts.
//
//   node test/fuzz/packet-fuzz.ts --seconds 10 --seed 1

import { receive } from '../bgp/packet/invariants.ts'
import { createGrammar } from './grammar.ts'
import { codecs, messages, mutate } from './material.ts'
import { type Case, fuzz } from './runner.ts'

const oneChain: Case = (random, count) => {
  const codec = random.pick(codecs)
  const fromGrammar = random.oneIn(2)
  const grammar = createGrammar(random, codec, random.pick([0, 5, 20, 60]))
  let bytes = fromGrammar ? grammar.message() : mutate(random.pick(messages), random)
  // Change upon change, to get further away from what is well formed.
  for (let left = random.below(6); left >= 0; left--) {
    try {
      count(`${fromGrammar ? 'built' : 'mutated'} ${receive(bytes, codec)}`)
    } catch (cause) {
      throw new Error(`${Buffer.from(bytes).toString('hex')} on ${JSON.stringify(codec, shown)}`, { cause })
    }
    bytes = fromGrammar && random.oneIn(2) ? grammar.message() : mutate(bytes, random)
  }
}

const shown = (_: string, value: unknown): unknown => (value instanceof Set ? [...value] : value)

fuzz(import.meta.filename, oneChain)
