// The listening side of TCP: one socket an address, the keys of TCP-MD5 on them, and who is let in. Everybody else is closed
// before a byte is read. Each address family has its own sockets, so that an IPv4 peer is an IPv4 address everywhere.

import { createServer, type Server, type Socket } from 'node:net'
import { familyOf, type Ip, type IpFamily, parseIp } from '../../net/ip.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Descriptor } from '../../runtime/libc.ts'
import { must, type Result } from '../../runtime/result.ts'
import { type NativeError, type NativeSockets, ttlOfListener } from './native-sockets.ts'
import { codeOf, createTcpConnection } from './tcp-connection.ts'
import {
  type AcceptOptions,
  isSamePlace,
  isSecured,
  type Listener,
  type ListenHandlers,
  type PeerRefusal,
  type Place,
} from './transport.ts'

type Native = Result<NativeSockets, NativeError>

interface ListeningSocket {
  readonly server: Server
  readonly family: IpFamily
  /** Present when the socket is a native one, so that keys can be set. */
  readonly fd: Descriptor | undefined
  /** Passwords by peer, as they stand on this socket. */
  readonly keys: Map<Ip, string>
}

interface Where {
  readonly address: Ip
  readonly port: number
  /** A host without this family is no reason to fail. */
  readonly optional: boolean
}

const everywhere: readonly Pick<Where, 'address' | 'optional'>[] = [
  { address: must(parseIp('0.0.0.0')), optional: false },
  { address: must(parseIp('::')), optional: true },
]

/** Listens on `port` at each of the addresses (none = all), for the peers given by `setPeers`. */
export function listenTcp(
  port: number,
  addresses: readonly Ip[],
  handlers: ListenHandlers,
  { clock, sockets }: { readonly clock: Clock; readonly sockets: Native },
): Listener {
  const places = addresses.length === 0 ? everywhere : addresses.map((address) => ({ address, optional: false }))
  const listening: ListeningSocket[] = []
  let awaited = places.length
  let peers: readonly AcceptOptions[] = []
  // Peers whose password could not be set: they are not let in, whatever they send.
  let refusals: readonly PeerRefusal[] = []
  let closed = false

  const close = (): void => {
    closed = true
    for (const { server } of listening) server.close()
  }
  const settled = (): void => {
    awaited--
    if (!closed && awaited === 0) handlers.listening()
  }
  const failed = (reason: string, { optional }: Where): void => {
    if (closed) return
    if (optional) settled()
    else {
      close()
      handlers.failed(reason)
    }
  }
  const accept = (socket: Socket): void => {
    const connection = createTcpConnection(socket, clock)
    const { remote } = connection
    const peer = peers.find((candidate) => isSamePlace(candidate, remote))
    const reason =
      peer === undefined
        ? 'not a configured peer'
        : (refusals.find((refusal) => isSamePlace(refusal, remote))?.reason ??
          setAccepted(socket, peer, sockets)?.reason)
    if (reason === undefined) {
      handlers.connection(connection)
      return
    }
    connection.abort()
    handlers.refused(remote, reason)
  }
  for (const place of places) {
    const where: Where = { ...place, port }
    const opened = sockets.ok ? sockets.value.openForListen(where.address, port) : undefined
    if (opened !== undefined && !opened.ok) {
      clock.setTimer(0, () => failed(opened.error.reason, where))
      continue
    }
    const server = createServer({ pauseOnConnect: true, noDelay: true }, accept)
    server.on('error', (error) => failed(wordsOf(error, where), where))
    server.on('listening', settled)
    const family = familyOf(where.address)
    listening.push({ server, family, fd: opened?.value, keys: new Map() })
    if (opened === undefined) server.listen({ host: where.address, port, ipv6Only: family === 'IPv6' })
    else server.listen({ fd: opened.value })
  }
  return {
    setPeers: (next) => {
      peers = next
      refusals = next.flatMap((peer) => {
        const reason = setKeys(listening, peer, sockets)
        return reason === undefined ? [] : [{ ...placeOf(peer), reason }]
      })
      removeKeys(listening, next, sockets)
      setLeastHops(listening, next, sockets)
      return refusals
    },
    close,
  }
}

const placeOf = ({ address, zone }: AcceptOptions): Place => (zone === undefined ? { address } : { address, zone })

/** Why connections of this peer can not be let in with its password, or undefined when they can. */
function setKeys(
  listening: readonly ListeningSocket[],
  { address, password }: AcceptOptions,
  sockets: Native,
): string | undefined {
  if (password === undefined) return undefined
  if (!sockets.ok) return sockets.error.reason
  for (const { family, fd, keys } of listening) {
    if (family !== familyOf(address) || keys.get(address) === password) continue
    const failure = fd === undefined ? undefined : sockets.value.setKey(fd, address, password)
    if (failure !== undefined) return failure.reason
    keys.set(address, password)
  }
  return undefined
}

// A key that nobody needs any more would keep a peer out that has become one without a password.
function removeKeys(listening: readonly ListeningSocket[], peers: readonly AcceptOptions[], sockets: Native): void {
  if (!sockets.ok) return
  const wanted = new Set(peers.filter(({ password }) => password !== undefined).map(({ address }) => address))
  for (const { fd, keys } of listening)
    for (const address of [...keys.keys()].filter((known) => !wanted.has(known))) {
      if (fd !== undefined) sockets.value.setKey(fd, address, undefined)
      keys.delete(address)
    }
}

// A connection that was accepted gets its least TTL when we hear of it, and what came before that went unchecked. Where every peer
// has one, the listening socket can check from the first packet on.
function setLeastHops(listening: readonly ListeningSocket[], peers: readonly AcceptOptions[], sockets: Native): void {
  if (!sockets.ok) return
  for (const { fd, family } of listening) {
    const least = peers.filter(({ address }) => familyOf(address) === family).map(({ ttlMin = 0 }) => ttlMin)
    if (fd === undefined || least.length === 0) continue
    // A failure shows, in words, on each connection, whose least TTL is set again.
    sockets.value.setHops(fd, family, { ttl: ttlOfListener, ttlMin: Math.min(...least) })
  }
}

function setAccepted(socket: Socket, peer: AcceptOptions, sockets: Native): NativeError | undefined {
  if (!sockets.ok) return isSecured(peer) ? sockets.error : undefined
  const fd = descriptorOf(socket)
  if (fd === undefined)
    return isSecured(peer)
      ? { code: 'native/unavailable', reason: 'this version of Node hides the descriptor of an accepted connection' }
      : undefined
  return sockets.value.setHops(fd, familyOf(peer.address), peer)
}

// Node gives no documented access to the descriptor of a socket it accepted; the handle has carried it since Node 0.x. Where it
// is missing, peers that need an option on it are refused.
function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: unknown } | null }
  return typeof handle?.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined
}

function wordsOf(error: Error, { address, port }: Where): string {
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return `${address} port ${port} is in use by another program`
    case 'EACCES':
      return `listening on port ${port} needs CAP_NET_BIND_SERVICE`
    default:
      return `listening on ${address} port ${port}: ${error.message}`
  }
}
