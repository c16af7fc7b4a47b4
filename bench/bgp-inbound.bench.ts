// A router that sends its full table to a speaker that wants none of it: how long until all of it was read, and what it leaves in
// memory. Run as root: npx node bench/bgp-inbound.bench.ts.

import { createArena } from './bgp/arena.ts'
import { receiverAddress, receiverAsn } from './bgp/plan.ts'
import { usageOf } from './bgp/process-usage.ts'
import type { ReplayOptions } from './bgp/replay-program.ts'
import { availableSenders, ready } from './bgp/senders.ts'
import { figure, median, renderTable } from './bgp/statistics.ts'

const runs = Number(process.env['BENCH_RUNS'] ?? 5)
const routes = Number(process.env['BENCH_ROUTES'] ?? 1_000_000)
const timeoutMs = 120_000
const pauseMs = 1000

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, pauseMs))

interface Measured {
  readonly ms: number
  readonly cpuSeconds: number
  readonly beforeMb: number
  readonly afterMb: number
}

/** A speaker that has just started, with a small table of its own. */
async function measure(): Promise<Measured> {
  await using arena = await createArena(1)
  const { sender, address } = await arena.start('bellhop', { prefixes: 1000, nextHops: 4 })
  const settings: ReplayOptions = {
    ...{ prefixes: routes, nextHops: 1, asn: receiverAsn, address: receiverAddress(0) },
    ...{ feeds: address, timed: true },
  }
  const router = await ready(arena.receiver.namespace, 'bench/bgp/replay-program.ts', settings)
  let ms: number | undefined
  router.onLine((line) => {
    ms = (JSON.parse(line) as { readonly ms: number }).ms
  })
  // The speaker's own routes have been written, and there is peace.
  await pause()
  const before = usageOf(sender.daemon.pid)
  router.writeLine('begin')
  const took = await router.waitUntil(() => ms, { what: 'the speaker has read all routes', timeoutMs })
  const after = usageOf(sender.daemon.pid)
  let counted = 0
  sender.daemon.onLine((answer) => {
    counted = Number((JSON.parse(answer) as { readonly receivedPrefixes?: number }).receivedPrefixes ?? 0)
  })
  const all = (): boolean => {
    sender.daemon.writeLine(JSON.stringify({ do: 'status' }))
    return counted === routes
  }
  await router.waitUntil(all, { what: 'the speaker has counted all routes', timeoutMs })
  return {
    ms: took,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    beforeMb: before.residentMb,
    afterMb: usageOf(sender.daemon.pid).residentMb,
  }
}

const possible = (await availableSenders(['bellhop'])).length > 0
const all: Measured[] = []
for (let run = 0; possible && run < runs; run++) all.push(await measure())
const row = (what: string, of: (measured: Measured) => number): readonly string[] => {
  const values = all.map(of)
  return [what, figure(median(values)), `${figure(Math.min(...values))}-${figure(Math.max(...values))}`]
}
if (possible) report()

function report(): void {
  console.log(`\n${routes} routes received, ${runs} speakers one after the other`)
  console.log(
    renderTable([
      ['what', 'median', 'range'],
      row('ms until all were read', ({ ms }) => ms),
      row('CPU seconds', ({ cpuSeconds }) => cpuSeconds),
      row('resident MB with the session up', ({ beforeMb }) => beforeMb),
      row('resident MB with all received', ({ afterMb }) => afterMb),
      row('MB more', ({ beforeMb, afterMb }) => afterMb - beforeMb),
    ]),
  )
}
