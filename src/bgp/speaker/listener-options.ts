// What the kernel has to know of those who may connect, kept up on the listening sockets: keys of TCP-MD5, least TTLs. Both are judged
// before anybody accepts a connection, so they are looked up by the source of a packet and stand on the listening socket; every
// connection inherits them.

import { byFirstRule, filterRulesMax } from '../../bfd/socket-filter.ts'
import type { IpFamily } from '../../net/ip.ts'
import { hostPrefix, type Prefix, prefixFamily } from '../../net/prefix.ts'
import type { Descriptor } from '../../runtime/libc.ts'
import type { Result } from '../../runtime/result.ts'
import { keysOf, type SourceRule, ttlRulesOf } from './accept-rules.ts'
import { type NativeError, type NativeSockets, ttlOfListener } from './native-sockets.ts'
import type { AcceptOptions, AcceptRange, PeerRefusal } from './transport.ts'

/** A listening socket as far as its options go. */
export interface OptionedSocket {
  readonly family: IpFamily
  /** Present when the socket is a native one, so that options can be set. */
  readonly fd: Descriptor | undefined
  /** Passwords by network, as they stand on this socket. */
  readonly keys: Map<Prefix, string>
  /** The rules of the filter that stands on this socket, as text; '' = none was ever attached. */
  filter: string
}

type Native = Result<NativeSockets, NativeError>

/** Makes the sockets ask of peers what they have to; returns those who can not be asked, and are not let in. */
export function setListenerOptions(
  listening: readonly OptionedSocket[],
  peers: readonly AcceptOptions[],
  ranges: readonly AcceptRange[],
  sockets: Native,
): readonly PeerRefusal[] {
  if (!sockets.ok) return withoutLibrary([...peers, ...ranges], sockets.error)
  const { keys, refusals } = keysOf(peers, ranges)
  const failures = new Map<Prefix, string>()
  for (const [network, password] of keys) {
    const reason = setKey(listening, network, password, sockets.value)
    if (reason !== undefined) failures.set(network, reason)
  }
  removeKeys(listening, keys, sockets.value)
  setLeastHops(listening, [...peers, ...ranges], sockets.value)
  return [
    ...refusals,
    ...[...peers, ...ranges].flatMap((peer) => {
      const reason = peer.password === undefined ? undefined : failures.get(networkOf(peer))
      return reason === undefined ? [] : [{ peer, reason }]
    }),
    ...setFilters(listening, peers, ranges, sockets.value),
  ]
}

const withoutLibrary = (
  peers: readonly (AcceptOptions | AcceptRange)[],
  { reason }: NativeError,
): readonly PeerRefusal[] => peers.filter(({ password }) => password !== undefined).map((peer) => ({ peer, reason }))

const networkOf = (peer: AcceptOptions | AcceptRange): Prefix =>
  'range' in peer ? peer.range : hostPrefix(peer.address)

/** Why connections from this network can not be let in with its password, or undefined when they can. */
function setKey(
  listening: readonly OptionedSocket[],
  network: Prefix,
  password: string,
  sockets: NativeSockets,
): string | undefined {
  for (const { family, fd, keys } of listening) {
    if (family !== prefixFamily(network) || keys.get(network) === password) continue
    const failure = fd === undefined ? undefined : sockets.setKey(fd, network, password)
    if (failure !== undefined) return failure.reason
    keys.set(network, password)
  }
  return undefined
}

// A key that nobody needs any more would keep a peer out that has become one without a password.
function removeKeys(
  listening: readonly OptionedSocket[],
  wanted: ReadonlyMap<Prefix, string>,
  sockets: NativeSockets,
): void {
  for (const { fd, keys } of listening)
    for (const network of [...keys.keys()].filter((known) => !wanted.has(known))) {
      if (fd !== undefined) sockets.setKey(fd, network, undefined)
      keys.delete(network)
    }
}

// Where everybody has a least TTL, strangers from further away do not even get an answer.
function setLeastHops(
  listening: readonly OptionedSocket[],
  peers: readonly (AcceptOptions | AcceptRange)[],
  sockets: NativeSockets,
): void {
  for (const { fd, family } of listening) {
    const least = peers.filter((peer) => prefixFamily(networkOf(peer)) === family).map(({ ttlMin = 0 }) => ttlMin)
    if (fd === undefined || least.length === 0) continue
    // A failure shows, in words, on each connection, whose least TTL is set again.
    sockets.setHops(fd, family, { ttl: ttlOfListener, ttlMin: Math.min(...least) })
  }
}

// IP_MINTTL of a connection is set when we hear of it; what came before (the handshake, and what a router said at once) would go
// unchecked beside peers without GTSM. A filter judges it by its source. A socket of one family may stand there several times.
function setFilters(
  listening: readonly OptionedSocket[],
  peers: readonly AcceptOptions[],
  ranges: readonly AcceptRange[],
  sockets: NativeSockets,
): readonly PeerRefusal[] {
  const reasons = new Map<IpFamily, string>()
  for (const socket of listening) {
    const rules = ttlRulesOf(socket.family, peers, ranges)
    const reason = setFilter(socket, rules, sockets)
    if (reason !== undefined) reasons.set(socket.family, reason)
  }
  return [...peers, ...ranges].flatMap((peer) => {
    const reason = (peer.ttlMin ?? 0) === 0 ? undefined : reasons.get(prefixFamily(networkOf(peer)))
    return reason === undefined ? [] : [{ peer, reason }]
  })
}

function setFilter(socket: OptionedSocket, rules: readonly SourceRule[], sockets: NativeSockets): string | undefined {
  const { fd, family } = socket
  const filter = JSON.stringify(rules)
  if (fd === undefined || filter === socket.filter || (socket.filter === '' && rules.length === 0)) return undefined
  const max = filterRulesMax(family)
  if (rules.length > max) return `the kernel's filter has room for GTSM with ${max} ${family} peers that connect to us`
  const failure = sockets.setFilter(fd, byFirstRule(family, rules))
  if (failure !== undefined) return failure.reason
  socket.filter = filter
  return undefined
}
