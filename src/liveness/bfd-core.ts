// The BFD of one program without a thread around it: sessions in, batches of changes out. What falls in one turn is told at once, so
// that a plan is made of all of it. The thread runs one of these over UDP, tests run many over a network in memory.

import { type BfdCounters, createBfdEngine } from '../bfd/engine.ts'
import type { BfdEvent, BfdSessionConfig, BfdStatus } from '../bfd/session-config.ts'
import type { BfdTransport } from '../bfd/transport.ts'
import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { LivenessEvent } from './liveness.ts'
import type { SessionChange } from './session-change.ts'
import { livenessDetectionMs } from './watched-sessions.ts'

export interface BfdTidings {
  readonly changes: readonly SessionChange[]
  /** Looks at all sessions at once that followed the changes. */
  readonly looks: readonly Extract<LivenessEvent, { readonly type: 'looked' }>[]
  /** Sessions that can not send or not hear, in an operator's words; without `reason` they can again. */
  readonly errors: readonly Extract<BfdEvent, { readonly type: 'error' }>[]
}

/** What the sessions are at one moment. */
export interface BfdObservation {
  readonly sessions: ReadonlyMap<string, BfdStatus>
  readonly counters: BfdCounters
}

export interface BfdCore {
  readonly observe: () => BfdObservation
  /** The complete list. */
  readonly setSessions: (configs: readonly BfdSessionConfig[]) => void
  /** Tells every peer that this end is intended. */
  readonly stop: () => void
}

export interface BfdCoreOptions {
  readonly clock: Clock
  readonly random: Random
  readonly transport: BfdTransport
  readonly onTidings: (tidings: BfdTidings) => void
}

/** From a silence that others share, to the look at what became of them. */
const lookAfterMs = livenessDetectionMs / 2 + 50

export function createBfdCore({ clock, random, transport, onTidings }: BfdCoreOptions): BfdCore {
  let keys: readonly string[] = []
  let changes: SessionChange[] = []
  let looks: BfdTidings['looks'][number][] = []
  let errors: Extract<BfdEvent, { type: 'error' }>[] = []
  let cancelLook: CancelTimer | undefined
  let isTelling = false

  const tell = (): void => {
    isTelling = false
    const tidings = { changes, looks, errors }
    changes = []
    looks = []
    errors = []
    onTidings(tidings)
  }
  const alsoSilent = (but: string): number =>
    keys.filter((key) => {
      const status = key === but ? undefined : engine.status(key)
      return status?.state === 'Up' && status.silentMs > livenessDetectionMs / 2
    }).length

  const soon = (): void => {
    if (!isTelling) clock.setTimer(0, tell)
    isTelling = true
  }
  // Those that were silent for half a detection time have fallen by then, or were heard.
  const lookLater = (): void => {
    cancelLook ??= clock.setTimer(lookAfterMs, () => {
      cancelLook = undefined
      const silent = alsoSilent('')
      looks.push({ type: 'looked', atMs: clock.monotonicMs(), alsoSilent: silent })
      if (silent > 0) lookLater()
      soon()
    })
  }

  const engine = createBfdEngine({
    clock,
    random,
    transport,
    listening: 'at-all',
    onEvent: (event) => {
      if (event.type === 'error') errors.push(event)
      else if (event.type === 'state') {
        const { type: _, ...change } = event
        const counted = event.from === 'Up' ? alsoSilent(event.key) : 0
        changes.push({ ...change, atMs: clock.monotonicMs(), alsoSilent: counted })
        if (counted > 0) lookLater()
      }
      soon()
    },
  })
  return {
    observe: () => ({
      sessions: new Map(
        keys.flatMap((key) => {
          const status = engine.status(key)
          return status === undefined ? [] : [[key, status] as const]
        }),
      ),
      counters: engine.counters(),
    }),
    setSessions: (configs) => {
      keys = configs.map(({ key }) => key)
      engine.setSessions(configs)
    },
    stop: () => {
      cancelLook?.()
      engine.stop()
    },
  }
}
