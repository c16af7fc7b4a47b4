// BFD without a thread of its own, for an agent: a handful of sessions, from which it draws no conclusions, in a process whose
// longest stall with ten thousand VIPs is a tenth of the detection time (docs/benchmarks.md). A thread is 16 MB on every node of
// a cluster. Controllers, with a session for each node and much larger stalls, have theirs.

import { createUdpTransport } from '../bfd/udp-transport.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { type BfdTidings, createBfdCore } from './bfd-core.ts'
import type { BfdThread } from './bfd-thread.ts'
import { logTidings } from './tidings-log.ts'
import { unguessable as random } from './unguessable.ts'

export interface BfdHereOptions {
  readonly ports: { readonly local: number; readonly remote: number }
  readonly clock: Clock
  readonly log: Log
}

/** Begins to speak when it is given sessions. */
export function createBfdHere({ ports, clock, log }: BfdHereOptions): Omit<BfdThread, 'died'> {
  const listeners: ((tidings: BfdTidings) => void)[] = []
  const core = createBfdCore({
    ...{ clock, random, transport: createUdpTransport({ random, ports }) },
    onTidings: (tidings) => {
      logTidings(log, tidings)
      for (const listener of listeners) listener(tidings)
    },
  })
  return {
    setSessions: core.setSessions,
    onTidings: (listener) => void listeners.push(listener),
    observe: () => Promise.resolve(core.observe()),
    stop: async () => core.stop(),
  }
}
