// BFD over the kernel's UDP. Listening sockets are made by native-udp.ts, their TTL filter attached before they are bound, and
// handed to node:dgram, which delivers what arrives; sending sockets stay plain descriptors. Without the library there is no BFD:
// a socket that lets in what a router has forwarded would let anybody on the internet end a session.

import { createSocket, type RemoteInfo } from 'node:dgram'
import { familyOf, type Ip, parseIp } from '../net/ip.ts'
import type { Random } from '../runtime/clock.ts'
import { err, must, ok, type Result } from '../runtime/result.ts'
import { type Endpoint, loadNativeUdp, type NativeUdp } from './native-udp.ts'
import { byTtlRules, dropEverything, fromOneHop, type Instruction } from './socket-filter.ts'
import {
  type BfdHops,
  type BfdListener,
  type BfdListenHandlers,
  type BfdPath,
  type BfdPlace,
  type BfdSender,
  type BfdSocketError,
  type BfdSource,
  type BfdTransport,
  bfdPorts,
  type TtlRule,
} from './transport.ts'

export interface UdpTransportOptions {
  /** Where in the range the search for a free source port begins. */
  readonly random: Random
  /**
   * Where to listen and where to send, instead of the well-known port of BFD: for two programs of one host that are to speak BFD
   * beside each other, and beside the host's own BFD daemon.
   */
  readonly ports?: { readonly local: number; readonly remote: number }
  /** Where sockets come from; tests replace it by its absence. */
  readonly native?: () => Result<NativeUdp, BfdSocketError>
}

/** RFC 5881 section 4. */
export const sourcePorts = { first: 49_152, count: 16_384 } as const
/** Ports in use by others that are stepped over before the search is given up. */
const portTriesMax = 256
/** Room for about three thousand packets: what a thousand sessions receive in a second of stall. */
const receiveBufferBytes = 4 * 1024 * 1024
/** A socket that only sends has no use for more; the kernel makes the least of it. */
const noReceiveBuffer = 0
/** A peer that sends faster than we read is not to keep us reading for ever. */
const drainPacketsMax = 20_000

const anywhere = { IPv4: must(parseIp('0.0.0.0')), IPv6: must(parseIp('::')) } as const

export function createUdpTransport({ random, ports, native = loadNativeUdp }: UdpTransportOptions): BfdTransport {
  const portAt: PortAt = (hops, end) => ports?.[end] ?? bfdPorts[hops]
  return {
    listen: (place, rules, handlers) => {
      const udp = native()
      return udp.ok ? listen(udp.value, place, portAt(place.hops, 'local'), rules, handlers) : udp
    },
    open: (path) => {
      const udp = native()
      return udp.ok ? open(udp.value, path, portAt(path.hops, 'remote'), random) : udp
    },
  }
}

type PortAt = (hops: BfdHops, end: 'local' | 'remote') => number

const filterOf = ({ hops, family }: BfdPlace, rules: readonly TtlRule[]): readonly Instruction[] =>
  hops === 'single' ? fromOneHop(family) : byTtlRules(family, rules)

function listen(
  udp: NativeUdp,
  place: BfdPlace,
  port: number,
  rules: readonly TtlRule[],
  { received, failed }: BfdListenHandlers,
): Result<BfdListener, BfdSocketError> {
  const { family, address = anywhere[family], zone } = place
  const at: Endpoint = { address, port, ...(zone === undefined ? {} : { zone }) }
  const opened = udp.open(at, { filter: filterOf(place, rules), receiveBufferBytes })
  if (!opened.ok) return opened
  const fd = opened.value
  const socket = createSocket({ type: family === 'IPv4' ? 'udp4' : 'udp6' })
  socket.on('message', (bytes, remote) => received({ bytes, source: () => sourceOf(remote) }))
  socket.on('error', ({ message }) =>
    failed({ code: 'bfd-socket/refused', reason: `receiving at ${at.address} UDP port ${at.port}: ${message}` }),
  )
  socket.bind({ fd, exclusive: true })
  let closed = false
  return ok({
    drain: () => {
      for (let count = 0; count < drainPacketsMax && !closed; count++) {
        const packet = udp.receive(fd)
        if (packet === undefined) return
        received(packet)
      }
    },
    setTtlRules: (next) => udp.setFilter(fd, filterOf(place, next)),
    close: () => {
      if (closed) return
      closed = true
      socket.removeAllListeners('message')
      socket.close()
    },
  })
}

// Node writes the interface of a link-local address behind it.
function sourceOf({ address }: RemoteInfo): BfdSource {
  const [host = '', zone] = address.split('%')
  return { address: must(parseIp(host)), ...(zone === undefined ? {} : { zone }) }
}

function open(udp: NativeUdp, path: BfdPath, port: number, random: Random): Result<BfdSender, BfdSocketError> {
  const { remoteAddress, zone, localAddress } = path
  const onLink = zone === undefined ? {} : { zone }
  const destination = udp.destination({ address: remoteAddress, port, ...onLink })
  if (!destination.ok) return destination
  const local = localAddress ?? anywhere[familyOf(remoteAddress)]
  const opened = openAtFreePort(udp, { address: local, ...(localAddress === undefined ? {} : onLink) }, random)
  if (!opened.ok) return opened
  const fd = opened.value
  udp.hearOfPackets(fd, familyOf(remoteAddress))
  let closed = false
  let refused = false
  return ok({
    send: (bytes) => {
      if (closed) return undefined
      const outcome = udp.send(fd, bytes, destination.value)
      refused ||= outcome.refused
      return outcome.error
    },
    wasRefused: () => {
      if (!closed) refused ||= udp.isRefused(fd)
      return refused
    },
    forgetRefusal: () => {
      refused = false
    },
    close: () => {
      if (!closed) udp.close(fd)
      closed = true
    },
  })
}

function openAtFreePort(
  udp: NativeUdp,
  local: { readonly address: Ip; readonly zone?: string },
  random: Random,
): Result<number, BfdSocketError> {
  const start = Math.floor(random() * sourcePorts.count)
  for (let tried = 0; tried < portTriesMax; tried++) {
    const port = sourcePorts.first + ((start + tried) % sourcePorts.count)
    const opened = udp.open({ ...local, port }, { filter: dropEverything, receiveBufferBytes: noReceiveBuffer })
    if (opened.ok || opened.error.code !== 'bfd-socket/in-use') return opened
  }
  return err({
    code: 'bfd-socket/in-use',
    reason: `no free UDP source port for BFD among ${portTriesMax} of ${sourcePorts.first} and up`,
  })
}
