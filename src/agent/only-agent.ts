// One agent a node: two of them would take each other's rules for interference and undo them for ever. The mark is an abstract Unix
// socket, which belongs to the node's network namespace as the rules do, whatever the agents' Pods and clusters are called, and which
// the kernel takes back when its holder dies.

import { createServer, type Server } from 'node:net'
import type { Clock } from '../runtime/clock.ts'

export interface ClaimDeps {
  readonly clock: Clock
  /** Ends the waiting. */
  readonly signal: AbortSignal
  /** Called once, when another agent is here. */
  readonly onTaken: () => void
}

export interface Claim {
  readonly release: () => void
}

const retryMs = 1000

/** Waits until this process is the only agent of the node. Undefined when the signal fired before. */
export async function claimNode(name: string, { clock, signal, onTaken }: ClaimDeps): Promise<Claim | undefined> {
  for (let told = false; !signal.aborted; ) {
    const server = await listen(`\0${name}`)
    if (server !== undefined) return { release: () => void server.close() }
    if (!told) onTaken()
    told = true
    await pause(retryMs, clock, signal)
  }
  return undefined
}

function listen(path: string): Promise<Server | undefined> {
  // Whoever connects learns nothing.
  const server = createServer((socket) => socket.destroy())
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen({ path }, () => resolve(server.unref()))
  })
}

const pause = (ms: number, clock: Clock, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = clock.setTimer(ms, done)
    signal.addEventListener('abort', done)
  })
