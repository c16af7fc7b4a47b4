// The thread that owns BGP: commands in, events out, one SpeakerCore between them. A main thread that is stalled by a large list
// or a garbage collection costs no session here.

import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../runtime/system-clock.ts'
import { SpeakerCore } from './core.ts'
import type { SpeakerCommand, SpeakerEvent } from './protocol.ts'
import { createTcpTransport } from './tcp-transport.ts'

/** What the main thread passes on as `workerData`. */
export interface SpeakerWorkerData {
  readonly hostname?: string
}

const port = parentPort
if (port === null) throw new Error('the speaker worker runs as a worker thread')

const { hostname } = workerData as SpeakerWorkerData
const core = new SpeakerCore({
  clock: systemClock,
  random: Math.random,
  transport: createTcpTransport({ clock: systemClock }),
  onEvent: (event: SpeakerEvent) => {
    port.postMessage(event)
    // Nothing else holds the thread then.
    if (event.type === 'stopped') port.close()
  },
  ...(hostname === undefined ? {} : { hostname }),
})

// The other end of the port is our own speaker.ts.
port.on('message', (command: SpeakerCommand) => core.handle(command))
