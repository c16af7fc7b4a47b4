// The thread that owns BGP: commands in, events out, one SpeakerCore between them. A main thread that is stalled by a large list
// or a garbage collection costs no session here.

import { parentPort, workerData } from 'node:worker_threads'
import { systemOnLink } from '../../bfd/on-link.ts'
import { createUdpTransport } from '../../bfd/udp-transport.ts'
import type { Random } from '../../runtime/clock.ts'
import { systemClock } from '../../runtime/system-clock.ts'
import { SpeakerCore } from './core.ts'
import { type PackedCommand, unpackCommand } from './packed-routes.ts'
import type { SpeakerEvent } from './protocol.ts'
import { createRecordFiles } from './record-files.ts'
import type { Recorder } from './recording.ts'
import { createRouteValues } from './route-values.ts'
import { createTcpTransport } from './tcp-transport.ts'

/** What the main thread passes on as `workerData`. */
export interface SpeakerWorkerData {
  readonly hostname?: string
  /** Where to record what the sessions go through; absent = nowhere. */
  readonly recordDirectory?: string
}

const port = parentPort
if (port === null) throw new Error('the speaker worker runs as a worker thread')

// BFD's discriminators must not be guessed (RFC 5880 section 9).
const word = new Uint32Array(1)
const random: Random = () => (crypto.getRandomValues(word)[0] ?? 0) / 2 ** 32

const { hostname, recordDirectory } = workerData as SpeakerWorkerData

const recordFiles = (directory: string): Recorder =>
  createRecordFiles({
    directory,
    failed: (reason) => {
      const fields = { event: 'recording-failed', directory, reason }
      port.postMessage({ type: 'log', level: 'warn', fields } satisfies SpeakerEvent)
    },
  })

const core = new SpeakerCore({
  clock: systemClock,
  random,
  transport: createTcpTransport({ clock: systemClock }),
  bfd: { transport: createUdpTransport({ random }), isOnLink: systemOnLink },
  onEvent: (event: SpeakerEvent) => {
    port.postMessage(event)
    // Nothing else holds the thread then.
    if (event.type === 'stopped') port.close()
  },
  ...(hostname === undefined ? {} : { hostname }),
  ...(recordDirectory === undefined ? {} : { record: recordFiles(recordDirectory) }),
})

// The other end of the port is our own speaker.ts.
const values = createRouteValues()
port.on('message', (command: PackedCommand) => core.handle(unpackCommand(command, values)))
