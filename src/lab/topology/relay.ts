// The two halves of the way from the nodes to the API server: a socket in the file system in the lab's process, and a small
// program in the management namespace that connects to it.

import { rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import type { Ip } from '../../net/ip.ts'
import type { Namespace } from '../netns/namespace.ts'
import { nodeProgram } from '../netns/node-program.ts'

/** Joins two connections until both are done; an error at one end ends the other. */
export function pipeBothWays(a: Socket, b: Socket): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.setNoDelay(true)
    from.pipe(to)
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroy())
  }
}

export interface RelayOptions {
  /** Where it is listened, and the address there. */
  readonly namespace: Namespace
  readonly address: Ip
  readonly port: number
  /** A path for the socket between the halves; at most 100 characters. */
  readonly socketPath: string
  /** Where the connections go, as this process reaches it. */
  readonly target: { readonly host: string; readonly port: number }
}

export interface Relay {
  readonly close: () => Promise<void>
}

/** Starts both halves; resolves when connections are accepted in the namespace. */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  const open = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (outside) => {
    const target = connect({ ...options.target, allowHalfOpen: true })
    for (const socket of [outside, target]) {
      open.add(socket)
      socket.on('close', () => open.delete(socket))
    }
    pipeBothWays(outside, target)
  })
  await rm(options.socketPath, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.socketPath, resolve)
  })
  const program = options.namespace.spawn(
    nodeProgram('src/lab/topology/relay-program.ts', [options.address, String(options.port), options.socketPath]),
  )
  await program.waitUntil(() => program.output().includes('listening'), { what: 'the relay to the API server' })
  return {
    close: async () => {
      await program.stop()
      for (const socket of open) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
