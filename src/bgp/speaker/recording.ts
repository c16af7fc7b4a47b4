// What the state machines of a speaker were fed, as serialisable values, and the same course again from them. A recording of
// a bad night can be played back anywhere: no clock, no socket, no secret is in it.

import { initialMachine, leadingSession, type PeerInput, type PeerMachine, peerTransition } from '../fsm/collision.ts'
import type { SessionConfig, StateName } from '../fsm/session.ts'

export type Recorded =
  /** The peer's session parameters from here on; `fresh`: with a state machine that knows nothing of what was before. */
  | { readonly type: 'configured'; readonly peer: string; readonly config: SessionConfig; readonly fresh: boolean }
  | {
      readonly type: 'input'
      readonly peer: string
      /** Monotonic milliseconds, as the state machine was told. */
      readonly atMs: number
      readonly restarting: boolean
      readonly input: PeerInput
    }

export type Recorder = (entry: Recorded) => void

/** The machine for a peer that starts over: sessions get numbers that were not used before. */
export const freshMachine = ({ nextId }: Pick<PeerMachine, 'nextId'>): PeerMachine => ({
  primary: { ...initialMachine.primary, id: nextId },
  nextId: nextId + 1,
})

export interface Replayed {
  readonly peer: string
  readonly atMs: number
  readonly input: PeerInput
  readonly state: StateName
}

/** The states that each input led to, by the transitions of this version of the code. */
export function* replay(entries: Iterable<Recorded>): IterableIterator<Replayed> {
  const peers = new Map<string, { readonly config: SessionConfig; readonly machine: PeerMachine }>()
  for (const entry of entries) {
    const known = peers.get(entry.peer)
    if (entry.type === 'configured') {
      const machine = known === undefined ? initialMachine : entry.fresh ? freshMachine(known.machine) : known.machine
      peers.set(entry.peer, { config: entry.config, machine })
      continue
    }
    if (known === undefined) throw new Error(`the recording has an input of ${entry.peer} before its configuration`)
    const { peer, atMs, restarting, input } = entry
    const [machine] = peerTransition(known.machine, input, { config: known.config, nowMs: atMs, restarting })
    peers.set(peer, { config: known.config, machine })
    yield { peer, atMs, input, state: leadingSession(machine).state.name }
  }
}
