// The speaker as its owner sees it: in a worker thread of its own, or in the owner's thread for tests and small programs. Both are
// the same core behind the same interface.

import { Worker } from 'node:worker_threads'
import type { Log } from '../../runtime/log.ts'
import { SpeakerCore, type SpeakerCoreOptions } from './core.ts'
import { packCommand } from './packed-routes.ts'
import type { Speaker, SpeakerCommand, SpeakerEvent } from './protocol.ts'
import type { SpeakerWorkerData } from './worker.ts'
import { workerUrl } from './worker-url.ts'

export interface WorkerSpeakerOptions {
  /** Gets the events of type 'log' as lines; they reach the listeners as well. */
  readonly log?: Log
  /** Sent to peers in the fqdn capability. */
  readonly hostname?: string
  /** Where the inputs and outcomes of every session are recorded, in files of bounded size (record-files.ts). */
  readonly recordDirectory?: string
}

/** How long a speaker may take to close its sessions before its thread is ended. */
const stopTimeoutMs = 5000

/** Starts a thread with a speaker in it. Events are delivered from the next turn of the event loop on. */
export function createWorkerSpeaker(options: WorkerSpeakerOptions = {}): Speaker {
  const { log, hostname, recordDirectory } = options
  const data: SpeakerWorkerData = {
    ...(hostname === undefined ? {} : { hostname }),
    ...(recordDirectory === undefined ? {} : { recordDirectory }),
  }
  const worker = new Worker(workerUrl, { workerData: data, name: 'bgp' })
  const listeners = new Set<(event: SpeakerEvent) => void>()
  const failureListeners = new Set<(error: Error) => void>()
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  worker.on('message', (event: SpeakerEvent) => {
    if (event.type === 'log') log?.[event.level](event.fields)
    for (const listener of listeners) listener(event)
  })
  worker.on('error', (error: unknown) => {
    const failure = error instanceof Error ? error : new Error(String(error))
    // Sessions that nobody keeps are worse than none: unheard, it ends the process.
    if (failureListeners.size === 0) throw failure
    for (const listener of failureListeners) listener(failure)
  })
  return {
    send: (command) => worker.postMessage(packCommand(command)),
    onEvent: (listener) => void listeners.add(listener),
    onFailure: (listener) => void failureListeners.add(listener),
    stop: async (reason) => {
      worker.postMessage({ type: 'stop', reason } satisfies SpeakerCommand)
      const timer = setTimeout(() => void worker.terminate(), stopTimeoutMs)
      await ended
      clearTimeout(timer)
    },
  }
}

/** A speaker in this thread, over the transport and the clock of `options`. */
export function createLocalSpeaker(options: Omit<SpeakerCoreOptions, 'onEvent'>): Speaker {
  const listeners = new Set<(event: SpeakerEvent) => void>()
  const emit = (event: SpeakerEvent): void => {
    for (const listener of listeners) listener(event)
  }
  const core = new SpeakerCore({ ...options, onEvent: emit })
  return {
    send: (command) => core.handle(command),
    onEvent: (listener) => void listeners.add(listener),
    // There is no thread to die: an error is thrown where it happens.
    onFailure: () => {},
    stop: (reason) =>
      new Promise((resolve) => {
        listeners.add((event) => {
          if (event.type === 'stopped') resolve()
        })
        core.handle({ type: 'stop', reason })
      }),
  }
}
