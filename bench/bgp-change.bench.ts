// One change in a full table until its UPDATE arrives at a router, in microseconds. Ours begins where the controller hands the
// changed route to the speaker's thread; the other daemons' where another router writes a change that they pass on, which is one
// hop through the kernel more. Run as root: npx node bench/bgp-change.bench.ts. BENCH_SIZES=large takes 100 000 prefixes.

import type { LabProcess } from '../src/lab/netns/process.ts'
import { createArena } from './bgp/arena.ts'
import { receiversOf, type TableSize } from './bgp/plan.ts'
import { availableSenders, ready, type SenderName } from './bgp/senders.ts'
import { figure, percentile, renderTable } from './bgp/statistics.ts'

const changes = Number(process.env['BENCH_CHANGES'] ?? 500)
const size: TableSize = { prefixes: process.env['BENCH_SIZES'] === 'large' ? 100_000 : 10_000, nextHops: 8 }
const wanted = (process.env['BENCH_SENDERS'] ?? 'bellhop,gobgpd,bird,openbgpd').split(',')
const names = await availableSenders(wanted as readonly SenderName[])
/** Changes before those that count: a daemon that has run for a while is compared, not how soon a compiler optimises. */
const warmUps = Number(process.env['BENCH_WARMUPS'] ?? 2000)
/** BIRD and OpenBGPD are at rest then; nobody is measured in the middle of something. */
const pauseMs = 5
const timeoutMs = 10_000

/** Answers as they come, one waiter at a time. */
function linesOf(program: LabProcess): (key: string) => Promise<bigint> {
  const seen = new Map<string, (value: bigint) => void>()
  program.onLine((line) => {
    for (const [key, value] of Object.entries(JSON.parse(line) as Record<string, unknown>)) {
      const waiting = seen.get(key)
      seen.delete(key)
      waiting?.(BigInt(String(value)))
    }
  })
  return (key) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${key} in ${timeoutMs} ms`)), timeoutMs)
      seen.set(key, (value) => {
        clearTimeout(timer)
        resolve(value)
      })
    })
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, pauseMs))

async function measure(name: SenderName): Promise<readonly number[]> {
  await using arena = await createArena(1)
  const { sender, address } = await arena.start(name, size)
  const { receiver } = arena
  await receiver.ask({ do: 'receive', sender: address, receivers: receiversOf(0, 1), ...size })
  await receiver.ask({ do: 'watch' })
  const arrival = linesOf(receiver.program)
  const ours = name === 'bellhop'
  const changer = ours
    ? sender.daemon
    : await ready(receiver.namespace, 'bench/bgp/changer-program.ts', { feeds: address })
  const began = linesOf(changer)
  const samples: number[] = []
  for (let i = 0; i < changes + warmUps; i++) {
    if (i >= warmUps) await pause()
    const [arrived, start] = [arrival('updateAtNs'), began('beganNs')]
    changer.writeLine(ours ? JSON.stringify({ do: 'change', prefix: (i * 7919) % size.prefixes }) : 'next')
    samples.push(Number((await arrived) - (await start)) / 1000)
  }
  return samples.slice(warmUps)
}

const measured: (readonly [SenderName, readonly number[]])[] = []
for (const name of names) measured.push([name, await measure(name)])
const ours = measured.find(([name]) => name === 'bellhop')?.[1] ?? []
if (measured.length > 0) report()

function report(): void {
  console.log(`\n${changes} single changes in a table of ${size.prefixes} prefixes x ${size.nextHops} next hops`)
  console.log(
    renderTable([
      ['sender', 'p50 us', 'to ours', 'p99 us', 'to ours'],
      ...measured.map(([name, samples]) => [
        name,
        ...[0.5, 0.99].flatMap((share) => {
          const us = percentile(samples, share)
          return [figure(us), figure(us / percentile(ours, share))]
        }),
      ]),
    ]),
  )
}
