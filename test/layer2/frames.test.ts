// The frames on the wire, octet by octet, and what is understood of those of others.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { announcements, decodeClaim, parseMac, probe, renderMac } from '../../src/layer2/frames.ts'
import { parseIp } from '../../src/net/ip.ts'
import { must } from '../../src/runtime/result.ts'

const mac = '02:00:5e:10:00:01'
const bytes = parseMac(mac) ?? new Uint8Array()
const ipv4 = must(parseIp('203.0.113.10'))
const ipv6 = must(parseIp('2001:db8::10'))
const hex = (frame: Uint8Array | undefined): string => Buffer.from(frame ?? []).toString('hex')
const frame = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))

describe('what we say', () => {
  test('gratuitous ARP is a request and a reply, sender and target the same (RFC 5227 section 3)', () => {
    const padding = '00'.repeat(18)
    expect(announcements(ipv4, bytes, { router: true }).map(hex)).toEqual([
      `ffffffffffff02005e1000010806 0001080006040001 02005e100001cb00710a 000000000000cb00710a`.replaceAll(' ', '') +
        padding,
      `ffffffffffff02005e1000010806 0001080006040002 02005e100001cb00710a ffffffffffffcb00710a`.replaceAll(' ', '') +
        padding,
    ])
  })

  test('an ARP probe has no sender (RFC 5227 section 2.1.1)', () => {
    expect(hex(probe(ipv4, bytes)).slice(28, 84)).toBe(
      '0001080006040001 02005e10000100000000 000000000000cb00710a'.replaceAll(' ', ''),
    )
  })

  test('an unsolicited advertisement overrides, from the address to all nodes (RFC 4861 section 7.2.6)', () => {
    const [said] = announcements(ipv6, bytes, { router: false })
    const text = hex(said)
    expect(text.slice(0, 28)).toBe('33330000000102005e10000186dd')
    expect(text.slice(28, 44)).toBe('6000000000203aff')
    expect(text.slice(44, 108)).toBe(`20010db8000000000000000000000010${'ff020000000000000000000000000001'}`)
    expect(text.slice(108, 112)).toBe('8800')
    expect(text.slice(116, 124)).toBe('20000000')
    expect(text.slice(124)).toBe('20010db80000000000000000000000100201' + '02005e100001')
  })

  test('the router flag is the one that the kernel sends', () => {
    expect(announcements(ipv6, bytes, { router: true })[0]?.[58]).toBe(0xa0)
  })

  test('a solicitation of duplicate address detection comes from nowhere (RFC 4862 section 5.4.2)', () => {
    const text = hex(probe(ipv6, bytes))
    expect(text.slice(0, 12)).toBe('3333ff000010')
    expect(text.slice(44, 108)).toBe(`${'00'.repeat(16)}ff0200000000000000000001ff000010`)
    expect(text.slice(108)).toMatch(/^8700[0-9a-f]{4}0000000020010db8000000000000000000000010$/)
  })

  test.each([announcements(ipv6, bytes, { router: false })[0], probe(ipv6, bytes)])('the checksum is right', (said) => {
    const message = said ?? new Uint8Array()
    // RFC 8200 section 8.1: over all of it, checksum included, the sum is all ones.
    let sum = message.length - 54 + 58
    for (let i = 22; i < message.length; i += 2) sum += ((message[i] ?? 0) << 8) | (message[i + 1] ?? 0)
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
    expect(sum).toBe(0xffff)
  })
})

describe('what others say', () => {
  const theirs = 'aabbcc000001'
  const arp = (operation: string, sender: string, target: string): Uint8Array =>
    frame(`ffffffffffff ${theirs} 0806 0001 0800 06 04 ${operation} ${theirs} ${sender} 000000000000 ${target}`)

  test.each([
    ['an ARP reply', arp('0002', 'cb00710a', '0a000001')],
    ['a gratuitous request', arp('0001', 'cb00710a', 'cb00710a')],
  ])('%s is a claim', (_, said) => {
    expect(decodeClaim(said)).toEqual({ address: ipv4, mac: 'aa:bb:cc:00:00:01' })
  })

  test.each([
    ['a request for another address', arp('0001', 'cb00710a', '0a000001')],
    ['a probe', arp('0001', '00000000', 'cb00710a')],
    ['a reply for no address', arp('0002', '00000000', 'cb00710a')],
    ['half of a reply', arp('0002', 'cb00710a', '0a000001').subarray(0, 40)],
    ['something else', frame('ffffffffffff aabbcc000001 0800 4500')],
  ])('%s is none', (_, said) => {
    expect(decodeClaim(said)).toBe(undefined)
  })

  test('an advertisement is a claim, by its option or by who sent it', () => {
    const [said] = announcements(ipv6, bytes, { router: false })
    if (said === undefined) throw new Error('nothing was said')
    expect(decodeClaim(said)).toEqual({ address: ipv6, mac })
    expect(decodeClaim(said.subarray(0, 78))).toEqual({ address: ipv6, mac })
    // Forwarded by a router: forged.
    expect(decodeClaim(said.with(21, 254))).toBe(undefined)
  })

  test('no octets make the decoder throw', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (any) => void decodeClaim(any)))
  })

  test('a MAC is the same after it was written', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (any) => {
        expect(parseMac(renderMac(any))).toEqual(any)
      }),
    )
    for (const bad of ['', '02:00', '02:00:5e:10:00:0g', '02:00:5e:10:00:01:02']) expect(parseMac(bad)).toBe(undefined)
  })
})
