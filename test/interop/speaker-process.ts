// Bellhop's speaker as a program of its own, so that the tests can run it in a network namespace and kill it: takes
// SpeakerCommands as JSON lines on standard input and prints SpeakerEvents as JSON lines on standard output. An argument is the
// directory to record the sessions in.

import { createInterface } from 'node:readline'
import type { SpeakerCommand } from '../../src/bgp/speaker/protocol.ts'
import { createWorkerSpeaker } from '../../src/bgp/speaker/speaker.ts'

const [recordDirectory] = process.argv.slice(2)
const speaker = createWorkerSpeaker(recordDirectory === undefined ? {} : { recordDirectory })
speaker.onEvent((event) => console.log(JSON.stringify(event)))

createInterface({ input: process.stdin }).on('line', (line) => {
  // The tests write what their compiler checked; there is nobody else at the other end.
  const command = JSON.parse(line) as SpeakerCommand
  if (command.type === 'stop') void speaker.stop(command.reason).then(() => process.exit(0))
  else speaker.send(command)
})
