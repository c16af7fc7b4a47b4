// Says the kernel's nftables generation, as seen from the namespace it runs in, whenever it became another one.

import { openGenerationSource } from '../../src/nftables/generation.ts'
import { must } from '../../src/runtime/result.ts'

const source = must(openGenerationSource())
let last: number | undefined
setInterval(() => {
  const generation = source.read()
  if (generation === undefined || generation === last) return
  last = generation
  process.stdout.write(`${generation}\n`)
}, 20)
