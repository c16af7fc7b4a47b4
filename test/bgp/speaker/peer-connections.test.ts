// The connections of the one or two sessions of a peer, and when those that were closed are delivered.

import { beforeEach, expect, test } from 'vitest'
import { initialMachine, type PeerMachine, type SessionId } from '../../../src/bgp/fsm/collision.ts'
import { createPeerConnections, type PeerConnections } from '../../../src/bgp/speaker/peer-connections.ts'
import { createReceiver } from '../../../src/bgp/speaker/receiver.ts'
import type { Connected } from '../../../src/bgp/speaker/session-io.ts'
import type { Connection } from '../../../src/bgp/speaker/transport.ts'

let connections: PeerConnections
let created: SessionId[]
let delivered: number

// Nothing of a connection is asked for here but whether there is one.
const connection = {} as Connection

beforeEach(() => {
  created = []
  delivered = 0
  connections = createPeerConnections((id) => {
    created.push(id)
    let connected: Connected | undefined
    return {
      perform: (action) => {
        if (action.type === 'disconnect') connected = undefined
      },
      adopt: (adopted) => {
        connected = { connection: adopted, receiver: createReceiver() }
      },
      get connected() {
        return connected
      },
    }
  })
})

const disconnect = (id: SessionId): void => connections.perform(id, { type: 'disconnect' })
const done = (): void => {
  delivered++
}

test('a session has hands of its own, made once', () => {
  connections.adopt(1, connection)
  connections.adopt(2, connection)
  disconnect(1)
  expect(created).toEqual([1, 2])
  expect([connections.connected(1), connections.connected(2)?.connection, connections.connected(3)]).toEqual([
    undefined,
    connection,
    undefined,
  ])
  expect(connections.hasOne()).toBe(true)
  disconnect(2)
  expect(connections.hasOne()).toBe(false)
})

test('a session that the machine does not have any more is let go', () => {
  for (const id of [0, 1]) connections.adopt(id, connection)
  const both: PeerMachine = { ...initialMachine, secondary: { ...initialMachine.primary, id: 1 }, nextId: 2 }
  connections.keepOnly(both)
  expect(connections.connected(1)?.connection).toBe(connection)
  connections.keepOnly(initialMachine)
  expect([connections.connected(0)?.connection, connections.connected(1)]).toEqual([connection, undefined])
})

test('the end waits for every connection that was closed, and is told once', () => {
  for (const id of [1, 2]) connections.adopt(id, connection)
  for (const id of [1, 2]) disconnect(id)
  connections.whenDelivered(done)
  connections.delivered()
  expect(delivered).toBe(0)
  connections.delivered()
  expect(delivered).toBe(1)
})

test('with nothing to deliver the end is there at once', () => {
  disconnect(1)
  connections.whenDelivered(done)
  expect(delivered).toBe(1)
})
