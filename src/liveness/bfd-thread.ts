// BFD as its owner sees it: a thread of its own, told which sessions there are to be, telling what became of them.

import { isDeepStrictEqual } from 'node:util'
import { Worker } from 'node:worker_threads'
import { bfdDiagnostics } from '../bfd/packet.ts'
import type { BfdSessionConfig } from '../bfd/session-config.ts'
import type { Log } from '../runtime/log.ts'
import type { BfdTidings } from './bfd-core.ts'
import type { LivenessCommand, LivenessWorkerData } from './worker.ts'
import { livenessWorkerUrl } from './worker-url.ts'

export interface BfdThread {
  /** The complete list; one that is equal to the last costs nothing. */
  readonly setSessions: (configs: readonly BfdSessionConfig[]) => void
  readonly onTidings: (listener: (tidings: BfdTidings) => void) => void
  /** Rejects when the thread died without being asked; never resolves. */
  readonly died: Promise<never>
  /** Tells every peer that this end is intended. */
  readonly stop: () => Promise<void>
}

export interface BfdThreadOptions {
  readonly ports: LivenessWorkerData['ports']
  readonly log: Log
}

/** How long the thread may take to say goodbye. */
const stopTimeoutMs = 1000

/** Starts the thread. */
export function createBfdThread({ ports, log }: BfdThreadOptions): BfdThread {
  const workerData: LivenessWorkerData = { ports }
  const worker = new Worker(livenessWorkerUrl, { workerData, name: 'liveness' })
  const listeners: ((tidings: BfdTidings) => void)[] = []
  let told: readonly BfdSessionConfig[] = []
  const post = (command: LivenessCommand): void => worker.postMessage(command)
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  const died = new Promise<never>((_resolve, reject) => worker.once('error', reject))
  // Who does not wait for it is told by its end.
  died.catch(() => {})
  worker.on('message', (tidings: BfdTidings) => {
    for (const { key, from, to, diagnostic, remoteState } of tidings.changes)
      log.debug({
        event: 'liveness-session',
        with: key,
        ...{ from, to, remoteState },
        because: bfdDiagnostics[diagnostic] ?? `diagnostic ${diagnostic}`,
      })
    for (const { key, reason } of tidings.errors)
      if (reason !== undefined) log.warn({ event: 'liveness-session-failing', with: key, reason })
    for (const listener of listeners) listener(tidings)
  })
  return {
    died,
    setSessions: (configs) => {
      if (isDeepStrictEqual(configs, told)) return
      told = configs
      post({ type: 'sessions', configs })
    },
    onTidings: (listener) => void listeners.push(listener),
    stop: async () => {
      post({ type: 'stop' })
      const timer = setTimeout(() => void worker.terminate(), stopTimeoutMs)
      await ended
      clearTimeout(timer)
    },
  }
}
