// BFD over the kernel's UDP. Listening sockets are made by native-udp.ts, their TTL filter attached before they are bound, and
// handed to node:dgram, which delivers what arrives; sending sockets stay plain descriptors. Without the library there is no BFD:
// a socket that lets in what a router has forwarded would let anybody on the internet end a session.

import { createSocket, type RemoteInfo } from 'node:dgram'
import { familyOf, type Ip, parseIp } from '../net/ip.ts'
import type { Random } from '../runtime/clock.ts'
import { type Claim, type HostClaims, systemClaims } from '../runtime/host-claims.ts'
import type { Descriptor } from '../runtime/libc.ts'
import { err, must, ok, type Result } from '../runtime/result.ts'
import { type Endpoint, loadNativeUdp, type NativeUdp } from './native-udp.ts'
import { bfdClaim, bgpClaim, claimRefusal } from './session-claims.ts'
import { byTtlRules, dropEverything, fromOneHop, type Instruction } from './socket-filter.ts'
import { type ReadUdpTable, strangerListens, systemUdpTable } from './strangers.ts'
import {
  type BfdHops,
  type BfdListener,
  type BfdListenHandlers,
  type BfdPath,
  type BfdPlace,
  type BfdPlacePeer,
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
  /** Tests with several programs in one process give each its own. */
  readonly claims?: HostClaims
  readonly readTable?: ReadUdpTable
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

export function createUdpTransport(options: UdpTransportOptions): BfdTransport {
  const { random, ports, native = loadNativeUdp, readTable = systemUdpTable } = options
  const portAt: PortAt = (hops, end) => ports?.[end] ?? bfdPorts[hops]
  return {
    listen: (place, rules, handlers) => {
      const udp = native()
      if (!udp.ok) return udp
      const port = portAt(place.hops, 'local')
      const opened =
        place.peer === undefined
          ? openForAll(udp.value, place, port, rules)
          : openForPeer(udp.value, { ...place, peer: place.peer }, port, rules, {
              claims: options.claims ?? systemClaims(),
              readTable,
            })
      return opened.ok ? ok(listen(udp.value, place, opened.value, handlers)) : opened
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

/** A socket that is bound, and what goes with it. */
interface Opened {
  readonly fd: Descriptor
  readonly at: Endpoint
  readonly claim?: Claim
}

function openForAll(
  udp: NativeUdp,
  place: BfdPlace,
  port: number,
  rules: readonly TtlRule[],
): Result<Opened, BfdSocketError> {
  const { family, address = anywhere[family], zone } = place
  const at: Endpoint = { address, port, ...(zone === undefined ? {} : { zone }) }
  const opened = udp.open(at, { filter: filterOf(place, rules), receiveBufferBytes })
  return opened.ok ? ok({ fd: opened.value, at }) : opened
}

function openForPeer(
  udp: NativeUdp,
  place: BfdPlace & { readonly peer: BfdPlacePeer },
  port: number,
  rules: readonly TtlRule[],
  { claims, readTable }: { readonly claims: HostClaims; readonly readTable: ReadUdpTable },
): Result<Opened, BfdSocketError> {
  const { peer } = place
  const zone = place.zone === undefined ? {} : { zone: place.zone }
  const from = { address: peer.address, ...zone }
  const inUse = (reason: string): Result<never, BfdSocketError> => err({ code: 'bfd-socket/in-use', reason })
  const local = place.address ?? udp.sourceTowards(from)
  if (local === undefined)
    return err({ code: 'bfd-socket/refused', reason: `${peer.address} can not be reached: no route` })
  const ends = { local, remote: peer.address, ...zone }
  // Both or neither: whoever watched the path of another's session would tell the router that its dead speaker lives.
  const names = peer.bgpPort === undefined ? [] : [bgpClaim(ends, peer.bgpPort)]
  const claim = claims.claim([...names, bfdClaim(ends)])
  if (!claim.ok) return inUse(claimRefusal(ends))
  const at: Endpoint = { address: local, port, ...zone }
  const opened = strangerListens(port, local, readTable)
    ? inUse(`UDP port ${port} belongs to another program: does a BFD daemon run on this host?`)
    : udp.open(at, { filter: filterOf(place, rules), receiveBufferBytes, from })
  if (opened.ok) return ok({ fd: opened.value, at, claim: claim.value })
  claim.value.release()
  return opened
}

function listen(
  udp: NativeUdp,
  place: BfdPlace,
  { fd, at, claim }: Opened,
  { received, failed }: BfdListenHandlers,
): BfdListener {
  const { peer, zone } = place
  const socket = createSocket({ type: place.family === 'IPv4' ? 'udp4' : 'udp6' })
  socket.on('message', (bytes, remote) => received({ bytes, source: () => sourceOf(remote) }))
  socket.on('error', ({ message }) =>
    failed({ code: 'bfd-socket/refused', reason: `receiving at ${at.address} UDP port ${at.port}: ${message}` }),
  )
  socket.bind({ fd, exclusive: true })
  let closed = false
  return {
    moved: () => {
      if (peer === undefined || place.address !== undefined) return false
      const source = udp.sourceTowards({ address: peer.address, ...(zone === undefined ? {} : { zone }) })
      return source !== undefined && source !== at.address
    },
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
      claim?.release()
    },
  }
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
