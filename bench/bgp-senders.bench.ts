// From "the session is up" to the last of N x M paths at a neutral receiver, our speaker beside other daemons in one run: one
// receiver, then sixteen at once. Runs take turns between the daemons, so that what else the machine does meets all alike.
// Run as root: npx node bench/bgp-senders.bench.ts. BENCH_SIZES=large adds the tables of 100 000 prefixes; BENCH_SIZE=1000x4,
// BENCH_PEERS, BENCH_SENDERS and BENCH_RUNS choose one size, how many receivers, who, and how often.

import { createArena, type Run } from './bgp/arena.ts'
import { packedBytes, receiversOf, type TableSize } from './bgp/plan.ts'
import { availableSenders, type SenderName } from './bgp/senders.ts'
import { figure, median, renderTable } from './bgp/statistics.ts'

const runs = Number(process.env['BENCH_RUNS'] ?? 5)
const peersOf = (process.env['BENCH_PEERS'] ?? '1,16').split(',').map(Number)
const wanted = (process.env['BENCH_SENDERS'] ?? 'bellhop,gobgpd,bird,openbgpd,exabgp,bytes').split(',')
const names = await availableSenders(wanted as readonly SenderName[])
const small: readonly TableSize[] = [
  { prefixes: 1000, nextHops: 4 },
  { prefixes: 10_000, nextHops: 8 },
]
const large: readonly TableSize[] = [
  { prefixes: 100_000, nextHops: 1 },
  { prefixes: 100_000, nextHops: 8 },
]
const only = process.env['BENCH_SIZE']?.split('x').map(Number)
const sizes = only
  ? [{ prefixes: only[0] ?? 0, nextHops: only[1] ?? 0 }]
  : [...small, ...(process.env['BENCH_SIZES'] === 'large' ? large : [])]

// ExaBGP keeps every route as an object of Python for every neighbour, those of later runs included.
const exabgpPathsMax = 64_000
const canTake = (name: SenderName, { prefixes, nextHops }: TableSize, peers: number): boolean =>
  name !== 'exabgp' || prefixes * nextHops * peers <= exabgpPathsMax

interface Series {
  readonly name: SenderName
  readonly runs: Run[]
}

async function measure(size: TableSize, peers: number): Promise<readonly Series[]> {
  // One run more than is counted: the first one warms up.
  await using arena = await createArena(peers * (runs + 1))
  const contenders = []
  for (const name of names.filter((each) => canTake(each, size, peers))) {
    const contender = await arena.start(name, size)
    contenders.push({ contender, series: { name, runs: [] as Run[] } })
  }
  for (let run = 0; run <= runs; run++)
    for (const { contender, series } of contenders)
      series.runs.push(await arena.receiver.run(contender, receiversOf(run * peers, peers)))
  return contenders.map(({ series }) => series)
}

function report(size: TableSize, peers: number, all: readonly Series[]): void {
  const least = packedBytes(size)
  const paths = size.prefixes * size.nextHops
  const warm = (of: (run: Run) => number, series: Series): number => median(series.runs.slice(1).map(of))
  const ours = all.find(({ name }) => name === 'bellhop')
  console.log(`\n${size.prefixes} prefixes x ${size.nextHops} next hops to ${peers} ${peers === 1 ? 'peer' : 'peers'}`)
  const rows = all.map((series) => {
    const ms = warm((run) => run.ms, series)
    const octets = warm((run) => run.bytes, series) / paths / peers
    return [
      series.name,
      figure(ms),
      figure(ms / (ours ? warm((run) => run.ms, ours) : Number.NaN)),
      figure(series.runs[0]?.ms ?? Number.NaN),
      `${figure(Math.min(...series.runs.map((run) => run.ms)))}-${figure(Math.max(...series.runs.slice(1).map((run) => run.ms)))}`,
      figure(warm((run) => run.cpuSeconds, series)),
      octets.toFixed(2),
      figure((octets * paths) / least),
      figure(warm((run) => run.after.residentMb, series)),
      figure(warm((run) => run.after.anonymousMb, series)),
      figure(warm((run) => run.after.residentPeakMb, series)),
      figure(warm((run) => run.superfluous, series)),
    ]
  })
  const head = [
    'sender',
    'ms',
    'to ours',
    'first ms',
    'range ms',
    'CPU s',
    'octets/path',
    'to packed',
    'MB',
    'anonymous',
    'peak MB',
    'superfluous',
  ]
  console.log(renderTable([head, ...rows]))
}

for (const size of names.length > 0 ? sizes : [])
  for (const peers of peersOf) report(size, peers, await measure(size, peers))
