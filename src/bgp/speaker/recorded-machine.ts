// A peer's state machine as it stands, with each step on record if somebody records. What is written down is enough to take the same steps
// again (recording.ts): every input, and the configuration whenever it is another one.

import { initialMachine, type PeerAction, type PeerInput, type PeerMachine, peerTransition } from '../fsm/collision.ts'
import type { SessionConfig, SessionContext } from '../fsm/session.ts'
import { freshMachine, outcomeOf, type Recorder } from './recording.ts'
import { equal } from './session-config.ts'

export interface RecordedMachine {
  readonly current: PeerMachine
  readonly config: SessionConfig
  /** Takes a step; what has to be done, in this order. */
  readonly step: (input: PeerInput, context: Omit<SessionContext, 'config'>) => readonly PeerAction[]
  /** The parameters from here on; with `fresh` the machine is a new one. */
  readonly configure: (config: SessionConfig, options: { readonly fresh: boolean }) => void
}

export function createRecordedMachine(first: SessionConfig, record: Recorder | undefined): RecordedMachine {
  let config = first
  let machine = initialMachine

  const recordConfig = ({ fresh }: { readonly fresh: boolean }): void => {
    const entry = { type: 'configured', peer: config.name, config } as const
    record?.(fresh ? { ...entry, machine } : entry, machine)
  }
  recordConfig({ fresh: true })

  return {
    get current() {
      return machine
    },
    get config() {
      return config
    },
    step: (input, { nowMs, restarting }) => {
      const peer = config.name
      record?.({ type: 'input', peer, atMs: nowMs, restarting, input }, machine)
      const [next, actions] = peerTransition(machine, input, { config, nowMs, restarting })
      machine = next
      record?.({ type: 'outcome', peer, ...outcomeOf(machine, actions) }, machine)
      return actions
    },
    configure: (next, options) => {
      const isSame = equal(next, config)
      config = next
      if (options.fresh) machine = freshMachine(machine)
      if (options.fresh || !isSame) recordConfig(options)
    },
  }
}
