// BGP messages of other implementations, captures and route collectors, with what the RFCs have a receiver make of them.
// The vectors lie beside the repository and are not part of it; without them the suite says so and skips.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { capabilityCode } from '../../src/bgp/packet/capability.ts'
import { type Decoded, decodeMessage } from '../../src/bgp/packet/decode.ts'
import { createFramer } from '../../src/bgp/packet/framing.ts'
import type { Family, Nlri, SessionCodec, UpdateMessage } from '../../src/bgp/packet/message.ts'
import { skipMark } from '../support/skip-mark.ts'
import { verdictOfDecode, verdictOfScan } from './packet/verdict.ts'

interface VectorNlri {
  readonly prefix: string
  readonly path_id?: number
}

interface VectorAttribute {
  readonly code: number
  readonly raw: string
  readonly value?: unknown
  readonly discarded?: boolean
  readonly malformed?: boolean
}

interface Vector {
  readonly id: string
  readonly hex: string
  readonly scope: 'core' | 'other-afi'
  readonly confidence: 'high' | 'medium' | 'disputed'
  readonly disposition:
    | 'ok'
    | 'ignore'
    | 'attribute-discard'
    | 'treat-as-withdraw'
    | 'session-reset'
    | 'session-closed-by-peer'
    | 'need-more-data'
  readonly notification: { readonly code: number; readonly subcode: number; readonly data: string } | null
  readonly ctx: {
    readonly as4?: boolean
    readonly addpath?: readonly string[]
    readonly families?: readonly string[]
    readonly peer: 'ebgp' | 'ibgp'
    readonly extmsg?: boolean
  }
  readonly expected: {
    readonly withdrawn?: readonly VectorNlri[]
    readonly nlri?: readonly VectorNlri[]
    readonly attrs?: readonly VectorAttribute[]
    readonly mp_reach?: {
      readonly family: string
      readonly next_hops?: readonly string[]
      readonly nlri?: readonly VectorNlri[]
    }
    readonly mp_unreach?: { readonly family: string; readonly nlri?: readonly VectorNlri[] }
    readonly eor?: unknown
    readonly open?: {
      readonly version: number
      readonly as2: number
      readonly hold_time: number
      readonly bgp_id: string
      readonly capabilities: readonly { readonly code: number; readonly value: string }[]
    }
    readonly notification_msg?: { readonly code: number; readonly subcode: number; readonly data: string }
    readonly route_refresh?: { readonly afi: number; readonly safi: number; readonly subtype: number }
  }
}

const directory = path.resolve(import.meta.dirname, '../../../shared/corpus/vectors')
const available = existsSync(directory)

const vectors: readonly Vector[] = available
  ? readdirSync(directory)
      .sort()
      .flatMap((file) => readFileSync(path.join(directory, file), 'utf8').split('\n').filter(Boolean))
      .map((line) => JSON.parse(line) as Vector)
  : []

const familyNames: Readonly<Record<string, Family>> = { '1/1': 'ipv4-unicast', '2/1': 'ipv6-unicast' }
const familySet = (pairs: readonly string[]): ReadonlySet<Family> =>
  new Set(pairs.map((pair) => familyNames[pair]).filter((family) => family !== undefined))

const codecOf = ({ ctx }: Vector): SessionCodec => ({
  fourOctetAs: ctx.as4 ?? false,
  sessionType: ctx.peer,
  addPathReceive: familySet(ctx.addpath ?? []),
  addPathSend: familySet(ctx.addpath ?? []),
  families: familySet(ctx.families ?? ['1/1', '2/1']),
  // The contexts do not say, but some vectors are of sessions with RFC 8950.
  extendedNextHop: new Set<Family>(['ipv4-unicast']),
  messageBytesMaxReceive: ctx.extmsg ? 65535 : 4096,
  messageBytesMaxSend: ctx.extmsg ? 65535 : 4096,
})

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

// What the receiver does with the first message of a vector, by framer and decoder.
function receive(vector: Vector): Decoded | undefined {
  const codec = codecOf(vector)
  const framer = createFramer()
  framer.push(Buffer.from(vector.hex, 'hex'))
  const framed = framer.next(codec.messageBytesMaxReceive)
  if (framed === undefined) return undefined
  return framed.type === 'error' ? { ok: false, error: framed.error } : decodeMessage(framed.bytes, codec)
}

function dispositionOf(decoded: Decoded | undefined): Vector['disposition'] {
  if (decoded === undefined) return 'need-more-data'
  if (!decoded.ok) return 'session-reset'
  if (decoded.message.type === 'NOTIFICATION') return 'session-closed-by-peer'
  if (decoded.message.type === 'ROUTE-REFRESH' && decoded.message.subtype > 2) return 'ignore'
  const treatments = decoded.issues.map(({ treatment }) => treatment)
  if (treatments.includes('treat-as-withdraw')) return 'treat-as-withdraw'
  return treatments.includes('attribute-discard') ? 'attribute-discard' : 'ok'
}

// ------------------------------------------------------------------------------- vectors we do not follow, and why

const noReachableRoute =
  'RFC 7606 section 5.2: an attribute error beyond attribute-discard in an UPDATE that announces no route is a session reset'

const overruled: Readonly<Record<string, { readonly disposition: Vector['disposition']; readonly because: string }>> = {
  ...Object.fromEntries(
    [
      'bio-rd-0022',
      'bio-rd-0025',
      'bio-rd-0026',
      'bio-rd-0027',
      'bio-rd-0028',
      'bio-rd-0033',
      'bio-rd-0034',
      'gobgp-unit-0004',
      'pcap-tcpdump-0024',
      'pcap-tcpdump-0029',
      'pcap-tcpdump-0034',
      'pcap-tcpdump-0042',
      'pcap-tcpdump-0049',
      'pcap-tcpdump-0051',
      'pcap-tcpdump-0053',
      'pcap-tcpdump-0141',
    ].map((id) => [id, { disposition: 'session-reset', because: noReachableRoute }]),
  ),
  'exabgp-unit-0021': {
    disposition: 'treat-as-withdraw',
    because:
      'RFC 7607 section 2: read in two octets, as its context says, the AS_PATH of four-octet numbers contains AS 0',
  },
}

const dispositionExpected = ({ id, disposition }: Vector): Vector['disposition'] =>
  overruled[id]?.disposition ?? disposition

// ------------------------------------------------------------------------------------------------ expected decodes

const entries = (list: readonly VectorNlri[] = []): readonly string[] =>
  list.map(({ prefix, path_id }) => (path_id === undefined ? prefix : `${prefix} ${path_id}`))
const decodedEntries = (list: readonly Nlri[] = []): readonly string[] =>
  list.map(({ prefix, pathId }) => (pathId === undefined ? prefix : `${prefix} ${pathId}`))

const dotted = (value: number): string =>
  [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join('.')
const segmentNumbers = { AS_SET: 1, AS_SEQUENCE: 2, AS_CONFED_SEQUENCE: 3, AS_CONFED_SET: 4 }

// A decoded attribute in the notation of the vectors; undefined where the vectors hold it otherwise (raw bytes are theirs).
function attributeValue(code: number, update: UpdateMessage, codec: SessionCodec): unknown {
  const a = update.attributes
  switch (code) {
    case 1:
      return a.origin
    case 2:
      // With two octets the path is the one put together with AS4_PATH, which has tests of its own.
      if (!codec.fourOctetAs) return undefined
      return a.asPath?.map(({ type, asns }) => ({ type: segmentNumbers[type], asns }))
    case 3:
      return a.nextHop
    case 4:
      return a.med
    case 5:
      return a.localPref
    case 6:
      return a.atomicAggregate
    case 7:
      return codec.fourOctetAs ? a.aggregator && { as: a.aggregator.asn, ip: a.aggregator.address } : undefined
    case 8:
      return a.communities?.map((c) => `${Math.floor(c / 65536)}:${c % 65536}`)
    case 9:
      return a.originatorId === undefined ? undefined : dotted(a.originatorId)
    case 10:
      return a.clusterList?.map(dotted)
    case 16:
      return a.extendedCommunities
    case 32:
      return a.largeCommunities
    case 35:
      return a.onlyToCustomer
    default:
      return undefined
  }
}

function expectUpdate(vector: Vector, update: UpdateMessage): void {
  const { expected } = vector
  const codec = codecOf(vector)
  const { mpReach, mpUnreach } = update.attributes
  const ipv4 = codec.families.has('ipv4-unicast')
  expect(decodedEntries(update.withdrawn)).toEqual(ipv4 ? entries(expected.withdrawn) : [])
  expect(decodedEntries(update.nlri)).toEqual(ipv4 ? entries(expected.nlri) : [])
  const readable = (family = ''): boolean =>
    codec.families.has(familyNames[family] ?? 'ipv4-unicast') && family in familyNames
  if (readable(expected.mp_reach?.family)) {
    expect(mpReach?.nextHops).toEqual(expected.mp_reach?.next_hops)
    expect(decodedEntries(mpReach?.nlri)).toEqual(entries(expected.mp_reach?.nlri))
  }
  if (readable(expected.mp_unreach?.family))
    expect(decodedEntries(mpUnreach?.withdrawn)).toEqual(entries(expected.mp_unreach?.nlri))
  for (const { code, value, discarded, malformed } of expected.attrs ?? []) {
    if (discarded || malformed || value === undefined) continue
    const decoded = attributeValue(code, update, codec)
    if (decoded !== undefined) expect([code, decoded]).toEqual([code, value])
  }
}

// Every route of the message, announced or not, is to be found among the withdrawn of its family.
function expectWithdrawal({ expected }: Vector, { withdrawn, nlri, attributes }: UpdateMessage): void {
  const multiprotocol = (family: string): readonly VectorNlri[] =>
    [expected.mp_unreach, expected.mp_reach].flatMap((routes) => (routes?.family === family ? (routes.nlri ?? []) : []))
  const { withdrawn: ipv4 = [], nlri: announced = [] } = expected
  expect(decodedEntries(nlri)).toEqual([])
  expect(decodedEntries(withdrawn)).toEqual(entries([...ipv4, ...multiprotocol('1/1'), ...announced]))
  expect(decodedEntries(attributes.mpUnreach?.withdrawn)).toEqual(entries(multiprotocol('2/1')))
}

function expectDecode(vector: Vector, decoded: Decoded): void {
  if (!decoded.ok) throw new Error('a session reset has no decode')
  const { message } = decoded
  const { expected } = vector
  switch (message.type) {
    case 'OPEN':
      expect({
        version: message.version,
        as2: message.myAs,
        hold_time: message.holdTimeSeconds,
        bgp_id: dotted(message.bgpIdentifier),
      }).toEqual({
        version: expected.open?.version,
        as2: expected.open?.as2,
        hold_time: expected.open?.hold_time,
        bgp_id: expected.open?.bgp_id,
      })
      // 128 is the old code of route refresh and is read as it.
      expect(message.capabilities.map(capabilityCode)).toEqual(
        expected.open?.capabilities.map(({ code }) => (code === 128 ? 2 : code)),
      )
      break
    case 'UPDATE':
      if (vector.disposition === 'treat-as-withdraw') expectWithdrawal(vector, message)
      else expectUpdate(vector, message)
      expect(decoded.endOfRib && `${decoded.endOfRib.afi}/${decoded.endOfRib.safi}`).toEqual(expected.eor ?? undefined)
      break
    case 'NOTIFICATION':
      expect({ code: message.code, subcode: message.subcode, data: hex(message.data) }).toEqual(
        expect.objectContaining({ code: expected.notification_msg?.code, subcode: expected.notification_msg?.subcode }),
      )
      break
    case 'ROUTE-REFRESH':
      expect([message.afi, message.subtype, message.safi]).toEqual([
        expected.route_refresh?.afi,
        expected.route_refresh?.subtype,
        expected.route_refresh?.safi,
      ])
      break
    case 'KEEPALIVE':
      break
  }
}

// --------------------------------------------------------------------------------------------------------- the tests

const core = vectors.filter(({ scope }) => scope === 'core')
const high = core.filter(({ confidence }) => confidence === 'high')

const suite = `messages from the world${available ? '' : ` ${skipMark}needs a message corpus at ../shared/corpus]`}`
describe.runIf(available)(suite, () => {
  test.each(high.map((vector) => [vector.id, vector] as const))('%s is received as the RFCs say', (id, vector) => {
    const decoded = receive(vector)
    expect(dispositionOf(decoded)).toBe(dispositionExpected(vector))
    if (id in overruled || decoded === undefined) return
    if (decoded.ok) expectDecode(vector, decoded)
    else
      expect({ code: decoded.error.code, subcode: decoded.error.subcode, data: hex(decoded.error.data) }).toEqual(
        vector.notification,
      )
  })

  test('routes of families that were not negotiated neither end the session nor withdraw anything', () => {
    const others = vectors.filter(({ scope }) => scope === 'other-afi')
    expect(others.length).toBeGreaterThan(0)
    const resets = others.filter((vector) => dispositionOf(receive(vector)) === 'session-reset').map(({ id }) => id)
    expect(resets).toEqual([])
  })

  test('what is disputed is received without a crash, and counted', () => {
    const rest = core.filter(({ confidence }) => confidence !== 'high')
    const differing = rest.filter((vector) => dispositionOf(receive(vector)) !== vector.disposition)
    for (const confidence of ['medium', 'disputed']) {
      const of = (list: readonly Vector[]): number => list.filter((vector) => vector.confidence === confidence).length
      console.log(`${confidence} confidence: ${of(rest) - of(differing)} of ${of(rest)} vectors received as expected`)
    }
    for (const vector of differing)
      console.log(`  ${vector.id}: expected ${vector.disposition}, is ${dispositionOf(receive(vector))}`)
    expect(rest.length).toBeGreaterThan(0)
  })

  test('every exception is still one', () => {
    for (const [id, { disposition }] of Object.entries(overruled)) {
      const vector = high.find((candidate) => candidate.id === id)
      expect([id, vector?.disposition]).not.toEqual([id, disposition])
      expect([id, vector && dispositionOf(receive(vector))]).toEqual([id, disposition])
    }
  })

  test('the scanner and the decoder give one verdict on every UPDATE', () => {
    for (const vector of vectors) {
      const codec = codecOf(vector)
      const bytes = Buffer.from(vector.hex, 'hex')
      if (bytes[18] === 2)
        expect([vector.id, verdictOfScan(bytes, codec)]).toEqual([vector.id, verdictOfDecode(bytes, codec)])
    }
  })
})
