// A keeper by itself, in whatever network namespace it is started: what it is to own comes in by lines of JSON, what it tells the
// controllers goes out by lines of JSON. The control plane is always in sight, and agrees with what it was told last.

import { createInterface } from 'node:readline'
import { keepLayer2 } from '../../src/layer2/keeper.ts'
import { systemKernelFacts } from '../../src/layer2/kernel-facts.ts'
import { openNativePacketSocket } from '../../src/layer2/native-packets.ts'
import { systemExec } from '../../src/runtime/exec.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'

const ending = new AbortController()
process.on('SIGTERM', () => ending.abort())
const keeper = keepLayer2(
  { holdMs: 5_000 },
  {
    ...{ exec: systemExec, clock: systemClock, log: silentLog, signal: ending.signal },
    openSocket: openNativePacketSocket,
    kernel: systemKernelFacts,
    provenMs: () => systemClock.monotonicMs(),
    confirm: async () => {},
    onChange: () => tell(),
  },
)
const tell = (): void => {
  const said = keeper.nodeLinks()
  if (said === undefined) return
  const { links, holds, refusals, answersForAll } = said
  console.log(JSON.stringify({ links, holds: [...(holds?.vips ?? [])], refusals: [...refusals], answersForAll }))
}
createInterface({ input: process.stdin }).on('line', (line) => keeper.setVips(JSON.parse(line)))
await keeper.ended
process.exit(0)
