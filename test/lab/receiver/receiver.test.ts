// The receiver against a peer that is written down message by message, so that nothing of the product's own state machine is
// needed to believe it; and against GoBGP, where that is installed.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { decodeMessage } from '../../../src/bgp/packet/decode.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import { ceaseError } from '../../../src/bgp/packet/errors.ts'
import { createFramer } from '../../../src/bgp/packet/framing.ts'
import {
  afiSafiOf,
  type BgpMessage,
  type Capability,
  type OpenMessage,
  openingCodec,
  type SessionCodec,
  type UpdateMessage,
} from '../../../src/bgp/packet/message.ts'
import { freePort } from '../../../src/lab/loopback/programs.ts'
import { startProcess } from '../../../src/lab/netns/process.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { type Receiver, type ReceiverOptions, startReceiver } from '../../../src/lab/receiver/receiver.ts'
import { parseAsn, parseRouterId } from '../../../src/net/asn.ts'
import { type Ip, parseIp } from '../../../src/net/ip.ts'
import { hostPrefix, type Prefix } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'
import { describeWith } from '../../support/privileges.ts'

const ip = (text: string): Ip => must(parseIp(text))
const vip: Prefix = hostPrefix(ip('203.0.113.10'))
const ipv4 = afiSafiOf['ipv4-unicast']
const ipv6 = afiSafiOf['ipv6-unicast']

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function receiverWith(options: Partial<ReceiverOptions> = {}): Promise<Receiver> {
  const receiver = await startReceiver({
    asn: must(parseAsn(64513)),
    routerId: must(parseRouterId('10.0.0.1')),
    ...options,
  })
  cleanups.push(() => receiver.close())
  return receiver
}

/** A peer that says what it is told to say. */
interface ScriptedPeer {
  readonly socket: Socket
  readonly send: (message: BgpMessage) => void
  readonly received: readonly BgpMessage[]
  readonly next: (type: BgpMessage['type']) => Promise<BgpMessage>
}

const codec: SessionCodec = {
  ...openingCodec,
  fourOctetAs: true,
  families: new Set(['ipv4-unicast', 'ipv6-unicast']),
  addPathSend: new Set(['ipv4-unicast']),
}

async function connectTo(receiver: Receiver): Promise<ScriptedPeer> {
  const socket = connect(receiver.port, receiver.address)
  cleanups.push(() => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.once('connect', () => resolve())
  })
  const framer = createFramer()
  const received: BgpMessage[] = []
  socket.on('data', (chunk: Uint8Array) => {
    framer.push(chunk)
    for (let framed = framer.next(4096); framed?.type === 'message'; framed = framer.next(4096)) {
      const decoded = decodeMessage(framed.bytes, codec)
      if (decoded.ok) received.push(decoded.message)
    }
  })
  return {
    socket,
    send: (message) => void socket.write(encodeMessage(message, codec)),
    received,
    next: (type) => waitFor(() => received.find((message) => message.type === type), { what: `a ${type}` }),
  }
}

const capabilities: readonly Capability[] = [
  { type: 'multiprotocol', ...ipv4 },
  { type: 'multiprotocol', ...ipv6 },
  { type: 'route-refresh' },
  { type: 'enhanced-route-refresh' },
  { type: 'four-octet-as', asn: 64512 },
  { type: 'add-path', families: [{ ...ipv4, mode: 'both' }] },
]
const open = (change: Partial<OpenMessage> = {}): OpenMessage => ({
  type: 'OPEN',
  version: 4,
  myAs: 64512,
  holdTimeSeconds: 30,
  bgpIdentifier: 0x0a00000b,
  capabilities,
  ...change,
})
const announce = (nextHop: string, pathId: number, asns: readonly number[] = [64512]): UpdateMessage => ({
  type: 'UPDATE',
  withdrawn: [],
  attributes: { origin: 'IGP', asPath: [{ type: 'AS_SEQUENCE', asns }], nextHop: ip(nextHop) },
  nlri: [{ prefix: vip, pathId }],
})
const endOfRib: UpdateMessage = { type: 'UPDATE', withdrawn: [], attributes: {}, nlri: [] }

async function establish(receiver: Receiver, change: Partial<OpenMessage> = {}): Promise<ScriptedPeer> {
  const before = receiver.sessions().length
  const peer = await connectTo(receiver)
  await peer.next('OPEN')
  peer.send(open(change))
  await peer.next('KEEPALIVE')
  peer.send({ type: 'KEEPALIVE' })
  await waitFor(() => receiver.sessions().filter(({ state }) => state === 'Established').length === before + 1, {
    what: 'the session',
  })
  return peer
}

describe('the exchange of OPENs', () => {
  test('the receiver speaks first, and offers to receive several paths in both families', async () => {
    const peer = await connectTo(await receiverWith())
    expect(await peer.next('OPEN')).toMatchObject({
      myAs: 64513,
      holdTimeSeconds: 9,
      capabilities: expect.arrayContaining([
        { type: 'multiprotocol', ...ipv4 },
        { type: 'multiprotocol', ...ipv6 },
        { type: 'four-octet-as', asn: 64513 },
        { type: 'add-path', families: [ipv4, ipv6].map((family) => ({ ...family, mode: 'receive' })) },
      ]),
    })
  })

  test('without ADD-PATH and with one family it offers no more than that', async () => {
    const peer = await connectTo(await receiverWith({ addPath: false, families: ['ipv6-unicast'] }))
    const { capabilities: offered } = (await peer.next('OPEN')) as OpenMessage
    expect(offered.map(({ type }) => type)).not.toContain('add-path')
    expect(offered.filter(({ type }) => type === 'multiprotocol')).toEqual([{ type: 'multiprotocol', ...ipv6 }])
  })

  test.each<[string, Partial<OpenMessage>, object]>([
    [
      'what both have',
      {},
      { families: ['ipv4-unicast', 'ipv6-unicast'], addPath: ['ipv4-unicast'], holdTimeSeconds: 9 },
    ],
    ['the shorter hold time', { holdTimeSeconds: 6 }, { holdTimeSeconds: 6 }],
    [
      'no path ids from a peer that only receives them',
      { capabilities: [{ type: 'add-path', families: [{ ...ipv4, mode: 'receive' }] }] },
      { addPath: [], families: ['ipv4-unicast'] },
    ],
    ['IPv4 alone without capabilities', { capabilities: [] }, { families: ['ipv4-unicast'], addPath: [], asn: 64512 }],
    [
      'the AS number of four octets',
      { myAs: 23456, capabilities: [{ type: 'four-octet-as', asn: 4_200_000_001 }] },
      { asn: 4_200_000_001 },
    ],
  ])('agrees on %s', async (_, change, expected) => {
    const receiver = await receiverWith()
    await establish(receiver, change)
    expect(receiver.sessions()).toEqual([
      expect.objectContaining({ state: 'Established', routerId: '10.0.0.11', ...expected }),
    ])
  })

  test.each<[string, readonly BgpMessage[], object]>([
    ['an UPDATE before the session', [endOfRib], { code: 5, subcode: 1 }],
    ['an UPDATE between OPEN and KEEPALIVE', [open(), endOfRib], { code: 5, subcode: 2 }],
    ['two OPENs', [open(), open()], { code: 5, subcode: 2 }],
    ['its own BGP identifier', [open({ bgpIdentifier: 0x0a000001 })], { code: 2, subcode: 3 }],
  ])('%s is refused with a NOTIFICATION', async (_, messages, expected) => {
    const receiver = await receiverWith()
    const peer = await connectTo(receiver)
    for (const message of messages) peer.send(message)
    expect(await peer.next('NOTIFICATION')).toMatchObject(expected)
    expect(receiver.sessions()).toEqual([])
  })

  test('octets that are not BGP are answered with a header error', async () => {
    const peer = await connectTo(await receiverWith())
    peer.socket.write('GET / HTTP/1.1\r\nHost: router\r\n\r\n')
    expect(await peer.next('NOTIFICATION')).toMatchObject({ code: 1, subcode: 1 })
  })
})

describe('an established session', () => {
  test('tells routes by next hop and path id, and when the first of them are complete', async () => {
    const receiver = await receiverWith()
    const peer = await establish(receiver)
    peer.send(announce('10.0.0.12', 2))
    peer.send(announce('10.0.0.11', 1))
    peer.send(endOfRib)
    await waitFor(() => receiver.sessions()[0]?.endOfRib.includes('ipv4-unicast'), { what: 'End-of-RIB' })
    expect(receiver.nextHops(vip)).toEqual(['10.0.0.11', '10.0.0.12'])
    expect(receiver.routes(vip)).toEqual([
      expect.objectContaining({ nextHop: '10.0.0.11', pathId: 1, from: '10.0.0.11' }),
      expect.objectContaining({ nextHop: '10.0.0.12', pathId: 2 }),
    ])
    expect(receiver.prefixes()).toEqual([vip])
    expect(receiver.updates()).toBe(3)
    expect(receiver.complaints()).toEqual([])
  })

  test('that ends takes its routes along, and leaves those of another session', async () => {
    const receiver = await receiverWith()
    const first = await establish(receiver)
    const second = await establish(receiver, { bgpIdentifier: 0x0a00000c })
    for (const peer of [first, second]) peer.send(announce('10.0.0.11', 1))
    second.send(announce('10.0.0.12', 2))
    await waitFor(() => receiver.routes(vip).length === 3, { what: 'all paths' })
    const followed = receiver.follow(vip)
    first.socket.destroy()
    await waitFor(() => receiver.sessions().length === 1, { what: 'the end of the first session' })
    expect(receiver.nextHops(vip)).toEqual(['10.0.0.11', '10.0.0.12'])
    second.send({ type: 'NOTIFICATION', code: 6, subcode: 2, data: new Uint8Array(0) })
    await waitFor(() => receiver.sessions().length === 0, { what: 'the end of the second session' })
    expect(receiver.nextHops(vip)).toEqual([])
    expect(followed.seen()).toEqual([['10.0.0.11', '10.0.0.12'], []])
    expect(receiver.endedSessions().map(({ ended }) => ended?.reason)).toEqual([
      'the peer closed the connection without a NOTIFICATION',
      'the router closed the session: cease, administrative shutdown',
    ])
    expect(receiver.updates()).toBe(3)
  })

  test('asks for everything again, and sees what does not come', async () => {
    const receiver = await receiverWith()
    const peer = await establish(receiver)
    peer.send(announce('10.0.0.11', 1))
    peer.send(announce('10.0.0.12', 2))
    await waitFor(() => receiver.updates() === 2, { what: 'the routes' })
    receiver.refresh('ipv4-unicast')
    expect(await peer.next('ROUTE-REFRESH')).toMatchObject({ ...ipv4, subtype: 0 })
    peer.send({ type: 'ROUTE-REFRESH', ...ipv4, subtype: 1 })
    peer.send(announce('10.0.0.12', 2))
    peer.send({ type: 'ROUTE-REFRESH', ...ipv4, subtype: 2 })
    await waitFor(() => receiver.sessions()[0]?.refreshed === 1, { what: 'EoRR' })
    expect(receiver.nextHops(vip)).toEqual(['10.0.0.12'])
    expect(receiver.complaints()).toEqual(['203.0.113.10/32 path 1 was not sent again in a route refresh'])
  })

  test('complains about a path that does not start with the peer’s AS', async () => {
    const receiver = await receiverWith()
    const peer = await establish(receiver)
    peer.send(announce('10.0.0.11', 1, [64999]))
    await waitFor(() => receiver.complaints().length > 0, { what: 'a complaint' })
    expect(receiver.complaints()).toEqual(['the AS_PATH of 203.0.113.10/32 starts with 64999, not 64512'])
  })

  test('ends with the NOTIFICATION it is told to send', async () => {
    const receiver = await receiverWith()
    const peer = await establish(receiver)
    receiver.notify(ceaseError('administrative-reset', 'a test'))
    expect(await peer.next('NOTIFICATION')).toMatchObject({ code: 6, subcode: 4 })
    expect(receiver.sessions()).toEqual([])
  })

  test('ends when nothing is heard for the hold time, and sends keepalives until then', async () => {
    const receiver = await receiverWith({ holdTimeSeconds: 3 })
    const peer = await establish(receiver)
    expect(await peer.next('NOTIFICATION')).toMatchObject({ code: 4, subcode: 0 })
    const keepalives = peer.received.filter(({ type }) => type === 'KEEPALIVE').length
    expect(keepalives).toBeGreaterThanOrEqual(3)
  })

  test('ends with the receiver, which says Cease and leaves the port', async () => {
    const receiver = await receiverWith()
    const peer = await establish(receiver)
    await receiver.close()
    expect(await peer.next('NOTIFICATION')).toMatchObject({ code: 6, subcode: 2 })
    await using again = await startReceiver({
      ...{ port: receiver.port, asn: must(parseAsn(64513)), routerId: must(parseRouterId('10.0.0.1')) },
    })
    expect(again.port).toBe(receiver.port)
  })
})

describeWith({ programs: ['gobgpd', 'gobgp'] }, 'a foreign speaker', () => {
  test('GoBGP announces two paths in each family; the receiver holds them and finds nothing to complain about', async () => {
    const receiver = await receiverWith({ address: ip('127.0.0.7') })
    const directory = mkdtempSync(path.join(tmpdir(), 'receiver-gobgp-'))
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
    const configuration = path.join(directory, 'gobgpd.toml')
    writeFileSync(configuration, gobgpConfiguration(receiver))
    const api = await freePort()
    const gobgpd = startProcess(['gobgpd', '-f', configuration, '--api-hosts', `127.0.0.1:${api}`])
    cleanups.push(() => gobgpd.stop())
    await gobgpd.waitUntil(() => receiver.sessions().some(({ state }) => state === 'Established'), {
      what: 'the session',
      timeoutMs: 30_000,
    })
    const add = (...args: readonly string[]): void => {
      const result = spawnSync('gobgp', ['-p', String(api), 'global', 'rib', 'add', ...args], { encoding: 'utf8' })
      expect(result.stdout + result.stderr).toBe('')
    }
    add('203.0.113.10/32', 'identifier', '1', 'nexthop', '10.0.0.11')
    add('203.0.113.10/32', 'identifier', '2', 'nexthop', '10.0.0.12')
    add('2001:db8:1::10/128', 'identifier', '1', 'nexthop', 'fd00:10::11', '-a', 'ipv6')
    add('2001:db8:1::10/128', 'identifier', '2', 'nexthop', 'fd00:10::12', '-a', 'ipv6')
    await waitFor(
      () => receiver.routes(vip).length === 2 && receiver.routes(hostPrefix(ip('2001:db8:1::10'))).length === 2,
      {
        what: 'two paths in each family',
        evidence: gobgpd.output,
      },
    )
    expect(receiver.nextHops(vip)).toEqual(['10.0.0.11', '10.0.0.12'])
    expect(receiver.nextHops(hostPrefix(ip('2001:db8:1::10')))).toEqual(['fd00:10::11', 'fd00:10::12'])
    expect(receiver.sessions()[0]).toMatchObject({ addPath: ['ipv4-unicast', 'ipv6-unicast'], routerId: '10.9.9.9' })
    expect(receiver.complaints()).toEqual([])
  })
})

const gobgpConfiguration = ({ address, port }: Receiver): string => `
[global.config]
  as = 64512
  router-id = "10.9.9.9"
  port = -1
[[neighbors]]
  [neighbors.config]
    neighbor-address = "${address}"
    peer-as = 64513
  [neighbors.timers.config]
    connect-retry = 5
    hold-time = 9
    keepalive-interval = 3
  [neighbors.transport.config]
    remote-port = ${port}
  [neighbors.ebgp-multihop.config]
    enabled = true
    multihop-ttl = 2
${['ipv4-unicast', 'ipv6-unicast']
  .map(
    (family) => `  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "${family}"
    [neighbors.afi-safis.add-paths.config]
      send-max = 8
`,
  )
  .join('')}`
