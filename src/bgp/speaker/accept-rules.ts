// Whose connection is it? What a listening socket has to know before anybody has connected: which peer or range an address belongs
// to, the key of TCP-MD5 that the kernel is to ask of it, and the least TTL its packets may have. Pure: tcp-listener.ts and the
// network in memory carry it out, and the core asks the same question of the same rules.
//
// An address tells little: the port a router connects from is any, so of several peers at one place a connection goes to the one
// that has our end of it as its source address, then to one without a source address; among equals to a passive one, which can
// have no other, and then to the first by name. The others get their sessions by dialling.

import { familyOf, type Ip, type IpFamily } from '../../net/ip.ts'
import { hostPrefix, type Prefix, prefixAddress, prefixContains, prefixFamily, prefixLength } from '../../net/prefix.ts'
import { type AcceptOptions, type AcceptRange, isSamePlace, type PeerRefusal, type Place } from './transport.ts'

/** The peer a connection belongs to, among `peers` in the order of preference. */
export function acceptorOf<Peer extends Pick<AcceptOptions, 'address' | 'zone' | 'localAddress'>>(
  peers: readonly Peer[],
  remote: Place,
  local: Ip,
): Peer | undefined {
  const candidates = peers.filter((peer) => isSamePlace(peer, remote))
  return (
    candidates.find(({ localAddress }) => localAddress === local) ??
    candidates.find(({ localAddress }) => localAddress === undefined) ??
    candidates[0]
  )
}

/** The longest of the ranges that hold an address. */
export function rangeOf<Range extends Pick<AcceptRange, 'range'>>(
  ranges: readonly Range[],
  address: Ip,
): Range | undefined {
  let best: Range | undefined
  for (const candidate of ranges)
    if (prefixContains(candidate.range, address) && (best === undefined || isLonger(candidate.range, best.range)))
      best = candidate
  return best
}

const isLonger = (a: Prefix, b: Prefix): boolean => prefixLength(a) > prefixLength(b)

/** The keys by network, and the peers whose connections can not be told from others with another key. */
export interface Keys {
  readonly keys: ReadonlyMap<Prefix, string>
  readonly refusals: readonly PeerRefusal[]
}

/**
 * The kernel looks a key up by the address alone, the longest network first, and knows no network without a key inside one that has
 * one. So one address has one key, whatever interface it is on (TCP_MD5SIG_EXT takes an interface, but of VRFs only).
 */
export function keysOf(peers: readonly AcceptOptions[], ranges: readonly AcceptRange[]): Keys {
  const keys = new Map<Prefix, string>()
  const refusals: PeerRefusal[] = []
  const owners = new Map<Prefix, AcceptOptions>()
  for (const peer of peers) {
    const network = hostPrefix(peer.address)
    const owner = owners.get(network)
    if (owner !== undefined && owner.password !== peer.password)
      refusals.push({ peer, reason: otherKey(peer, owner), incomingOnly: true })
    else if (owner === undefined) {
      owners.set(network, peer)
      if (peer.password !== undefined) keys.set(network, peer.password)
      else refusals.push(...keyOfWider(peer, network, ranges))
    }
  }
  for (const range of ranges)
    if (range.password !== undefined) keys.set(range.range, range.password)
    else refusals.push(...keyOfWider(range, range.range, ranges))
  return { keys, refusals }
}

const otherKey = (peer: AcceptOptions, owner: AcceptOptions): string =>
  isSamePlace(peer, owner)
    ? 'another peer has the same address and another TCP-MD5 password, and the kernel knows one for each address'
    : `the kernel knows one TCP-MD5 password for each address, whatever the interface, and that of ${peer.address} is the one of ${owner.zone}`

function keyOfWider(
  peer: AcceptOptions | AcceptRange,
  network: Prefix,
  ranges: readonly AcceptRange[],
): readonly PeerRefusal[] {
  const wider = rangeOf(
    ranges.filter(({ range, password }) => password !== undefined && isLonger(network, range)),
    prefixAddress(network),
  )
  if (wider === undefined) return []
  return [
    {
      peer,
      reason: `the kernel asks the TCP-MD5 password of the range ${wider.range} of everybody in it`,
      incomingOnly: true,
    },
  ]
}

/** Of packets from `source` those with a lower TTL are dropped; 0 lets all pass. */
export interface SourceRule {
  readonly source: Prefix
  readonly ttlMin: number
}

/**
 * GTSM by source, for packets that arrive before anybody has accepted the connection: the first rule that fits decides, and where none
 * fits everything may pass. Empty when nobody asks for GTSM. Of several peers at one address the strictest counts.
 */
export function ttlRulesOf(
  family: IpFamily,
  peers: readonly AcceptOptions[],
  ranges: readonly AcceptRange[],
): readonly SourceRule[] {
  const own = new Map<Prefix, number>()
  for (const { address, ttlMin = 0 } of peers)
    if (familyOf(address) === family) {
      const source = hostPrefix(address)
      own.set(source, Math.max(ttlMin, own.get(source) ?? 0))
    }
  const networks = ranges
    .filter(({ range }) => prefixFamily(range) === family)
    .toSorted((a, b) => prefixLength(b.range) - prefixLength(a.range))
    .map(({ range, ttlMin = 0 }) => ({ source: range, ttlMin }))
  const guarded = networks.filter(({ ttlMin }) => ttlMin > 0)
  // A rule that lets everything pass is needed only inside one that does not.
  const isInside = ({ source }: SourceRule): boolean =>
    guarded.some((wider) => wider.source !== source && prefixContains(wider.source, prefixAddress(source)))
  return [...[...own].map(([source, ttlMin]) => ({ source, ttlMin })), ...networks].filter(
    (rule) => rule.ttlMin > 0 || isInside(rule),
  )
}
