// The speaker's transport over the kernel's TCP. Sockets are made by native-sockets.ts, with their options set before the first
// packet, and handed to node:net for everything else. Without that library peers fail that need it (password, GTSM, a TTL beyond the
// system's); for the others a plain socket does, with the system's default TTL, and the connection says so.

import { Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { systemOnLink } from '../../bfd/on-link.ts'
import { bgpClaim, claimRefusal, isExclusive } from '../../bfd/session-claims.ts'
import type { Clock } from '../../runtime/clock.ts'
import { type Claim, type HostClaims, systemClaims } from '../../runtime/host-claims.ts'
import { err, ok, type Result } from '../../runtime/result.ts'
import { loadNativeSockets, type NativeError, type NativeSockets } from './native-sockets.ts'
import { createTcpConnection, wordsOfSocketError } from './tcp-connection.ts'
import { listenTcp } from './tcp-listener.ts'
import { type DialHandlers, type DialOptions, isSecured, needsTtl, reducedTo, type Transport } from './transport.ts'

export interface TcpTransportOptions {
  readonly clock: Clock
  /** Where socket options come from; tests replace it by its absence. */
  readonly native?: () => Result<NativeSockets, NativeError>
  /** Tests with several programs in one process give each its own. */
  readonly claims?: HostClaims
}

export function createTcpTransport(options: TcpTransportOptions): Transport {
  const { clock, native = loadNativeSockets } = options
  const claims = (): HostClaims => options.claims ?? systemClaims()
  return {
    dial: (to, handlers) => dial(to, handlers, clock, native, claims()),
    listen: (port, addresses, handlers) =>
      listenTcp(port, addresses, handlers, { clock, sockets: native(), claims: claims() }),
    isNeighbor: systemOnLink,
  }
}

function dial(
  options: DialOptions,
  handlers: DialHandlers,
  clock: Clock,
  native: () => Result<NativeSockets, NativeError>,
  claims: HostClaims,
): () => void {
  const { address, zone, port } = options
  const fail = (reason: string): (() => void) => clock.setTimer(0, () => handlers.failed(reason))
  // An interface that Node does not know is none at all to it: the connection would leave by any other, to another router.
  if (zone !== undefined && networkInterfaces()[zone] === undefined)
    return fail(`this host has no interface ${zone}, or it is down`)
  const claim = claimSession(options, native, claims)
  if (!claim.ok) return fail(claim.error)
  const opened = openSocket(options, native)
  if (!opened.ok) {
    claim.value?.release()
    return fail(opened.error.reason)
  }
  const { socket, localAddress, reduced } = opened.value
  let reason = `${address} port ${port} closed the TCP connection at once`
  const onError = (error: Error): void => {
    reason = wordsOfSocketError(error, options)
  }
  const onClose = (): void => handlers.failed(reason)
  socket.on('error', onError)
  socket.once('close', onClose)
  socket.once('close', () => claim.value?.release())
  socket.once('connect', () => {
    socket.off('close', onClose)
    socket.pause()
    handlers.connected(createTcpConnection(socket, clock, reduced))
  })
  socket.setNoDelay(true)
  socket.connect({
    host: zone === undefined ? address : `${address}%${zone}`,
    port,
    ...(localAddress === undefined ? {} : { localAddress }),
  })
  return () => {
    socket.removeAllListeners('connect')
    socket.off('close', onClose)
    socket.destroy()
  }
}

// Before the first packet: a router that restarts gracefully ends the session it has for a connection that it will not keep either.
function claimSession(
  { address: remote, zone, port, sourceAddress }: DialOptions,
  native: () => Result<NativeSockets, NativeError>,
  claims: HostClaims,
): Result<Claim | undefined, string> {
  if (!isExclusive(remote)) return ok(undefined)
  const sockets = native()
  const to = zone === undefined ? { remote } : { remote, zone }
  const local = sourceAddress ?? (sockets.ok ? sockets.value.sourceTowards(to) : undefined)
  // Without a way to the router the connection fails in words of its own.
  if (local === undefined) return ok(undefined)
  const ends = { ...to, local }
  const claim = claims.claim([bgpClaim(ends, port)])
  return claim.ok ? claim : err(claimRefusal(ends))
}

/** A socket that is not connected. `localAddress` is for Node to bind: only a plain socket is not bound yet. */
interface Opened {
  readonly socket: Socket
  readonly localAddress?: string
  /** As of Connection. */
  readonly reduced?: string
}

function openSocket(
  options: DialOptions,
  native: () => Result<NativeSockets, NativeError>,
): Result<Opened, NativeError> {
  const sockets = native()
  if (!sockets.ok) {
    const { reason } = sockets.error
    if (isSecured(options)) return sockets
    if (needsTtl(options)) return err({ ...sockets.error, reason: `TTL ${options.ttl} can not be set: ${reason}` })
    const { sourceAddress } = options
    const reduced = reducedTo(options, reason)
    return ok({
      socket: new Socket(),
      ...(sourceAddress === undefined ? {} : { localAddress: sourceAddress }),
      ...(reduced === undefined ? {} : { reduced }),
    })
  }
  const opened = sockets.value.openForDial(options, options)
  return opened.ok ? ok({ socket: new Socket({ fd: opened.value, readable: true, writable: true }) }) : opened
}
