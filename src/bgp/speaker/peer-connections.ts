// The connections of a peer: the hands of the one or two sessions that its state machine has, and when the last of what was closed has
// been delivered.

import type { PeerMachine, SessionId } from '../fsm/collision.ts'
import type { SessionAction } from '../fsm/session.ts'
import { sessionOf } from './peer-facts.ts'
import type { Connected, IoActionType, SessionIo } from './session-io.ts'
import type { Connection } from './transport.ts'

export interface PeerConnections {
  /** Does what the machine says. */
  readonly perform: (id: SessionId, action: Extract<SessionAction, { readonly type: IoActionType }>) => void
  /** Takes a connection that the peer opened. */
  readonly adopt: (id: SessionId, connection: Connection) => void
  readonly connected: (id: SessionId) => Connected | undefined
  /** Of whichever session. */
  readonly hasOne: () => boolean
  /** Lets go of the sessions that the machine does not have any more. */
  readonly keepOnly: (machine: PeerMachine) => void
  /** A connection that was closed has delivered its last message, or never will. */
  readonly delivered: () => void
  /** Calls `done` when all that were closed are delivered: at once, if there are none. */
  readonly whenDelivered: (done: () => void) => void
}

/** `create` makes the hands of a session; they are to call `delivered` for each connection that they closed. */
export function createPeerConnections(create: (id: SessionId) => SessionIo): PeerConnections {
  const ios = new Map<SessionId, SessionIo>()
  let closing = 0
  let done: (() => void) | undefined

  const ioOf = (id: SessionId): SessionIo => {
    const known = ios.get(id)
    if (known !== undefined) return known
    const io = create(id)
    ios.set(id, io)
    return io
  }
  const checkDelivered = (): void => {
    if (closing > 0) return
    const call = done
    done = undefined
    call?.()
  }

  return {
    perform: (id, action) => {
      const io = ioOf(id)
      if (action.type === 'disconnect' && io.connected !== undefined) closing++
      io.perform(action)
    },
    adopt: (id, connection) => ioOf(id).adopt(connection),
    connected: (id) => ios.get(id)?.connected,
    hasOne: () => {
      for (const { connected } of ios.values()) if (connected !== undefined) return true
      return false
    },
    keepOnly: (machine) => {
      for (const id of ios.keys()) if (sessionOf(machine, id) === undefined) ios.delete(id)
    },
    delivered: () => {
      closing--
      checkDelivered()
    },
    whenDelivered: (call) => {
      done = call
      checkDelivered()
    },
  }
}
