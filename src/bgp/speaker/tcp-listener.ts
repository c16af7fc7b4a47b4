// The listening side of TCP: one socket an address, the keys of TCP-MD5 on them, and who is let in. Everybody else is closed
// before a byte is read. Each address family has its own sockets, so that an IPv4 peer is an IPv4 address everywhere.

import { createServer, type Server, type Socket } from 'node:net'
import { bgpClaim, claimRefusal, isExclusive } from '../../bfd/session-claims.ts'
import { familyOf, type Ip, type IpFamily, parseIp } from '../../net/ip.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { HostClaims } from '../../runtime/host-claims.ts'
import { err, must, ok, type Result } from '../../runtime/result.ts'
import { acceptorOf, rangeOf } from './accept-rules.ts'
import { type OptionedSocket, setListenerOptions } from './listener-options.ts'
import type { NativeError, NativeSockets } from './native-sockets.ts'
import { bgpPort } from './session-config.ts'
import { codeOf, createTcpConnection, endsOf } from './tcp-connection.ts'
import {
  type AcceptOptions,
  type AcceptRange,
  isSecured,
  type Listener,
  type ListenHandlers,
  needsTtl,
  notConfigured,
  type PeerRefusal,
  reducedTo,
  type SocketOptions,
} from './transport.ts'

type Native = Result<NativeSockets, NativeError>

interface ListeningSocket extends OptionedSocket {
  readonly server: Server
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
  { clock, sockets, claims }: { readonly clock: Clock; readonly sockets: Native; readonly claims: HostClaims },
): Listener {
  const places = addresses.length === 0 ? everywhere : addresses.map((address) => ({ address, optional: false }))
  const listening: ListeningSocket[] = []
  let awaited = places.length
  let peers: readonly AcceptOptions[] = []
  let ranges: readonly AcceptRange[] = []
  // Peers whose password or least TTL could not be set: they are not let in, whatever they send.
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
    const { remote, local } = endsOf(socket)
    const configured = acceptorOf(peers, remote, local)
    const peer = configured ?? rangeOf(ranges, remote.address)
    const fits = peer === undefined ? err(notConfigured) : setAccepted(socket, familyOf(remote.address), peer, sockets)
    const reason =
      refusals.find((refusal) => refusal.peer === peer)?.reason ??
      (fits.ok ? claimAccepted(socket, configured?.port ?? bgpPort, claims) : fits.error)
    const connection = createTcpConnection(socket, clock, fits.ok ? fits.value : undefined)
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
    listening.push({ server, family, fd: opened?.value, keys: new Map(), filter: '' })
    if (opened === undefined) server.listen({ host: where.address, port, ipv6Only: family === 'IPv6' })
    else server.listen({ fd: opened.value })
  }
  return {
    setPeers: (nextPeers, nextRanges = []) => {
      peers = nextPeers
      ranges = nextRanges
      refusals = setListenerOptions(listening, peers, ranges, sockets)
      return refusals
    },
    close,
  }
}

/** Why a second session with the router would end the one that another program of this host has; undefined: it is ours now. */
function claimAccepted(socket: Socket, port: number, claims: HostClaims): string | undefined {
  const { local, remote } = endsOf(socket)
  if (!isExclusive(remote.address)) return undefined
  const ends = { local, remote: remote.address, ...(remote.zone === undefined ? {} : { zone: remote.zone }) }
  const claim = claims.claim([bgpClaim(ends, port)])
  if (!claim.ok) return claimRefusal(ends)
  socket.once('close', () => claim.value.release())
  return undefined
}

/** Sets what can be set; returns what the connection has to do without, or why it can not be. */
function setAccepted(
  socket: Socket,
  family: IpFamily,
  peer: SocketOptions,
  sockets: Native,
): Result<string | undefined, string> {
  const fd = descriptorOf(socket)
  if (sockets.ok && fd !== undefined) {
    const refusal = sockets.value.setHops(fd, family, peer)
    return refusal === undefined ? ok(undefined) : err(refusal.reason)
  }
  const reason = sockets.ok
    ? 'this version of Node hides the descriptor of an accepted connection'
    : sockets.error.reason
  if (isSecured(peer)) return err(reason)
  return needsTtl(peer) ? err(`TTL ${peer.ttl} can not be set: ${reason}`) : ok(reducedTo(peer, reason))
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
