// BFD as its owner sees it: a thread of its own, told which sessions there are to be, telling what became of them.

import { isDeepStrictEqual } from 'node:util'
import { Worker } from 'node:worker_threads'
import type { BfdSessionConfig } from '../bfd/session-config.ts'
import type { Log } from '../runtime/log.ts'
import type { BfdObservation, BfdTidings } from './bfd-core.ts'
import { logTidings } from './tidings-log.ts'
import type { LivenessCommand, LivenessMessage, LivenessWorkerData } from './worker.ts'
import { livenessWorkerUrl } from './worker-url.ts'

export interface BfdThread {
  /** The complete list; one that is equal to the last costs nothing. */
  readonly setSessions: (configs: readonly BfdSessionConfig[]) => void
  readonly onTidings: (listener: (tidings: BfdTidings) => void) => void
  /** What the sessions are now; the last answer, or nothing, when the thread is too busy to say. */
  readonly observe: () => Promise<BfdObservation | undefined>
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
/** How long whoever asks for metrics waits for it. */
const observeTimeoutMs = 1000

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
  let observation: BfdObservation | undefined
  let asking: Promise<BfdObservation | undefined> | undefined
  let answered = (): void => {}
  const ask = async (): Promise<BfdObservation | undefined> => {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, observeTimeoutMs)
      answered = () => {
        clearTimeout(timer)
        resolve()
      }
      post({ type: 'observe' })
    })
    asking = undefined
    return observation
  }
  worker.on('message', (message: LivenessMessage) => {
    if (message.type === 'observation') {
      observation = message.observation
      answered()
      return
    }
    const { tidings } = message
    logTidings(log, tidings)
    for (const listener of listeners) listener(tidings)
  })
  return {
    died,
    observe: () => {
      asking ??= ask()
      return asking
    },
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
