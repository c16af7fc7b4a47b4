// The ground on which senders are compared: a segment with one receiver on it and a namespace for every daemon, and what one run
// of one sender took. All is removed with the network.

import { mkdirSync } from 'node:fs'
import path from 'node:path'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { type Bridge, createNetwork, type Network } from '../../src/lab/netns/network.ts'
import { nodeProgram } from '../../src/lab/netns/node-program.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { changerAddress, receiverAddress, segmentBits, senderAddress, type TableSize } from './plan.ts'
import { type Usage, usageOf } from './process-usage.ts'
import { type Sender, type SenderName, startSender } from './senders.ts'
import type { Received } from './sink-program.ts'

export interface Run extends Received {
  readonly cpuSeconds: number
  readonly after: Usage
}

export interface Arena extends AsyncDisposable {
  /** Starts a daemon that knows all receivers; it has the table when this resolves. */
  readonly start: (name: SenderName, size: TableSize) => Promise<Contender>
  readonly receiver: Receiver
}

export interface Contender {
  readonly sender: Sender
  readonly address: string
  readonly size: TableSize
}

export interface Receiver {
  /** One run: sessions from these addresses, the whole table on each, sessions closed. */
  readonly run: (contender: Contender, receivers: readonly string[]) => Promise<Run>
  readonly ask: (command: object) => Promise<unknown>
  readonly program: LabProcess
  readonly namespace: Namespace
}

const runTimeoutMs = 600_000

/** A segment with `receivers` addresses at the receiver. Needs root. */
export async function createArena(receivers: number): Promise<Arena> {
  const network = await createNetwork({ prefix: 'bgpbench' })
  try {
    const bridge = await network.addBridge('segment')
    const addresses = Array.from({ length: receivers }, (_, i) => receiverAddress(i))
    const receiver = await startReceiver(network, bridge, addresses)
    let started = 0
    return {
      receiver,
      start: async (name, size) => {
        const index = started++
        const namespace = await network.addNamespace(`${name}${index}`)
        const address = senderAddress(index)
        await network.connect({ at: bridge }, { at: namespace, addresses: [`${address}/${segmentBits}`] })
        const directory = path.join(network.directory, `${name}${index}`)
        mkdirSync(directory)
        const sender = await startSender[name]({ ...size, namespace, address, receivers: addresses, directory })
        return { sender, address, size }
      },
      [Symbol.asyncDispose]: network.destroy,
    }
  } catch (error) {
    await network.destroy()
    throw error
  }
}

async function startReceiver(network: Network, bridge: Bridge, addresses: readonly string[]): Promise<Receiver> {
  const namespace: Namespace = await network.addNamespace('receiver')
  await network.connect(
    { at: bridge },
    { at: namespace, addresses: [...addresses, changerAddress].map((address) => `${address}/${segmentBits}` as const) },
  )
  const program = namespace.spawn(nodeProgram('bench/bgp/sink-program.ts'))
  let answer: string | undefined
  program.onLine((line) => {
    answer ??= line
  })
  const ask = async (command: object): Promise<unknown> => {
    answer = undefined
    program.writeLine(JSON.stringify(command))
    return JSON.parse(await program.waitUntil(() => answer, { what: JSON.stringify(command), timeoutMs: runTimeoutMs }))
  }
  const run: Receiver['run'] = async ({ sender, address, size }, receivers) => {
    const before = usageOf(sender.daemon.pid)
    const received = (await ask({ do: 'receive', sender: address, receivers, ...size })) as Received
    const after = usageOf(sender.daemon.pid)
    await ask({ do: 'close' })
    return { ...received, cpuSeconds: after.cpuSeconds - before.cpuSeconds, after }
  }
  return { run, ask, program, namespace }
}
