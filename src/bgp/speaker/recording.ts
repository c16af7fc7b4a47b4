// What the state machines of a speaker were fed and what they answered, as serialisable values, and the same course again from
// them. A recording of a bad night can be played back anywhere: no clock, no socket, no secret is in it.

import {
  initialMachine,
  leadingSession,
  type PeerAction,
  type PeerInput,
  type PeerMachine,
  peerTransition,
} from '../fsm/collision.ts'
import type { SessionAction, SessionConfig, StateName } from '../fsm/session.ts'
import { hexOf } from '../packet/bytes.ts'
import { encodeMessage } from '../packet/encode.ts'
import { openingCodec } from '../packet/message.ts'

export type Recorded =
  /** The peer's session parameters from here on; with `machine`, its state machine is this one from here on. */
  | {
      readonly type: 'configured'
      readonly peer: string
      readonly config: SessionConfig
      readonly machine?: PeerMachine
    }
  | {
      readonly type: 'input'
      readonly peer: string
      /** Monotonic milliseconds, as the state machine was told. */
      readonly atMs: number
      readonly restarting: boolean
      readonly input: PeerInput
    }
  /** What the last input of the peer led to. Apart from it, so that an input that kills the process is on record. */
  | ({ readonly type: 'outcome'; readonly peer: string } & Outcome)

export interface Outcome {
  readonly state: StateName
  /** As `renderAction` writes them, with every octet of every message. */
  readonly actions: readonly string[]
}

/** Takes an entry; `machine` is the peer's state machine before it, so that a recording can begin at any entry. */
export type Recorder = (entry: Recorded, machine: PeerMachine) => void

/** The machine for a peer that starts over: sessions get numbers that were not used before. */
export const freshMachine = ({ nextId }: Pick<PeerMachine, 'nextId'>): PeerMachine => ({
  primary: { ...initialMachine.primary, id: nextId },
  nextId: nextId + 1,
})

/** The outcome of a transition, for the record. */
export const outcomeOf = (machine: PeerMachine, actions: readonly PeerAction[]): Outcome => ({
  state: leadingSession(machine).state.name,
  actions: actions.map(renderAction),
})

// Longer than any message that the state machine sends.
const recordingCodec = { ...openingCodec, messageBytesMaxSend: 65535 }

function renderAction(action: PeerAction): string {
  switch (action.type) {
    case 'adopt':
      return `adopt ${action.session}`
    case 'refuse':
      return `refuse: ${action.reason}`
    case 'session':
      return `${action.session} ${renderSessionAction(action.action)}`
  }
}

function renderSessionAction(action: SessionAction): string {
  switch (action.type) {
    case 'send':
      return `send ${action.message.type} ${hexOf(encodeMessage(action.message, recordingCodec))}`
    case 'start-timer':
      return `start-timer ${action.timer} ${action.seconds}`
    case 'stop-timer':
      return `stop-timer ${action.timer}`
    case 'session-up':
      return `session-up ${JSON.stringify(toPlain(action.negotiated))}`
    case 'session-down':
    case 'attempt-failed':
      return `${action.type} ${action.cause.event}: ${action.cause.reason}`
    case 'connect':
    case 'disconnect':
    case 'receive-update':
    case 'receive-route-refresh':
      return action.type
  }
}

// ---------------------------------------------------------------------------------------------------------------- replay

export interface Replayed extends Outcome {
  readonly peer: string
  readonly atMs: number
  readonly input: PeerInput
  readonly before: StateName
  /** What the recording says instead. Absent: the same, or nothing was recorded. */
  readonly recorded?: Outcome
}

/** The states and actions that each input led to, by the transitions of this version of the code, held against the recorded ones. */
export function* replay(entries: Iterable<Recorded>): IterableIterator<Replayed> {
  const peers = new Map<string, { readonly config: SessionConfig; readonly machine: PeerMachine }>()
  const pending = new Map<string, Replayed>()
  for (const entry of entries) {
    const known = peers.get(entry.peer)
    if (entry.type === 'configured') {
      const machine = entry.machine ?? known?.machine
      if (machine === undefined) throw new Error(`the recording has no beginning for ${entry.peer}`)
      peers.set(entry.peer, { config: entry.config, machine })
    } else if (entry.type === 'input') {
      if (known === undefined) throw new Error(`the recording has an input of ${entry.peer} before its configuration`)
      const { peer, atMs, restarting, input } = entry
      const [machine, actions] = peerTransition(known.machine, input, { config: known.config, nowMs: atMs, restarting })
      peers.set(peer, { config: known.config, machine })
      const before = leadingSession(known.machine).state.name
      pending.set(peer, { peer, atMs, input, before, ...outcomeOf(machine, actions) })
    } else {
      const replayed = pending.get(entry.peer)
      pending.delete(entry.peer)
      if (replayed === undefined) throw new Error(`the recording has an outcome of ${entry.peer} without an input`)
      const recorded: Outcome = { state: entry.state, actions: entry.actions }
      const same = recorded.state === replayed.state && recorded.actions.join('\n') === replayed.actions.join('\n')
      yield same ? replayed : { ...replayed, recorded }
    }
  }
  // The input that was the last thing the process did.
  yield* pending.values()
}

// ----------------------------------------------------------------------------------------------------------------- lines

/** One entry as one line of JSON, without its end. Octets, sets and maps are objects with the one key $bytes, $set or $map. */
export const renderRecorded = (entry: Recorded): string => JSON.stringify(toPlain(entry))

/** A line that `renderRecorded` wrote. Throws on one that it did not. */
export function parseRecorded(line: string): Recorded {
  const value = fromPlain(JSON.parse(line))
  if (!isRecord(value) || typeof value['peer'] !== 'string' || !entryTypes.has(value['type']))
    throw new Error('not an entry of a recording')
  // The rest is taken as it was written: a recording is read by the program that wrote it.
  return value as unknown as Recorded
}

const entryTypes: ReadonlySet<unknown> = new Set<Recorded['type']>(['configured', 'input', 'outcome'])

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function toPlain(value: unknown): unknown {
  if (value instanceof Uint8Array) return { $bytes: hexOf(value) }
  if (value instanceof Set) return { $set: [...value].map(toPlain) }
  if (value instanceof Map) return { $map: [...value].map(toPlain) }
  if (Array.isArray(value)) return value.map(toPlain)
  if (!isRecord(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toPlain(inner)]))
}

function fromPlain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromPlain)
  if (!isRecord(value)) return value
  const { $bytes, $set, $map } = value
  if (typeof $bytes === 'string') return bytesOf($bytes)
  if (Array.isArray($set)) return new Set($set.map(fromPlain))
  if (Array.isArray($map)) return new Map($map.map((entry) => fromPlain(entry) as readonly [unknown, unknown]))
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fromPlain(inner)]))
}

const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (octet) => Number.parseInt(octet, 16))
