// What every transport promises (src/bgp/speaker/transport.ts). The same tests run over the network in memory and over the kernel's
// TCP on loopback, so that what the other tests see in memory is what happens on a wire.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Connection, Listener, ListenHandlers, Transport } from '../../../src/bgp/speaker/transport.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import type { Ip } from '../../../src/net/ip.ts'

/** Two hosts that can reach each other. */
export interface Ends {
  readonly dialler: { readonly transport: Transport; readonly address: Ip }
  readonly listener: { readonly transport: Transport; readonly address: Ip }
  readonly port: number
}

/** One end of a connection and what it has seen. */
export interface Seen {
  readonly connection: Connection
  readonly text: () => string
  readonly bytes: () => number
  readonly closed: () => string | undefined
  readonly drained: () => number
}

/** Opens a connection and notes what happens on it. */
export function watch(connection: Connection): Seen {
  const chunks: Uint8Array[] = []
  let closed: string | undefined
  let drained = 0
  connection.open({
    data: (chunk) => chunks.push(chunk),
    drained: () => {
      drained++
    },
    closed: (reason) => {
      closed = reason
    },
  })
  return {
    connection,
    text: () => Buffer.concat(chunks).toString(),
    bytes: () => chunks.reduce((sum, { length }) => sum + length, 0),
    closed: () => closed,
    drained: () => drained,
  }
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

export function transportContract(name: string, createEnds: () => Ends): void {
  describe(`${name} keeps the contract of transports`, () => {
    let ends: Ends
    let listener: Listener | undefined
    let accepted: Connection[]
    let refused: string[]
    let connections: Connection[]

    const listen = async (peers: readonly Ip[], handlers: Partial<ListenHandlers> = {}): Promise<Listener> => {
      let settled: string | undefined
      const opened = ends.listener.transport.listen(ends.port, [ends.listener.address], {
        connection: (connection) => accepted.push(connection),
        refused: (remote, reason) => refused.push(`${remote.address} ${reason}`),
        listening: () => {
          settled = 'listening'
        },
        failed: (reason) => {
          settled = reason
        },
        ...handlers,
      })
      opened.setPeers(peers.map((address) => ({ address })))
      await waitFor(() => settled, { what: 'an answer to listen' })
      expect(settled).toBe('listening')
      return opened
    }
    const dial = (): { readonly cancel: () => void; readonly result: () => Connection | string | undefined } => {
      let result: Connection | string | undefined
      const { address } = ends.listener
      const cancel = ends.dialler.transport.dial(
        { address, port: ends.port, sourceAddress: ends.dialler.address },
        {
          connected: (connection) => {
            result = connection
            connections.push(connection)
          },
          failed: (reason) => {
            result = reason
          },
        },
      )
      return { cancel, result: () => result }
    }
    const connect = async (): Promise<readonly [Connection, Connection]> => {
      const { result } = dial()
      const ours = await waitFor(result, { what: 'an answer to dial' })
      if (typeof ours === 'string') throw new Error(ours)
      const theirs = await waitFor(() => accepted.at(-1), { what: 'the other end' })
      return [ours, theirs]
    }

    beforeEach(() => {
      ends = createEnds()
      accepted = []
      refused = []
      connections = []
      listener = undefined
    })
    afterEach(() => {
      listener?.close()
      for (const connection of [...connections, ...accepted]) connection.abort()
    })

    test('connects, and both ends know the addresses', async () => {
      listener = await listen([ends.dialler.address])
      const [ours, theirs] = await connect()
      expect([ours.localAddress, ours.remote.address]).toEqual([ends.dialler.address, ends.listener.address])
      expect([theirs.localAddress, theirs.remote.address]).toEqual([ends.listener.address, ends.dialler.address])
      expect(ours.localAddresses.ipv4).toBe(ends.dialler.address)
      for (const network of ours.localNetworks) expect(network).toMatch(/\/\d+$/)
    })

    test('delivers both ways and in order, also what came before anybody listened', async () => {
      listener = await listen([ends.dialler.address])
      const [ours, theirs] = await connect()
      ours.write(bytesOf('one '))
      ours.write(bytesOf('two '))
      const seen = [watch(ours), watch(theirs)] as const
      ours.write(bytesOf('three'))
      theirs.write(bytesOf('four'))
      await waitFor(() => seen[1].text() === 'one two three' && seen[0].text() === 'four', { what: 'the words' })
    })

    test('says when everything was taken', async () => {
      listener = await listen([ends.dialler.address])
      const [ours, theirs] = await connect()
      const seen = [watch(ours), watch(theirs)] as const
      ours.write(new Uint8Array(3_000_000))
      await waitFor(() => seen[0].drained() > 0 && ours.pendingBytes === 0, { what: 'drained' })
      expect(ours.acceptedBytes).toBe(3_000_000)
      await waitFor(() => seen[1].bytes() === 3_000_000, { what: 'all of it' })
    })

    test('close delivers what was written; the other end learns that it is over', async () => {
      listener = await listen([ends.dialler.address])
      const [ours, theirs] = await connect()
      const seen = [watch(ours), watch(theirs)] as const
      let done = 0
      ours.write(bytesOf('last words'))
      ours.close(() => done++)
      await waitFor(() => seen[1].closed(), { what: 'closed' })
      expect(seen[1].text()).toBe('last words')
      expect(seen[1].closed()).toBe('the router closed the TCP connection')
      await waitFor(() => done === 1, { what: 'done' })
      expect(seen[0].closed()).toBeUndefined()
    })

    test('close of what is closed already is done at once', async () => {
      listener = await listen([ends.dialler.address])
      const [ours, theirs] = await connect()
      const seen = [watch(ours), watch(theirs)] as const
      theirs.abort()
      await waitFor(() => seen[0].closed(), { what: 'closed' })
      let done = 0
      ours.close(() => done++)
      await waitFor(() => done === 1, { what: 'done' })
    })

    test('abort closes without a further word from this end', async () => {
      listener = await listen([ends.dialler.address])
      const [ours, theirs] = await connect()
      const seen = [watch(ours), watch(theirs)] as const
      theirs.write(bytesOf('unread'))
      ours.abort()
      await waitFor(() => seen[1].closed(), { what: 'closed' })
      expect([seen[0].closed(), seen[0].text()]).toEqual([undefined, ''])
    })

    test('a stranger is refused before anything is read', async () => {
      listener = await listen([])
      const { result } = dial()
      await waitFor(() => refused.length > 0, { what: 'the refusal' })
      expect(refused).toEqual([`${ends.dialler.address} not a configured peer`])
      expect(accepted).toEqual([])
      // The stranger may have been connected for a moment.
      const connection = result()
      if (connection !== undefined && typeof connection !== 'string') {
        const seen = watch(connection)
        await waitFor(() => seen.closed(), { what: 'closed' })
      }
    })

    test('peers can become known later', async () => {
      listener = await listen([])
      expect(listener.setPeers([{ address: ends.dialler.address }])).toEqual([])
      await connect()
    })

    test('a port that nobody listens on refuses', async () => {
      const { result } = dial()
      expect(await waitFor(result, { what: 'an answer' })).toMatch(/^connection refused by /)
    })

    test('a port in use says so', async () => {
      listener = await listen([])
      let failed: string | undefined
      const second = ends.listener.transport.listen(ends.port, [ends.listener.address], {
        connection: () => {},
        refused: () => {},
        listening: () => {},
        failed: (reason) => {
          failed = reason
        },
      })
      expect(await waitFor(() => failed, { what: 'the failure' })).toMatch(/in use/)
      second.close()
    })

    test('a closed listener accepts nobody', async () => {
      const opened = await listen([ends.dialler.address])
      opened.close()
      const { result } = dial()
      expect(await waitFor(result, { what: 'an answer' })).toMatch(/^connection refused by /)
    })

    test('a source address that is not ours is an error', async () => {
      let failed: string | undefined
      const { address } = ends.listener
      ends.dialler.transport.dial(
        { address, port: ends.port, sourceAddress: '192.0.2.77' as Ip },
        { connected: (connection) => connections.push(connection), failed: (reason) => (failed = reason) },
      )
      expect(await waitFor(() => failed, { what: 'the failure' })).toContain('source address 192.0.2.77')
    })

    test('a dial that was given up calls nobody', async () => {
      listener = await listen([ends.dialler.address])
      const { cancel, result } = dial()
      cancel()
      // A second dial is answered after the first would have been.
      await connect()
      expect(result()).toBeUndefined()
    })
  })
}
