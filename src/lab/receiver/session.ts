// One BGP session as the receiver has it: a straight line from OPEN to Established and to its end, written without the state
// machine of the product, so that a mistake in one is not repeated in the other. It only ever accepts, so there is no collision.

import type { Socket } from 'node:net'
import { decodeMessage } from '../../bgp/packet/decode.ts'
import { encodeMessage } from '../../bgp/packet/encode.ts'
import {
  describeNotification,
  notificationOf,
  openError,
  renderErrorCode,
  stateMachineError,
} from '../../bgp/packet/errors.ts'
import { createFramer } from '../../bgp/packet/framing.ts'
import {
  type AddPathMode,
  type AfiSafi,
  afiSafiOf,
  type BgpMessage,
  type Capability,
  type Family,
  familyOfAfiSafi,
  type NotificationMessage,
  type OpenMessage,
  openingCodec,
  type RouteRefreshMessage,
  type SessionCodec,
  type SessionError,
  type UpdateMessage,
} from '../../bgp/packet/message.ts'
import { type Asn, asTrans, type RouterId, routerIdFromNumber, routerIdToNumber } from '../../net/asn.ts'
import type { CancelTimer, Clock } from '../../runtime/clock.ts'
import { unreachable } from '../../runtime/result.ts'
import { type AdjRibIn, createAdjRibIn } from './adj-rib-in.ts'

export interface SessionOptions {
  readonly asn: Asn
  readonly routerId: RouterId
  readonly families: readonly Family[]
  /** Receive several paths a prefix. */
  readonly addPath: boolean
  readonly holdTimeSeconds: number
  readonly clock: Clock
  /** Called after every message, and when the session has ended. */
  readonly onChange: () => void
}

/** A session, its table aside: what the two ends agreed on and what has happened since. */
export interface SessionFacts {
  readonly state: 'OpenSent' | 'OpenConfirm' | 'Established' | 'Ended'
  readonly remoteAddress: string
  /** From the peer's OPEN. */
  readonly asn?: number
  readonly routerId?: RouterId
  /** What both announced; from OpenConfirm on. */
  readonly families: readonly Family[]
  /** Families in which the peer sends path ids. */
  readonly addPath: readonly Family[]
  readonly holdTimeSeconds?: number
  /** Families whose initial routes are complete (RFC 4724 section 2). */
  readonly endOfRib: readonly Family[]
  /** UPDATEs, End-of-RIB included. */
  readonly updates: number
  /** Route refreshes that the peer has closed with EoRR (RFC 7313). */
  readonly refreshed: number
  /** What a strict reader finds wrong with the peer, the first hundred. Empty for a good one. */
  readonly complaints: readonly string[]
  /** Why it ended, in words, and the NOTIFICATION if the peer sent one. */
  readonly ended?: { readonly reason: string; readonly notification?: NotificationMessage }
}

export interface ReceiverSession {
  readonly facts: () => SessionFacts
  readonly rib: AdjRibIn
  /** Asks for all routes of a family again (RFC 2918). Does nothing before Established. */
  readonly refresh: (family: Family) => void
  /** Sends a NOTIFICATION and closes. */
  readonly notify: (error: SessionError) => void
}

const complaintsMax = 100
const bgpVersion = 4
const holdWhileOpeningSeconds = 240
const extendedMessageBytes = 65535

/** Takes a connection that was just accepted, sends its OPEN and follows it to its end. */
export function acceptSession(socket: Socket, options: SessionOptions): ReceiverSession {
  const { clock } = options
  const rib = createAdjRibIn()
  const framer = createFramer()
  const complaints: string[] = []
  let codec: SessionCodec = { ...openingCodec, messageBytesMaxReceive: extendedMessageBytes }
  let cancelHold: CancelTimer = () => {}
  let cancelKeepalive: CancelTimer = () => {}
  let facts: Omit<SessionFacts, 'complaints'> = {
    ...{ state: 'OpenSent', families: [], addPath: [], endOfRib: [], updates: 0, refreshed: 0 },
    remoteAddress: socket.remoteAddress ?? '',
  }

  const isOver = (): boolean => facts.state === 'Ended'
  const complain = (texts: readonly string[]): void =>
    void complaints.push(...texts.slice(0, complaintsMax - complaints.length))
  const send = (message: BgpMessage): void => void socket.write(encodeMessage(message, codec))

  const end = (reason: string, notification?: NotificationMessage): void => {
    if (isOver()) return
    facts = { ...facts, state: 'Ended', ended: { reason, ...(notification === undefined ? {} : { notification }) } }
    cancelHold()
    cancelKeepalive()
    socket.end()
    // Reads on until the other side has closed too, so that the kernel has no reason to reset what was just written.
    socket.resume()
    options.onChange()
  }
  const fail = (error: SessionError): void => {
    if (isOver()) return
    send(notificationOf(error))
    end(`closed by the receiver: ${renderErrorCode(error.code, error.subcode)}: ${error.reason}`)
  }
  const restartHold = (): void => {
    cancelHold()
    const seconds = facts.holdTimeSeconds ?? holdWhileOpeningSeconds
    if (seconds === 0) return
    const expired = { code: 4, subcode: 0, data: new Uint8Array(0), reason: `nothing was heard for ${seconds} s` }
    cancelHold = clock.setTimer(seconds * 1000, () => fail(expired))
  }
  const keepAlive = (): void => {
    if (isOver()) return
    send({ type: 'KEEPALIVE' })
    const seconds = facts.holdTimeSeconds ?? 0
    if (seconds > 0) cancelKeepalive = clock.setTimer((seconds * 1000) / 3, keepAlive)
  }

  // Each of these takes a message in, or says with which error the session has to end.
  const opened = (open: OpenMessage): SessionError | undefined => {
    if (facts.state !== 'OpenSent') return unexpected(facts.state, open)
    const agreed = agree(open, options)
    const routerId = routerIdFromNumber(open.bgpIdentifier)
    if (!routerId.ok || routerId.value === options.routerId)
      return openError('bad-bgp-identifier', `BGP identifier ${open.bgpIdentifier}`)
    codec = agreed.codec
    facts = {
      ...facts,
      ...{ state: 'OpenConfirm', asn: agreed.asn, routerId: routerId.value, holdTimeSeconds: agreed.holdTimeSeconds },
      ...{ families: [...codec.families], addPath: [...codec.addPathReceive] },
    }
    keepAlive()
    return undefined
  }
  const kept = (message: BgpMessage): SessionError | undefined => {
    if (facts.state === 'OpenSent') return unexpected(facts.state, message)
    facts = { ...facts, state: 'Established' }
    return undefined
  }
  const updated = (message: UpdateMessage, endOfRib: AfiSafi | undefined): SessionError | undefined => {
    if (facts.state !== 'Established') return unexpected(facts.state, message)
    complain(strictly(message, facts.asn ?? 0, codec))
    complain(rib.apply(message))
    const family = endOfRib && familyOfAfiSafi(endOfRib)
    const isFirst = family !== undefined && !facts.endOfRib.includes(family)
    facts = { ...facts, updates: facts.updates + 1, endOfRib: isFirst ? [...facts.endOfRib, family] : facts.endOfRib }
    return undefined
  }
  const refreshed = (message: RouteRefreshMessage): undefined => {
    if (message.subtype === borr) rib.beginRefresh(message)
    if (message.subtype !== eorr) return
    complain(rib.endRefresh(message))
    facts = { ...facts, refreshed: facts.refreshed + 1 }
  }

  const receive = (bytes: Uint8Array): SessionError | undefined => {
    const decoded = decodeMessage(bytes, codec)
    if (!decoded.ok) return decoded.error
    complain(decoded.issues.map(({ reason, source }) => `${reason} (${source})`))
    const { message } = decoded
    switch (message.type) {
      case 'OPEN':
        return opened(message)
      case 'KEEPALIVE':
        return kept(message)
      case 'UPDATE':
        return updated(message, decoded.endOfRib)
      case 'ROUTE-REFRESH':
        return refreshed(message)
      case 'NOTIFICATION':
        end(describeNotification(message), message)
        return undefined
      default:
        return unreachable(message)
    }
  }

  socket.on('data', (chunk: Uint8Array) => {
    framer.push(chunk)
    while (!isOver()) {
      const framed = framer.next(codec.messageBytesMaxReceive)
      if (framed === undefined) return
      const error = framed.type === 'error' ? framed.error : receive(framed.bytes)
      if (error !== undefined) fail(error)
      if (isOver()) return
      restartHold()
      options.onChange()
    }
  })
  socket.on('error', (error) => end(`the connection broke: ${error.message}`))
  socket.on('close', () => end('the peer closed the connection without a NOTIFICATION'))
  send(ourOpen(options))
  restartHold()
  return {
    facts: () => ({ ...facts, complaints: [...complaints] }),
    rib,
    refresh: (family) => {
      if (facts.state === 'Established') send({ type: 'ROUTE-REFRESH', subtype: 0, ...afiSafiOf[family] })
    },
    notify: fail,
  }
}

// RFC 7313 section 3.2.
const borr = 1
const eorr = 2

function unexpected(state: SessionFacts['state'], message: BgpMessage): SessionError {
  const name = state === 'Ended' ? 'unspecific' : state
  return stateMachineError(name, `${message.type} in ${state}`)
}

function ourOpen({ asn, routerId, families, addPath, holdTimeSeconds }: SessionOptions): OpenMessage {
  const capabilities: readonly Capability[] = [
    ...families.map((family) => ({ type: 'multiprotocol', ...afiSafiOf[family] }) as const),
    { type: 'route-refresh' },
    { type: 'enhanced-route-refresh' },
    { type: 'extended-message' },
    { type: 'four-octet-as', asn },
    ...(addPath
      ? [{ type: 'add-path', families: families.map((f) => ({ ...afiSafiOf[f], mode: 'receive' as const })) } as const]
      : []),
  ]
  const myAs = asn > 0xffff ? asTrans : asn
  return {
    ...{ type: 'OPEN', version: bgpVersion, myAs, holdTimeSeconds },
    ...{ bgpIdentifier: routerIdToNumber(routerId), capabilities },
  }
}

interface Agreement {
  readonly asn: number
  readonly holdTimeSeconds: number
  readonly codec: SessionCodec
}

// What our OPEN, which offers everything in `options`, and theirs have in common (RFC 4271 4.2, 4760, 6793, 7911, 8654).
function agree(theirs: OpenMessage, options: SessionOptions): Agreement {
  const has = (type: Capability['type']): boolean => theirs.capabilities.some((capability) => capability.type === type)
  const offered = new Set<Family>()
  const sending = new Set<Family>()
  let asn = theirs.myAs
  for (const capability of theirs.capabilities) {
    if (capability.type === 'four-octet-as') asn = capability.asn
    const family = capability.type === 'multiprotocol' ? familyOfAfiSafi(capability) : undefined
    if (family !== undefined) offered.add(family)
    for (const tuple of capability.type === 'add-path' ? capability.families : []) {
      const sent = familyOfAfiSafi(tuple)
      if (sent !== undefined && sendsPaths(tuple.mode)) sending.add(sent)
    }
  }
  if (!has('multiprotocol')) offered.add('ipv4-unicast')
  const families = options.families.filter((family) => offered.has(family))
  return {
    asn,
    holdTimeSeconds: Math.min(theirs.holdTimeSeconds, options.holdTimeSeconds),
    codec: {
      fourOctetAs: has('four-octet-as'),
      sessionType: asn === options.asn ? 'ibgp' : 'ebgp',
      families: new Set(families),
      addPathReceive: new Set(options.addPath ? families.filter((family) => sending.has(family)) : []),
      addPathSend: new Set(),
      enhancedRouteRefresh: has('enhanced-route-refresh'),
      messageBytesMaxReceive: extendedMessageBytes,
      messageBytesMaxSend: has('extended-message') ? extendedMessageBytes : openingCodec.messageBytesMaxSend,
    },
  }
}

const sendsPaths = (mode: AddPathMode): boolean => mode !== 'receive'

// RFC 4271 section 6.3 leaves the first AS of the path to the receiver's judgement; most routers insist on it.
function strictly(
  { attributes, nlri }: UpdateMessage,
  peerAsn: number,
  { sessionType }: SessionCodec,
): readonly string[] {
  const prefixes = [...nlri, ...(attributes.mpReach?.nlri ?? [])].map(({ prefix }) => prefix)
  if (prefixes.length === 0) return []
  const first = attributes.asPath?.[0]?.asns[0]
  if (sessionType === 'ebgp')
    return first === peerAsn ? [] : [`the AS_PATH of ${prefixes[0]} starts with ${first ?? 'nothing'}, not ${peerAsn}`]
  return attributes.localPref === undefined ? [`${prefixes[0]} has no LOCAL_PREF on iBGP`] : []
}
