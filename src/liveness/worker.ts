// The thread that keeps the liveness sessions: a main thread that is stalled by a large list or a garbage collection must neither
// look dead to others nor take others for dead.

import { parentPort, workerData } from 'node:worker_threads'
import type { BfdSessionConfig } from '../bfd/session-config.ts'
import { createUdpTransport } from '../bfd/udp-transport.ts'
import { systemClock } from '../runtime/system-clock.ts'
import { type BfdObservation, type BfdTidings, createBfdCore } from './bfd-core.ts'
import { unguessable as random } from './unguessable.ts'

/** What the main thread passes on as `workerData`. */
export interface LivenessWorkerData {
  readonly ports: { readonly local: number; readonly remote: number }
}

export type LivenessCommand =
  | { readonly type: 'sessions'; readonly configs: readonly BfdSessionConfig[] }
  | { readonly type: 'observe' }
  | { readonly type: 'stop' }

export type LivenessMessage =
  | { readonly type: 'tidings'; readonly tidings: BfdTidings }
  | { readonly type: 'observation'; readonly observation: BfdObservation }

const port = parentPort
if (port === null) throw new Error('the liveness worker runs as a worker thread')

const say = (message: LivenessMessage): void => port.postMessage(message)

const { ports } = workerData as LivenessWorkerData
const core = createBfdCore({
  clock: systemClock,
  random,
  transport: createUdpTransport({ random, ports }),
  onTidings: (tidings) => say({ type: 'tidings', tidings }),
})

// The other end of the port is our own bfd-thread.ts.
port.on('message', (command: LivenessCommand) => {
  if (command.type === 'sessions') core.setSessions(command.configs)
  else if (command.type === 'observe') say({ type: 'observation', observation: core.observe() })
  else {
    core.stop()
    // Nothing else holds the thread then.
    port.close()
  }
})
