// One agent a node: two of them would take each other's rules for interference and undo them for ever. The mark is an abstract Unix
// socket, which belongs to the node's network namespace as the rules do, whatever the agents' Pods and clusters are called, and which
// the kernel takes back when its holder dies.

import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Clock } from '../runtime/clock.ts'
import { pause } from '../runtime/pause.ts'

export interface ClaimDeps {
  readonly clock: Clock
  /** Ends the waiting. */
  readonly signal: AbortSignal
  /** Called once, when another agent is here. */
  readonly onTaken: () => void
}

export interface Claim {
  /** Agents that wait for this one to end. */
  readonly waiting: () => number
  /** One came, or gave up. */
  readonly onChange: (listener: () => void) => void
  readonly release: () => void
}

const retryMs = 100

/** Waits until this process is the only agent of the node. Undefined when the signal fired before. */
export async function claimNode(name: string, { clock, signal, onTaken }: ClaimDeps): Promise<Claim | undefined> {
  for (let told = false; !signal.aborted; ) {
    const claim = await listen(`\0${name}`)
    if (claim !== undefined) return claim
    if (!told) onTaken()
    told = true
    await held(`\0${name}`, signal)
    await pause(clock, retryMs, signal)
  }
  return undefined
}

function listen(path: string): Promise<Claim | undefined> {
  const rivals = new Set<Socket>()
  const listeners: (() => void)[] = []
  const tell = (): void => {
    for (const listener of listeners) listener()
  }
  // Whoever connects learns nothing but the end.
  const server: Server = createServer((socket) => {
    rivals.add(socket)
    socket.unref()
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      rivals.delete(socket)
      tell()
    })
    tell()
  })
  const claim: Claim = {
    waiting: () => rivals.size,
    onChange: (listener) => void listeners.push(listener),
    release: () => {
      listeners.length = 0
      server.close()
      for (const socket of rivals) socket.destroy()
    },
  }
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen({ path }, () => {
      server.unref()
      resolve(claim)
    })
  })
}

// By its connection the other agent knows of this one, and this one of the other's end.
const held = (path: string, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const socket = connect({ path })
    const end = (): void => void socket.destroy()
    socket.on('error', end)
    socket.on('close', () => {
      signal.removeEventListener('abort', end)
      resolve()
    })
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
  })
