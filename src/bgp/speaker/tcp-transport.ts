// The speaker's transport over the kernel's TCP. Sockets are made by native-sockets.ts, with their options set before the first
// packet, and handed to node:net for everything else. Without that library only peers that need it (password, GTSM) fail; for
// the others a plain socket does, with the system's default TTL.

import { Socket } from 'node:net'
import type { Clock } from '../../runtime/clock.ts'
import { ok, type Result } from '../../runtime/result.ts'
import { loadNativeSockets, type NativeError, type NativeSockets } from './native-sockets.ts'
import { createTcpConnection, wordsOfSocketError } from './tcp-connection.ts'
import { listenTcp } from './tcp-listener.ts'
import { type DialHandlers, type DialOptions, isSecured, type Transport } from './transport.ts'

export interface TcpTransportOptions {
  readonly clock: Clock
  /** Where socket options come from; tests replace it by its absence. */
  readonly native?: () => Result<NativeSockets, NativeError>
}

export function createTcpTransport({ clock, native = loadNativeSockets }: TcpTransportOptions): Transport {
  return {
    dial: (options, handlers) => dial(options, handlers, clock, native),
    listen: (port, addresses, handlers) => listenTcp(port, addresses, handlers, { clock, sockets: native() }),
  }
}

function dial(
  options: DialOptions,
  handlers: DialHandlers,
  clock: Clock,
  native: () => Result<NativeSockets, NativeError>,
): () => void {
  const { address, zone, port } = options
  const opened = openSocket(options, native)
  if (!opened.ok) return clock.setTimer(0, () => handlers.failed(opened.error.reason))
  const { socket, localAddress } = opened.value
  let reason = `${address} port ${port} closed the TCP connection at once`
  const onError = (error: Error): void => {
    reason = wordsOfSocketError(error, options)
  }
  const onClose = (): void => handlers.failed(reason)
  socket.on('error', onError)
  socket.once('close', onClose)
  socket.once('connect', () => {
    socket.off('close', onClose)
    socket.pause()
    handlers.connected(createTcpConnection(socket, clock))
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

/** A socket that is not connected. `localAddress` is for Node to bind: only a plain socket is not bound yet. */
interface Opened {
  readonly socket: Socket
  readonly localAddress?: string
}

function openSocket(
  options: DialOptions,
  native: () => Result<NativeSockets, NativeError>,
): Result<Opened, NativeError> {
  const sockets = native()
  if (!sockets.ok) {
    if (isSecured(options)) return sockets
    const { sourceAddress } = options
    return ok({ socket: new Socket(), ...(sourceAddress === undefined ? {} : { localAddress: sourceAddress }) })
  }
  const opened = sockets.value.openForDial(options, options)
  return opened.ok ? ok({ socket: new Socket({ fd: opened.value, readable: true, writable: true }) }) : opened
}
