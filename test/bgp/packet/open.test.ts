import { describe, expect, test } from 'vitest'
import { decodeMessage } from '../../../src/bgp/packet/decode.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import { type Capability, type OpenMessage, openingCodec } from '../../../src/bgp/packet/message.ts'
import { message, openWith, toHex } from './wire.ts'

function capabilitiesOf(bytes: Uint8Array): readonly Capability[] {
  const decoded = decodeMessage(bytes, openingCodec)
  if (!decoded.ok || decoded.message.type !== 'OPEN') throw new Error(`refused: ${JSON.stringify(decoded)}`)
  return decoded.message.capabilities
}

const unknown = (code: number, ...bytes: number[]): Capability => ({
  type: 'unknown',
  code,
  bytes: Uint8Array.from(bytes),
})

const ipv4 = { afi: 1, safi: 1 }
const ipv6 = { afi: 2, safi: 1 }

describe('the fixed fields', () => {
  test('an OPEN without parameters (RFC 4271 section 4.2)', () => {
    expect(decodeMessage(openWith(''), openingCodec)).toEqual({
      ok: true,
      message: {
        type: 'OPEN',
        version: 4,
        myAs: 65001,
        holdTimeSeconds: 90,
        bgpIdentifier: 0x0a000001,
        capabilities: [],
      },
      issues: [],
    })
  })

  test.each<[string, string, [number, number, string]]>([
    ['version 3: 2/1 with the version we speak (RFC 4271 section 6.2)', '03 fde9 005a 0a000001 00', [2, 1, '0004']],
    ['version 5', '05 fde9 005a 0a000001 00', [2, 1, '0004']],
    ['AS 0: 2/2 (RFC 7607 section 2)', '04 0000 005a 0a000001 00', [2, 2, '']],
    ['AS 0 in the capability: 2/2', '04 5ba0 005a 0a000001 08 02 06 41 04 00000000', [2, 2, '']],
    ['hold time 1: 2/6', '04 fde9 0001 0a000001 00', [2, 6, '']],
    ['hold time 2: 2/6', '04 fde9 0002 0a000001 00', [2, 6, '']],
    ['identifier 0: 2/3 (RFC 6286 section 2.2)', '04 fde9 005a 00000000 00', [2, 3, '']],
    ['several errors: the version comes first', '03 0000 0001 00000000 00', [2, 1, '0004']],
  ])('%s', (_, body, [code, subcode, data]) => {
    const decoded = decodeMessage(message(1, body), openingCodec)
    if (decoded.ok) throw new Error('not refused')
    expect([decoded.error.code, decoded.error.subcode, toHex(decoded.error.data)]).toEqual([code, subcode, data])
  })

  test.each([0, 3, 65535])('a hold time of %i s is legal', (holdTime) => {
    const decoded = decodeMessage(
      message(1, `04 fde9 ${holdTime.toString(16).padStart(4, '0')} 0a000001 00`),
      openingCodec,
    )
    expect(decoded).toMatchObject({ ok: true, message: { holdTimeSeconds: holdTime } })
  })
})

describe('optional parameters', () => {
  const two: readonly Capability[] = [
    { type: 'multiprotocol', ...ipv4 },
    { type: 'four-octet-as', asn: 65001 },
  ]

  test.each<[string, Uint8Array]>([
    ['all capabilities in one parameter (RFC 5492 section 4)', openWith('02 0c 01 04 00010001 41 04 0000fde9')],
    ['one parameter each', openWith('02 06 01 04 00010001 02 06 41 04 0000fde9')],
    ['an empty parameter between', openWith('02 06 01 04 00010001 02 00 02 06 41 04 0000fde9')],
    [
      'extended, though small (RFC 9072 section 2)',
      message(1, '04 fde9 005a 0a000001 ff ff 000f 02 000c 01 04 00010001 41 04 0000fde9'),
    ],
    [
      'extended, with an old length that is not 255: the type octet decides',
      message(1, '04 fde9 005a 0a000001 2a ff 000f 02 000c 01 04 00010001 41 04 0000fde9'),
    ],
    [
      'extended, one parameter each',
      message(1, '04 fde9 005a 0a000001 ff ff 0012 02 0006 01 04 00010001 02 0006 41 04 0000fde9'),
    ],
  ])('%s', (_, bytes) => {
    expect(capabilitiesOf(bytes)).toEqual(two)
  })

  test.each<[string, Uint8Array, [number, number]]>([
    ['an unknown parameter: 2/4 (RFC 4271 section 6.2)', openWith('03 02 0000'), [2, 4]],
    ['the authentication parameter, deprecated: 2/4', openWith('01 01 00'), [2, 4]],
    ['parameter 255 behind another', openWith('02 00 ff 00'), [2, 4]],
    ['parameter 255 inside the extended form', message(1, '04 fde9 005a 0a000001 ff ff 0003 ff 0000'), [2, 4]],
    ['parameters shorter than announced', message(1, '04 fde9 005a 0a000001 08 02 02 02 00'), [2, 0]],
    ['octets behind the parameters', message(1, '04 fde9 005a 0a000001 04 02 02 02 00 00'), [2, 0]],
    ['octets behind no parameters', message(1, '04 fde9 005a 0a000001 00 00'), [2, 0]],
    ['a parameter that runs beyond the end', openWith('02 03 02 00'), [2, 0]],
    ['a parameter of one octet', openWith('02'), [2, 0]],
    ['extended parameters longer than the message', message(1, '04 fde9 005a 0a000001 ff ff 0004 02 0000'), [2, 0]],
    ['extended parameters without a length', message(1, '04 fde9 005a 0a000001 ff ff 00'), [2, 0]],
    ['an extended parameter that runs beyond the end', message(1, '04 fde9 005a 0a000001 ff ff 0003 02 0001'), [2, 0]],
    ['a capability that runs beyond its parameter (RFC 5492 section 4)', openWith('02 03 41 04 00'), [2, 0]],
    ['a capability code without a length', openWith('02 01 41'), [2, 0]],
    [
      'a four-octet-as capability of three octets: it would misread every AS_PATH',
      openWith('02 05 41 03 000001'),
      [2, 0],
    ],
  ])('%s', (_, bytes, [code, subcode]) => {
    const decoded = decodeMessage(bytes, openingCodec)
    if (decoded.ok) throw new Error('not refused')
    expect([decoded.error.code, decoded.error.subcode]).toEqual([code, subcode])
  })
})

// Each real hex is the capability's value, or a malformed one, which is kept and ignored.
describe('capabilities', () => {
  test.each<[string, string, Capability]>([
    ['multiprotocol (RFC 4760 section 8)', '01 04 00020001', { type: 'multiprotocol', ...ipv6 }],
    ['multiprotocol with its reserved octet set', '01 04 0002ff01', { type: 'multiprotocol', ...ipv6 }],
    ['multiprotocol of two octets', '01 02 0002', unknown(1, 0, 2)],
    ['route refresh (RFC 2918)', '02 00', { type: 'route-refresh' }],
    ['route refresh under its old code', '80 00', { type: 'route-refresh' }],
    ['route refresh with a value', '02 01 00', unknown(2, 0)],
    [
      'extended next hop (RFC 8950 section 4)',
      '05 06 0001 0001 0002',
      { type: 'extended-next-hop', tuples: [{ ...ipv4, nextHopAfi: 2 }] },
    ],
    ['extended next hop of five octets', '05 05 0001000100', unknown(5, 0, 1, 0, 1, 0)],
    ['extended message (RFC 8654 section 3)', '06 00', { type: 'extended-message' }],
    ['role (RFC 9234 section 4.1)', '09 01 03', { type: 'role', role: 3 }],
    ['role of two octets', '09 02 0303', unknown(9, 3, 3)],
    [
      'graceful restart (RFC 4724 section 3, RFC 8538 section 2)',
      '40 0a c078 0001 01 80 0002 01 00',
      {
        type: 'graceful-restart',
        restarting: true,
        notification: true,
        restartTimeSeconds: 120,
        families: [
          { ...ipv4, forwardingPreserved: true },
          { ...ipv6, forwardingPreserved: false },
        ],
      },
    ],
    [
      'graceful restart for helping only',
      '40 02 0fff',
      { type: 'graceful-restart', restarting: false, notification: false, restartTimeSeconds: 4095, families: [] },
    ],
    ['graceful restart of three octets', '40 03 005a00', unknown(64, 0, 0x5a, 0)],
    ['four-octet AS (RFC 6793 section 3)', '41 04 fa56ea00', { type: 'four-octet-as', asn: 4_200_000_000 }],
    [
      'ADD-PATH (RFC 7911 section 4)',
      '45 0c 00010101 00020102 00010203',
      {
        type: 'add-path',
        families: [
          { ...ipv4, mode: 'receive' },
          { ...ipv6, mode: 'send' },
          { afi: 1, safi: 2, mode: 'both' },
        ],
      },
    ],
    [
      'ADD-PATH with a tuple of mode 0, as FRR sends for a family switched off: only the tuple is ignored',
      '45 08 00010100 00020103',
      { type: 'add-path', families: [{ ...ipv6, mode: 'both' }] },
    ],
    ['ADD-PATH of three octets', '45 03 000101', unknown(69, 0, 1, 1)],
    ['enhanced route refresh (RFC 7313 section 3.1)', '46 00', { type: 'enhanced-route-refresh' }],
    [
      'long-lived graceful restart (RFC 9494 section 3)',
      '47 07 0001 01 80 015180',
      {
        type: 'long-lived-graceful-restart',
        families: [{ ...ipv4, forwardingPreserved: true, staleTimeSeconds: 86400 }],
      },
    ],
    ['long-lived graceful restart of five octets', '47 05 0001018000', unknown(71, 0, 1, 1, 0x80, 0)],
    ['host name', '49 08 03 746f72 03 6c6162', { type: 'fqdn', hostname: 'tor', domain: 'lab' }],
    ['host name without a domain', '49 05 03 746f72 00', { type: 'fqdn', hostname: 'tor', domain: '' }],
    ['host name that is not UTF-8', '49 04 02 72ff 00', unknown(73, 2, 0x72, 0xff, 0)],
    ['host name longer than its capability', '49 03 05 7465', unknown(73, 5, 0x74, 0x65)],
    ['host name with a domain longer than its capability', '49 04 01 74 05 6c', unknown(73, 1, 0x74, 5, 0x6c)],
    ['host name with something behind the domain', '49 04 01 74 00 6c', unknown(73, 1, 0x74, 0, 0x6c)],
    ['software version', '4b 04 03 312e30', { type: 'software-version', version: '1.0' }],
    ['software version with a wrong length', '4b 04 09 312e30', unknown(75, 9, 0x31, 0x2e, 0x30)],
    ['paths limit', '4c 05 0001 01 0010', { type: 'paths-limit', families: [{ ...ipv4, limit: 16 }] }],
    ['a capability that nobody knows', 'ef 02 0102', unknown(239, 1, 2)],
  ])('%s', (_, hex, capability) => {
    const octets = hex.replaceAll(' ', '').length / 2
    expect(capabilitiesOf(openWith(`02 ${octets.toString(16).padStart(2, '0')} ${hex}`))).toEqual([capability])
  })
})

describe('what we send', () => {
  const open = (capabilities: readonly Capability[]): OpenMessage => ({
    type: 'OPEN',
    version: 4,
    myAs: 64512,
    holdTimeSeconds: 90,
    bgpIdentifier: 0x0a000001,
    capabilities,
  })
  const parametersOf = (capabilities: readonly Capability[]): string =>
    toHex(encodeMessage(open(capabilities), openingCodec)).slice(2 * 28)
  const padding = (bytes: number): Capability => unknown(239, ...Array.from({ length: bytes }, () => 0))

  test('all capabilities stand in one parameter', () => {
    expect(parametersOf([{ type: 'multiprotocol', ...ipv4 }, { type: 'route-refresh' }])).toBe(
      '0a0208' + '010400010001' + '0200',
    )
  })

  test('no capabilities: no parameter', () => {
    expect(parametersOf([])).toBe('00')
  })

  test('254 octets of parameters are classic', () => {
    expect(parametersOf([padding(250)]).slice(0, 8)).toBe('fe02fcef')
  })

  test('255 octets are extended, because routers take a classic length of 255 for the extended marker', () => {
    expect(parametersOf([padding(251)]).slice(0, 18)).toBe('ffff010002' + '00fdeffb')
  })

  test('more octets are extended (RFC 9072)', () => {
    const capabilities = [padding(200), padding(200)]
    expect(parametersOf(capabilities).slice(0, 8)).toBe('ffff0197')
    expect(capabilitiesOf(encodeMessage(open(capabilities), openingCodec))).toEqual(capabilities)
  })

  test('a capability of more than 255 octets is our mistake', () => {
    expect(() => parametersOf([padding(256)])).toThrow()
  })

  test('a host name is cut between characters to fit', () => {
    const hostname = 'é'.repeat(200)
    const [capability] = capabilitiesOf(encodeMessage(open([{ type: 'fqdn', hostname, domain: 'lab' }]), openingCodec))
    expect(capability).toEqual({ type: 'fqdn', hostname: 'é'.repeat(126), domain: 'l' })
  })
})
