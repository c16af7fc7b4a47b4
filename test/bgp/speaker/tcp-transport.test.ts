// The kernel's TCP on loopback: the contract, and what only a kernel can do (TCP-MD5, GTSM, TTL). Addresses are 127.x.y.z by process
// and test, so that runs beside each other do not meet.

import { execFileSync } from 'node:child_process'
import { afterEach, describe, expect, test } from 'vitest'
import { loadNativeSockets } from '../../../src/bgp/speaker/native-sockets.ts'
import { createTcpTransport } from '../../../src/bgp/speaker/tcp-transport.ts'
import type { AcceptOptions, Connection, DialOptions, Listener, Transport } from '../../../src/bgp/speaker/transport.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { err } from '../../../src/runtime/result.ts'
import { systemClock } from '../../../src/runtime/system-clock.ts'
import { ip } from './bench.ts'
import { loopback } from './loopback.ts'
import { transportContract, watch } from './transport-contract.ts'

const port = 1790
const withoutLibrary: Parameters<typeof createTcpTransport>[0] = {
  clock: systemClock,
  native: () =>
    err({ code: 'native/unavailable', reason: 'the library for socket options (koffi) can not be loaded: gone' }),
}

const ends = (options: Parameters<typeof createTcpTransport>[0]) => () => ({
  dialler: { transport: createTcpTransport(options), address: loopback() },
  listener: { transport: createTcpTransport(options), address: loopback() },
  port,
})

transportContract('TCP', ends({ clock: systemClock }))
transportContract('TCP without the library for socket options', ends(withoutLibrary))

const open: { readonly listeners: Listener[]; readonly connections: Connection[] } = { listeners: [], connections: [] }
afterEach(() => {
  for (const listener of open.listeners.splice(0)) listener.close()
  for (const connection of open.connections.splice(0)) connection.abort()
})

/** Listens for one peer at a new address; returns how to dial it. */
async function serve(
  peer: AcceptOptions,
  transport: Transport = createTcpTransport({ clock: systemClock }),
  at = loopback(),
) {
  const accepted: Connection[] = []
  const refused: string[] = []
  let ready = false
  const listener = transport.listen(port, [at], {
    connection: (connection) => {
      accepted.push(connection)
      open.connections.push(connection)
    },
    refused: (_remote, reason) => refused.push(reason),
    listening: () => {
      ready = true
    },
    failed: (reason) => {
      throw new Error(reason)
    },
  })
  open.listeners.push(listener)
  const refusals = listener.setPeers([peer])
  await waitFor(() => ready, { what: 'listening' })
  return { at, listener, accepted, refused, refusals }
}

function dial(options: DialOptions, transport: Transport = createTcpTransport({ clock: systemClock })) {
  let result: Connection | string | undefined
  const cancel = transport.dial(options, {
    connected: (connection) => {
      result = connection
      open.connections.push(connection)
    },
    failed: (reason) => {
      result = reason
    },
  })
  return { cancel, result: () => result }
}

describe('TCP-MD5 (RFC 2385)', () => {
  test('with the same password on both sides connects', async () => {
    const source = loopback()
    const { at, accepted } = await serve({ address: source, password: 'correct horse' })
    const { result } = dial({ address: at, port, sourceAddress: source, password: 'correct horse' })
    const connection = await waitFor(result, { what: 'a connection' })
    expect(connection).not.toBeTypeOf('string')
    await waitFor(() => accepted.length === 1, { what: 'the other end' })
  })

  test.each([
    ['another password', 'battery staple', 'correct horse'],
    ['a password on our side only', 'correct horse', undefined],
    ['a password on their side only', undefined, 'correct horse'],
  ])('with %s never connects, and says nothing', async (_, ours, theirs) => {
    const [source, witness] = [loopback(), loopback()]
    const password = (value: string | undefined) => (value === undefined ? {} : { password: value })
    const { at, listener, accepted } = await serve({ address: source, ...password(theirs) })
    const { cancel, result } = dial({ address: at, port, sourceAddress: source, ...password(ours) })
    // Whoever dials later is there first.
    listener.setPeers([{ address: source, ...password(theirs) }, { address: witness }])
    const second = dial({ address: at, port, sourceAddress: witness })
    await waitFor(second.result, { what: 'the witness' })
    await waitFor(() => accepted.length > 0, { what: 'the witness at the other end' })
    expect(accepted.map(({ remote }) => remote.address)).toEqual([witness])
    expect(result()).toBeUndefined()
    cancel()
  })

  test('a password can be changed and taken away while listening', async () => {
    const source = loopback()
    const { at, listener } = await serve({ address: source, password: 'first' })
    const attempt = async (password?: string) => {
      const dialled = dial({
        address: at,
        port,
        sourceAddress: source,
        ...(password === undefined ? {} : { password }),
      })
      expect(await waitFor(dialled.result, { what: `a connection with ${password ?? 'no password'}` })).toBeTypeOf(
        'object',
      )
    }
    await attempt('first')
    expect(listener.setPeers([{ address: source, password: 'second' }])).toEqual([])
    await attempt('second')
    expect(listener.setPeers([{ address: source }])).toEqual([])
    await attempt()
  })

  test('a password that is too long is an error, not a plain session', async () => {
    const source = loopback()
    const password = 'x'.repeat(81)
    const { at, refusals } = await serve({ address: source, password })
    const reason = 'a TCP-MD5 password has 1 to 80 bytes, not 81'
    expect(refusals).toEqual([{ address: source, reason }])
    expect(await waitFor(dial({ address: at, port, password }).result, { what: 'the error' })).toBe(reason)
    // And a plain connection of that peer is not let in.
    const plain = dial({ address: at, port, sourceAddress: source })
    const connection = await waitFor(plain.result, { what: 'an answer' })
    if (typeof connection !== 'string') {
      const seen = watch(connection)
      await waitFor(() => seen.closed(), { what: 'closed' })
    }
  })

  test('without the library there is no session with a password, and one without it where none is asked for', async () => {
    const transport = createTcpTransport(withoutLibrary)
    const source = loopback()
    const secured = await serve({ address: source, password: 'secret' }, transport)
    const reason = 'the library for socket options (koffi) can not be loaded: gone'
    expect(secured.refusals).toEqual([{ address: source, reason }])
    const dialled = dial({ address: secured.at, port, password: 'secret' }, transport)
    expect(await waitFor(dialled.result, { what: 'the error' })).toBe(reason)
    const plain = await serve({ address: source, ttl: 1 }, transport)
    dial({ address: plain.at, port, sourceAddress: source, ttl: 1 }, transport)
    await waitFor(() => plain.accepted.length === 1, { what: 'the connection' })
  })
})

describe('TTL', () => {
  /** The connections of an address as the kernel lists them. */
  const connectionsOf = (local: string): string => execFileSync('ss', ['-Htnie', 'src', local], { encoding: 'utf8' })

  test('GTSM on both sides passes data (RFC 5082)', async () => {
    const source = loopback()
    const { at, accepted } = await serve({ address: source, ttl: 255, ttlMin: 255 })
    const { result } = dial({ address: at, port, sourceAddress: source, ttl: 255, ttlMin: 255 })
    const ours = await waitFor(result, { what: 'a connection' })
    const theirs = await waitFor(() => accepted[0], { what: 'the other end' })
    if (typeof ours === 'string') throw new Error(ours)
    const seen = watch(theirs)
    watch(ours)
    ours.write(Uint8Array.of(1, 2, 3))
    await waitFor(() => seen.bytes() === 3, { what: 'the data' })
    expect(connectionsOf(source)).toContain('ESTAB')
  })

  test('a peer that sends with another TTL gets nothing through to a side with GTSM', async () => {
    const source = loopback()
    const secured = { address: source, ttl: 255, ttlMin: 255 }
    const { at, accepted, listener } = await serve(secured)
    // Beside a peer without GTSM the handshake goes through.
    listener.setPeers([secured, { address: loopback() }])
    const { result } = dial({ address: at, port, sourceAddress: source, ttl: 64 })
    const ours = await waitFor(result, { what: 'the handshake' })
    const theirs = await waitFor(() => accepted[0], { what: 'the other end' })
    if (typeof ours === 'string') throw new Error(ours)
    const [atOurs, atTheirs] = [watch(ours), watch(theirs)]
    ours.write(Uint8Array.of(1, 2, 3))
    // Their packets do arrive, and show that time enough has passed: the answer takes a second round.
    theirs.write(Uint8Array.of(9))
    await waitFor(() => atOurs.bytes() === 1, { what: 'data with TTL 255' })
    await waitFor(() => retransmissions(source) > 0, { what: 'a retransmission of what was dropped' })
    expect(atTheirs.bytes()).toBe(0)
  })

  test('where every peer has GTSM, not even a handshake comes from further away', async () => {
    const source = loopback()
    const { at, accepted } = await serve({ address: source, ttl: 255, ttlMin: 255 })
    const { result } = dial({ address: at, port, sourceAddress: source, ttl: 64 })
    const dials = (): string => execFileSync('ss', ['-Htno', 'state', 'syn-sent', 'src', source], { encoding: 'utf8' })
    await waitFor(() => /timer:\(on,[^,]+,[1-9]/.test(dials()), { what: 'a second SYN' })
    expect([result(), accepted]).toEqual([undefined, []])
  })

  const retransmissions = (local: string): number =>
    Number(
      / retrans:\d+\/(\d+)/.exec(
        execFileSync('ss', ['-Htni', 'src', local, 'dport', '=', `:${port}`], { encoding: 'utf8' }),
      )?.[1] ?? 0,
    )

  test('a socket that can not be set up leaves no descriptor behind', () => {
    const sockets = loadNativeSockets()
    if (!sockets.ok) throw new Error(sockets.error.reason)
    // Sockets of the tests before may still be closing: many failures against their few.
    const attempts = 200
    const before = descriptors()
    for (let i = 0; i < attempts; i++) {
      const target = { address: ip('127.0.0.1'), sourceAddress: ip('192.0.2.77') }
      const refused = sockets.value.openForDial(target, { ttl: 1 })
      expect(refused).toMatchObject({ ok: false, error: { code: 'native/refused' } })
    }
    expect(descriptors() - before).toBeLessThan(attempts / 2)
  })

  const descriptors = (): number =>
    execFileSync('ls', [`/proc/${process.pid}/fd`], { encoding: 'utf8' }).split('\n').length
})
