// One TCP connection of node:net as the speaker sees it: whole messages out, chunks in, and the reason it ended in words.

import type { Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { familyOf, type Ip, isLinkLocal, parseIp } from '../../net/ip.ts'
import { type Prefix, prefixOf } from '../../net/prefix.ts'
import type { Clock } from '../../runtime/clock.ts'
import { must } from '../../runtime/result.ts'
import type { Connection, ConnectionHandlers, Place } from './transport.ts'

/** How long a connection that is being closed may take to deliver its last message. */
const lingerMs = 1000

/** Takes over a connected socket. Nothing is read from it before `open`. */
export function createTcpConnection(socket: Socket, clock: Clock, reduced?: string): Connection {
  const { local: localAddress, remote } = endsOf(socket)
  let handlers: ConnectionHandlers | undefined
  let writtenBytes = 0
  let closing = false
  let reason: string | undefined
  // Read once: they are asked for with every status, and a host may have hundreds of interfaces.
  let addresses: Connection['localAddresses'] | undefined
  let networks: readonly Prefix[] | undefined
  const lost = (words: string): void => {
    if (closing) return
    reason ??= words
    if (handlers === undefined) return
    closing = true
    socket.destroy()
    handlers.closed(reason)
  }
  socket.on('error', (error) => lost(wordsOfSocketError(error, remote)))
  socket.on('end', () => lost('the router closed the TCP connection'))
  socket.on('close', () => lost('the router closed the TCP connection'))
  return {
    localAddress,
    remote,
    ...(reduced === undefined ? {} : { reduced }),
    get localAddresses() {
      addresses ??= addressesBeside(localAddress)
      return addresses
    },
    get localNetworks() {
      networks ??= networksOf(localAddress)
      return networks
    },
    open: (given) => {
      handlers = given
      if (reason !== undefined) return lost(reason)
      socket.on('data', (chunk: Uint8Array) => !closing && given.data(chunk))
      socket.resume()
    },
    write: (bytes) => {
      if (closing || socket.destroyed) return
      writtenBytes += bytes.length
      // Not the 'drain' event: it comes only after writes that exceeded the high-water mark.
      socket.write(bytes, () => {
        if (!closing && socket.writableLength === 0) handlers?.drained()
      })
    },
    get pendingBytes() {
      return socket.writableLength
    },
    get acceptedBytes() {
      return writtenBytes - socket.writableLength
    },
    close: (done) => {
      if (closing || socket.destroyed) {
        done?.()
        return
      }
      closing = true
      const cancel = clock.setTimer(lingerMs, () => socket.destroy())
      socket.once('close', () => {
        cancel()
        done?.()
      })
      // Reads on, so that the peer's own FIN is seen and the kernel has no reason to answer with a reset.
      socket.resume()
      socket.end()
    },
    abort: () => {
      closing = true
      socket.destroy()
    },
  }
}

/** Where a connected socket begins and ends. */
export const endsOf = (socket: Socket): { readonly local: Ip; readonly remote: Place } => ({
  local: addressOf(socket.localAddress),
  remote: placeOf(socket.remoteAddress),
})

// A socket that is gone already has no addresses; the peer table knows nobody by this one.
const addressOf = (text: string | undefined): Ip => {
  const parsed = parseIp((text ?? '').split('%')[0] ?? '')
  return parsed.ok ? parsed.value : must(parseIp('::'))
}

function placeOf(text: string | undefined): Place {
  const zone = text?.split('%')[1]
  const address = addressOf(text)
  return zone === undefined ? { address } : { address, zone }
}

/** The addresses of the interface that has `local`; its own first, and no link-local one where there is another. */
function addressesBeside(local: Ip): { readonly ipv4?: Ip; readonly ipv6?: Ip } {
  const own = familyOf(local)
  const onInterface = Object.values(networkInterfaces())
    .map((entries) => (entries ?? []).map(({ address }) => addressOf(address)))
    .find((addresses) => addresses.includes(local))
  const pick = (family: 'IPv4' | 'IPv6'): Ip | undefined => {
    if (family === own && !isLinkLocal(local)) return local
    const candidates = (onInterface ?? []).filter((address) => familyOf(address) === family)
    return candidates.find((address) => !isLinkLocal(address)) ?? (family === own ? local : undefined)
  }
  const ipv4 = pick('IPv4')
  const ipv6 = pick('IPv6')
  return { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) }
}

/** The networks of the interface that has `local`. */
function networksOf(local: Ip): readonly Prefix[] {
  const entries = Object.values(networkInterfaces()).find((all) =>
    (all ?? []).some(({ address }) => addressOf(address) === local),
  )
  const networks = (entries ?? []).flatMap(({ address, cidr }) => {
    const ip = addressOf(address)
    return cidr === null || isLinkLocal(ip) ? [] : [prefixOf(ip, Number(cidr.split('/')[1]))]
  })
  return [...new Set(networks)]
}

// --------------------------------------------------------------------------------------------------------------- words

/** What was attempted, as far as it is known. */
export interface Attempt {
  readonly address: Ip
  readonly port?: number
  readonly sourceAddress?: Ip
}

/** `ECONNREFUSED` and the like. */
export const codeOf = (error: Error): string => (error as NodeJS.ErrnoException).code ?? error.message

/** What an error of a socket means to an operator. */
export function wordsOfSocketError(error: Error, { address, port, sourceAddress }: Attempt): string {
  const where = port === undefined ? address : `${address} port ${port}`
  switch (codeOf(error)) {
    case 'ECONNREFUSED':
      return `connection refused by ${where}: nothing listens there, or not for us`
    case 'ECONNRESET':
    case 'EPIPE':
      return 'the router reset the TCP connection'
    case 'ETIMEDOUT':
      return `no answer from ${where}`
    case 'EHOSTUNREACH':
      return `${where} can not be reached: no host answers there`
    case 'ENETUNREACH':
      return `${where} can not be reached: no route`
    case 'EADDRNOTAVAIL':
      return `source address ${sourceAddress ?? '(any)'} is not on this host`
    default:
      return `${error.message} (${where})`
  }
}
