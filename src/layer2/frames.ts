// The frames by which a node says on its link that it has an address, asks whether somebody else has it, and what it hears back:
// ARP for IPv4 (RFC 826, RFC 5227), neighbour discovery for IPv6 (RFC 4861, RFC 4862). Ethernet only; bytes in and out, no sockets.
//
//   Ethernet   destination(6) source(6) type(2)
//   ARP        hardware(2) protocol(2) lengths(1,1) operation(2) sender MAC(6) sender IP(4) target MAC(6) target IP(4)
//   IPv6       version, class, flow(4) length(2) next(1) hop limit(1) source(16) destination(16)
//   NS         type 135(1) code(1) checksum(2) reserved(4) target(16) [option source MAC(8)]
//   NA         type 136(1) code(1) checksum(2) flags(4) target(16) option target MAC(8)

import { familyOf, type Ip, ipFromBytes, ipToBytes, parseIp } from '../net/ip.ts'
import { must } from '../runtime/result.ts'

export const etherTypeArp = 0x0806
export const etherTypeIpv6 = 0x86dd

const icmpv6 = 58
const neighborSolicitation = 135
const neighborAdvertisement = 136
const arpRequest = 1
const arpReply = 2

/** RFC 4861 section 4.4: flags of an advertisement. */
const flags = { router: 0x80, solicited: 0x40, override: 0x20 } as const

const broadcast = Uint8Array.of(255, 255, 255, 255, 255, 255)
const nobody = new Uint8Array(6)
const allNodes = ipToBytes(must(parseIp('ff02::1')))
const unspecified = new Uint8Array(16)
/** RFC 4861 section 7.1: what a router has forwarded is not believed. */
const hopLimit = 255

/** Six bytes; undefined when the text is no MAC. */
export function parseMac(text: string): Uint8Array | undefined {
  const parts = text.split(':')
  if (parts.length !== 6 || !parts.every((part) => /^[0-9a-f]{2}$/i.test(part))) return undefined
  return Uint8Array.from(parts, (part) => Number.parseInt(part, 16))
}

export const renderMac = (mac: Uint8Array): string =>
  [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':')

/**
 * Tells everybody on the link that `mac` has `address`: gratuitous ARP as a request and as a reply, because stacks differ in which of
 * the two they believe (RFC 5227 section 3); an unsolicited advertisement with the override flag (RFC 4861 section 7.2.6).
 */
export function announcements(
  address: Ip,
  mac: Uint8Array,
  { router }: { readonly router: boolean },
): readonly Uint8Array[] {
  const ip = ipToBytes(address)
  if (familyOf(address) === 'IPv6') return [advertisement(ip, mac, router)]
  return [
    arp({ to: broadcast, from: mac, operation: arpRequest, senderIp: ip, targetMac: nobody, targetIp: ip }),
    arp({ to: broadcast, from: mac, operation: arpReply, senderIp: ip, targetMac: broadcast, targetIp: ip }),
  ]
}

/**
 * Asks whether somebody has `address`, without claiming it: an ARP probe with sender 0.0.0.0 (RFC 5227 section 2.1.1), or the
 * solicitation of duplicate address detection, from :: (RFC 4862 section 5.4.2).
 */
export function probe(address: Ip, mac: Uint8Array): Uint8Array {
  const ip = ipToBytes(address)
  if (familyOf(address) === 'IPv4')
    return arp({
      to: broadcast,
      from: mac,
      operation: arpRequest,
      senderIp: new Uint8Array(4),
      targetMac: nobody,
      targetIp: ip,
    })
  const body = new Uint8Array(24)
  body[0] = neighborSolicitation
  body.set(ip, 8)
  return ipv6({ from: mac, source: unspecified, destination: solicitedNode(ip), body })
}

/** Somebody says to have an address. */
export interface Claim {
  readonly address: Ip
  readonly mac: string
}

/** What a received frame claims; undefined for all that claims nothing, and for what is malformed. */
export function decodeClaim(frame: Uint8Array): Claim | undefined {
  if (frame.length < 14) return undefined
  const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0)
  if (type === etherTypeArp) return decodeArp(frame)
  return type === etherTypeIpv6 ? decodeAdvertisement(frame) : undefined
}

function decodeArp(frame: Uint8Array): Claim | undefined {
  const isEthernetForIpv4 = [0, 1, 8, 0, 6, 4].every((byte, i) => frame[14 + i] === byte)
  if (frame.length < 42 || !isEthernetForIpv4) return undefined
  const operation = frame[21]
  const sender = frame.subarray(28, 32)
  // A probe claims nothing; a request for another address is how everybody speaks all day.
  const isAnnouncement = sender.every((byte, i) => byte === frame[38 + i])
  if (sender.every((byte) => byte === 0) || (operation !== arpReply && !isAnnouncement)) return undefined
  return { address: ipFromBytes(frame, 28, 4), mac: renderMac(frame.subarray(22, 28)) }
}

function decodeAdvertisement(frame: Uint8Array): Claim | undefined {
  if (frame.length < 14 + 40 + 24 || frame[20] !== icmpv6 || frame[21] !== hopLimit) return undefined
  if (frame[54] !== neighborAdvertisement || frame[55] !== 0) return undefined
  // With no option the link-layer source is who speaks.
  const hasOption = frame.length >= 86 && frame[78] === 2 && frame[79] === 1
  return {
    address: ipFromBytes(frame, 62, 16),
    mac: renderMac(hasOption ? frame.subarray(80, 86) : frame.subarray(6, 12)),
  }
}

function arp(of: {
  readonly to: Uint8Array
  readonly from: Uint8Array
  readonly operation: number
  readonly senderIp: Uint8Array
  readonly targetMac: Uint8Array
  readonly targetIp: Uint8Array
}): Uint8Array {
  const frame = new Uint8Array(60)
  frame.set(of.to, 0)
  frame.set(of.from, 6)
  frame.set([etherTypeArp >> 8, etherTypeArp & 0xff, 0, 1, 8, 0, 6, 4, 0, of.operation], 12)
  frame.set(of.from, 22)
  frame.set(of.senderIp, 28)
  frame.set(of.targetMac, 32)
  frame.set(of.targetIp, 38)
  return frame
}

function advertisement(address: Uint8Array, mac: Uint8Array, router: boolean): Uint8Array {
  const body = new Uint8Array(32)
  body[0] = neighborAdvertisement
  body[4] = flags.override | (router ? flags.router : 0)
  body.set(address, 8)
  // Option 2, target link-layer address, of one unit of eight octets.
  body.set([2, 1], 24)
  body.set(mac, 26)
  return ipv6({ from: mac, source: address, destination: allNodes, body })
}

// RFC 4291 section 2.7.1: the group in which every node hears who asks for its address.
const solicitedNode = (address: Uint8Array): Uint8Array =>
  Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...address.subarray(13))

function ipv6(of: {
  readonly from: Uint8Array
  readonly source: Uint8Array
  readonly destination: Uint8Array
  readonly body: Uint8Array
}): Uint8Array {
  const frame = new Uint8Array(14 + 40 + of.body.length)
  // RFC 2464 section 7: 33:33 and the last four octets of the group.
  frame.set([0x33, 0x33, ...of.destination.subarray(12)], 0)
  frame.set(of.from, 6)
  frame.set([etherTypeIpv6 >> 8, etherTypeIpv6 & 0xff, 0x60, 0, 0, 0, 0, of.body.length, icmpv6, hopLimit], 12)
  frame.set(of.source, 22)
  frame.set(of.destination, 38)
  frame.set(of.body, 54)
  const sum = checksum(of.source, of.destination, of.body)
  frame[56] = sum >> 8
  frame[57] = sum & 0xff
  return frame
}

// RFC 8200 section 8.1: over the addresses, the length and the next header, and the message with a checksum of 0.
function checksum(source: Uint8Array, destination: Uint8Array, body: Uint8Array): number {
  let sum = body.length + icmpv6
  for (const part of [source, destination, body])
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
