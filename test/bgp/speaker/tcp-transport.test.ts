// The kernel's TCP on loopback: the contract, and what only a kernel can do (TCP-MD5, GTSM, TTL). Addresses are 127.x.y.z by process
// and test, so that runs beside each other do not meet.

import { execFileSync } from 'node:child_process'
import { afterEach, describe, expect, test } from 'vitest'
import { socketAddress } from '../../../src/bfd/socket-address.ts'
import { keysOf } from '../../../src/bgp/speaker/accept-rules.ts'
import { loadNativeSockets } from '../../../src/bgp/speaker/native-sockets.ts'
import { createTcpTransport } from '../../../src/bgp/speaker/tcp-transport.ts'
import type { AcceptOptions, Connection, DialOptions, Listener, Transport } from '../../../src/bgp/speaker/transport.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { parsePrefix } from '../../../src/net/prefix.ts'
import { lastError, loadLibc, SOL_TCP, TCP_MD5SIG_EXT } from '../../../src/runtime/libc.ts'
import { err, must } from '../../../src/runtime/result.ts'
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

  test('a range asks its password of everybody in it, but for a longer one with another', async () => {
    const source = loopback()
    const { at, listener, accepted } = await serve({ address: loopback() })
    const wide = { range: must(parsePrefix('127.0.0.0/8')), password: 'wide' }
    const own = { address: source, password: 'own' }
    expect(listener.setPeers([own], [wide])).toEqual([])
    for (const [sourceAddress, password] of [
      [loopback(), 'wide'],
      [source, 'own'],
    ] as const) {
      const { result } = dial({ address: at, port, sourceAddress, password })
      expect(await waitFor(result, { what: `a connection with "${password}"` })).toBeTypeOf('object')
    }
    await waitFor(() => accepted.length === 2, { what: 'the other ends' })
    // The same key that the range has, of an address with another one, and none at all.
    const wrong = dial({ address: at, port, sourceAddress: source, password: 'wide' })
    const none = dial({ address: at, port, sourceAddress: loopback() })
    const witness = dial({ address: at, port, sourceAddress: source, password: 'own' })
    await waitFor(witness.result, { what: 'the witness' })
    expect([wrong.result(), none.result()]).toEqual([undefined, undefined])
    wrong.cancel()
    none.cancel()
  })

  test('a range whose password is taken away, or that is gone, asks nothing any more', async () => {
    const { at, listener } = await serve({ address: loopback() })
    const range = must(parsePrefix('127.0.0.0/8'))
    listener.setPeers([], [{ range, password: 'wide' }])
    expect(listener.setPeers([], [{ range }])).toEqual([])
    const { result } = dial({ address: at, port, sourceAddress: loopback() })
    expect(await waitFor(result, { what: 'a connection' })).toBeTypeOf('object')
  })

  test('what the kernel can not tell apart is an error of the one that comes second', async () => {
    const source = loopback()
    const { listener } = await serve({ address: source })
    const range = { range: must(parsePrefix('127.0.0.0/8')), password: 'wide' }
    const peers = [{ address: source }, { address: source, localAddress: loopback(), password: 'other' }] as const
    expect(listener.setPeers(peers, [range])).toEqual([
      {
        peer: peers[0],
        reason: 'the kernel asks the TCP-MD5 password of the range 127.0.0.0/8 of everybody in it',
        incomingOnly: true,
      },
      {
        peer: peers[1],
        reason:
          'another peer has the same address and another TCP-MD5 password, and the kernel knows one for each address',
        incomingOnly: true,
      },
    ])
  })

  test('a password that is too long is an error, not a plain session', async () => {
    const source = loopback()
    const password = 'x'.repeat(81)
    const { at, refusals } = await serve({ address: source, password })
    const reason = 'a TCP-MD5 password has 1 to 80 bytes, not 81'
    expect(refusals).toMatchObject([{ peer: { address: source }, reason }])
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
    expect(secured.refusals).toMatchObject([{ peer: { address: source }, reason }])
    const dialled = dial({ address: secured.at, port, password: 'secret' }, transport)
    expect(await waitFor(dialled.result, { what: 'the error' })).toBe(reason)
    const plain = await serve({ address: source }, transport)
    const { result } = dial({ address: plain.at, port, sourceAddress: source }, transport)
    await waitFor(() => plain.accepted.length === 1, { what: 'the connection' })
    expect(await waitFor(result, { what: 'the connection' })).not.toHaveProperty('reduced')
  })

  test('the kernel takes an interface with a key only for VRFs: of two link-local peers of one address one has a key', () => {
    const sockets = loadNativeSockets()
    const libc = must(loadLibc())
    if (!sockets.ok) throw new Error(sockets.error.reason)
    const fd = must(sockets.value.openForListen(ip('::1'), 0))
    // struct tcp_md5sig: fe80::1, flag TCP_MD5SIG_FLAG_IFINDEX, the interface lo, a key of one octet.
    const signature = new Uint8Array(128 + 8 + 80)
    signature.set(socketAddress(ip('fe80::1'), 0, 0))
    signature[128] = 2
    signature[129] = 128
    const view = new DataView(signature.buffer)
    view.setUint16(130, 1, true)
    view.setInt32(132, libc.interfaceIndex('lo'), true)
    signature[136] = 1
    expect(libc.setsockopt(fd, SOL_TCP, TCP_MD5SIG_EXT, signature, signature.length)).toBe(-1)
    expect(lastError(libc).name).toBe('EINVAL')
    signature[128] = 0
    expect(libc.setsockopt(fd, SOL_TCP, TCP_MD5SIG_EXT, signature, signature.length)).toBe(0)
    sockets.value.close(fd)
    const peers = ['eth0', 'eth1'].map((zone) => ({ address: ip('fe80::1'), zone, password: zone }))
    expect(keysOf(peers, [])).toEqual({
      keys: new Map([['fe80::1/128', 'eth0']]),
      refusals: [
        {
          peer: peers[1],
          reason:
            'the kernel knows one TCP-MD5 password for each address, whatever the interface, and that of fe80::1 is the one of eth0',
          incomingOnly: true,
        },
      ],
    })
  })
})

test.each([
  ['with the library', undefined],
  ['without the library', createTcpTransport(withoutLibrary)],
])(
  'a link-local router behind an interface that is not there is not looked for behind another one, %s',
  async (_, transport) => {
    const { result } = dial({ address: ip('fe80::1'), zone: 'nowhere0', port }, transport)
    expect(await waitFor(result, { what: 'the error' })).toBe('this host has no interface nowhere0, or it is down')
  },
)

describe('TTL', () => {
  /** The connections of an address as the kernel lists them. */
  const connectionsOf = (local: string): string => execFileSync('ss', ['-Htnie', 'src', local], { encoding: 'utf8' })

  test.each<[string, number, string | undefined]>([
    ['a TTL of one is a precaution: the session comes up, and says what it is without', 1, undefined],
    ["a TTL beyond the system's is needed: there is no session", 255, 'TTL 255 can not be set: '],
  ])('without the library, %s', async (_, ttl, failure) => {
    const transport = createTcpTransport(withoutLibrary)
    const source = loopback()
    const why = 'the library for socket options (koffi) can not be loaded: gone'
    const { at, accepted, refused } = await serve({ address: source, ttl }, transport)
    const dialled = dial({ address: at, port, sourceAddress: source, ttl }, transport)
    const result = await waitFor(dialled.result, { what: 'an answer' })
    if (failure !== undefined) expect(result).toBe(`${failure}${why}`)
    // And when the router dials.
    if (failure !== undefined) dial({ address: at, port, sourceAddress: source }, transport)
    await waitFor(() => accepted.length + refused.length === 1, { what: 'the other end' })
    const reduced = `packets leave with the system's TTL instead of ${ttl}: ${why}`
    if (failure !== undefined) expect(refused).toEqual([`${failure}${why}`])
    else expect([result, accepted[0]]).toMatchObject([{ reduced }, { reduced }])
  })

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

  const dials = (source: string): string =>
    execFileSync('ss', ['-Htno', 'state', 'syn-sent', 'src', source], { encoding: 'utf8' })
  /** The kernel of the dialler has sent its SYN again: the first was not answered. */
  const unanswered = async (source: string): Promise<void> =>
    void (await waitFor(() => /timer:\(on,[^,]+,[1-9]/.test(dials(source)), { what: 'a second SYN' }))

  // Beside a peer without GTSM the listening socket itself can ask nobody for a TTL.
  test('a peer of GTSM does not even get a handshake from further away, beside one without GTSM', async () => {
    const [source, other] = [loopback(), loopback()]
    const secured = { address: source, ttl: 255, ttlMin: 255 }
    const { at, accepted, refused, listener } = await serve(secured)
    expect(listener.setPeers([secured, { address: other }])).toEqual([])
    const far = dial({ address: at, port, sourceAddress: source, ttl: 254 })
    await unanswered(source)
    expect([far.result(), accepted, refused]).toEqual([undefined, [], []])
    for (const [sourceAddress, ttl] of [
      [other, 1],
      [source, 255],
    ] as const) {
      const near = dial({ address: at, port, sourceAddress, ttl })
      expect(await waitFor(near.result, { what: 'a connection' })).toBeTypeOf('object')
    }
    await waitFor(() => accepted.length === 2, { what: 'the other ends' })
  })

  test('a range of GTSM lets a peer of its own through that has none, and nobody else', async () => {
    const [source, excepted] = [loopback(), loopback()]
    const range = must(parsePrefix('127.0.0.0/8'))
    const { at, accepted, listener } = await serve({ address: excepted })
    expect(listener.setPeers([{ address: excepted }], [{ range, ttl: 255, ttlMin: 254 }])).toEqual([])
    dial({ address: at, port, sourceAddress: source, ttl: 253 })
    await unanswered(source)
    expect(accepted).toEqual([])
    for (const [sourceAddress, ttl] of [
      [excepted, 64],
      [source, 254],
    ] as const) {
      const near = dial({ address: at, port, sourceAddress, ttl })
      expect(await waitFor(near.result, { what: 'a connection' })).toBeTypeOf('object')
    }
    await waitFor(() => accepted.length === 2, { what: 'the other ends' })
  })

  test('GTSM that is taken away lets everybody in again', async () => {
    const source = loopback()
    const { at, listener } = await serve({ address: source, ttl: 255, ttlMin: 255 })
    listener.setPeers([{ address: source }, { address: loopback() }])
    const { result } = dial({ address: at, port, sourceAddress: source, ttl: 7 })
    expect(await waitFor(result, { what: 'a connection' })).toBeTypeOf('object')
  })

  test('where every peer has GTSM, not even a stranger gets a handshake from further away', async () => {
    const [source, stranger] = [loopback(), loopback()]
    const { at, accepted, refused } = await serve({ address: source, ttl: 255, ttlMin: 255 })
    dial({ address: at, port, sourceAddress: source, ttl: 64 })
    dial({ address: at, port, sourceAddress: stranger, ttl: 64 })
    await unanswered(source)
    await unanswered(stranger)
    expect([accepted, refused]).toEqual([[], []])
  })

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
