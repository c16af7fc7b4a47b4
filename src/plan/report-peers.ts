// What a BgpPeer's status says: every speaker's session as that speaker sees it, and the leader's summary of them all.

import type { PeerConfig, PeerRange, SessionStateName, SessionStatus } from '../bgp/speaker/protocol.ts'
import { type BgpPeer, matchesSelector } from '../k8s/objects.ts'
import { rfc3339 } from '../vip/rfc3339.ts'
import { offLinkNextHops } from './next-hop-check.ts'
import { pathCondition, type WatchedPath } from './path-condition.ts'
import type { ReportInput } from './report.ts'
import { clip, keptWords, shortList, type UnstampedCondition } from './status-text.ts'
import type { PeerRefusal, VipReport } from './types.ts'

/** What the schema of BgpPeer lets a message hold. */
const messageMax = 1024

/** Worst first. */
const states: readonly SessionStateName[] = ['Idle', 'Connect', 'Active', 'OpenSent', 'OpenConfirm', 'Established']

/** A session as it stands in a status: ours, or what another replica has written. */
interface ReportedSession extends WatchedPath {
  /** Where the router is. Empty in the entry that a speaker has for a range itself. */
  readonly remote: string
  readonly state: SessionStateName
  readonly since: string
  readonly families: readonly string[]
  readonly addPath: readonly string[]
  readonly announced: number
  readonly lastError: string
  readonly nextHopError: string
}

type Entry = Readonly<Record<string, unknown>>

/** This replica's entry. A peer of which the speaker has said nothing yet is Idle since the replica started. */
export function ownSession(
  { sessions, replica }: Pick<ReportInput, 'sessions' | 'replica'>,
  { name, ...place }: PeerConfig,
): Entry {
  const session = sessions.get(name)
  const key = { speaker: replica.name, remoteAddress: placeText(place) }
  return session === undefined
    ? { ...key, state: 'Idle', since: rfc3339(replica.sinceMs) }
    : { ...key, ...entryOf(session) }
}

const placeText = ({ address, zone }: Pick<PeerConfig, 'address' | 'zone'>): string =>
  zone === undefined ? address : `${address}%${zone}`

/**
 * This replica's entries for a range: one for each router that has its session, or had it a moment ago; and one without an address for
 * the range itself, where there is no router or something to be said of one that is gone. A router that fails again and again has no
 * entry, which would come and go with each attempt: what it fails of stands in that of the range.
 */
export function ownRangeSessions({ sessions, ranges, replica }: ReportInput, { name }: PeerRange): readonly Entry[] {
  const { name: speaker, sinceMs } = replica
  const lastError = ranges?.get(name)?.lastError
  const routers = [...sessions.values()]
    .filter(({ dynamic, establishedCount }) => dynamic?.range === name && establishedCount > 0)
    .map((session) => ({ speaker, remoteAddress: session.dynamic?.remote ?? '', ...entryOf(session) }))
    .sort((a, b) => (a.remoteAddress < b.remoteAddress ? -1 : 1))
  if (routers.length > 0 && lastError === undefined) return routers
  const listening = {
    ...{ speaker, remoteAddress: '', state: 'Active', since: rfc3339(sinceMs) },
    ...(lastError === undefined ? {} : { lastError: clip(lastError, messageMax) }),
  }
  return [listening, ...routers]
}

function entryOf(session: SessionStatus): Entry {
  return {
    state: session.state,
    since: rfc3339(session.sinceMs),
    ...(session.holdTimeSeconds === undefined ? {} : { holdSeconds: session.holdTimeSeconds }),
    ...(session.families === undefined ? {} : { families: session.families }),
    ...(session.addPath === undefined ? {} : { addPath: session.addPath }),
    ...(session.gracefulRestart === undefined ? {} : { gracefulRestart: session.gracefulRestart }),
    ...(session.peerRouterId === undefined ? {} : { routerId: session.peerRouterId }),
    announced: session.announcedPrefixes,
    receivedPrefixes: session.receivedPrefixes,
    ...(session.bfd === undefined ? {} : { bfd: session.bfd }),
    ...(session.bfdError === undefined ? {} : { bfdError: clip(session.bfdError, messageMax) }),
    ...(session.nextHopError === undefined ? {} : { nextHopError: clip(session.nextHopError, messageMax) }),
    ...(session.lastError === undefined ? {} : { lastError: clip(session.lastError, messageMax) }),
  }
}

/** Of a peer whose session lives on. */
export const keptMessage = ({ message }: PeerRefusal): string => clip(`${message}; ${keptWords}`, messageMax)

/** The entry of a node for a peer that it refuses: the reason is the node's, so it stands with the node. */
export const refusedSession = ({ name, sinceMs }: ReportInput['replica'], { message }: PeerRefusal): Entry => ({
  ...{ speaker: name, remoteAddress: '', state: 'Idle', since: rfc3339(sinceMs) },
  lastError: clip(message, messageMax),
})

/**
 * BgpPeers with which at least one controller has a session, by name; and of those with `speaker: node` every node that has one, as
 * `nodeSession` writes it.
 */
export function establishedPeers(input: ReportInput): ReadonlySet<string> {
  const established = new Set<string>()
  for (const peer of input.view.bgpPeers.values())
    for (const { state, speaker } of routersOf(input, peer))
      if (state === 'Established')
        established.add(peer.speaker === 'node' ? nodeSession(peer.meta.name, speaker) : peer.meta.name)
  return established
}

// Names of objects have no slash.
const nodeSession = (peer: string, node: string): string => `${peer}/${node}`

/** The BgpPeers that were told of the VIP: by a controller, or by one of its next hops. */
export function toldPeers(
  { peers, nodePeers = [], nextHops }: VipReport,
  established: ReadonlySet<string>,
): readonly string[] {
  const told = peers.filter((peer) => established.has(peer))
  if (nodePeers.length === 0) return told
  return [
    ...told,
    ...nodePeers.filter((peer) => nextHops.some(({ node }) => established.has(nodeSession(peer, node)))),
  ].sort()
}

/** How many VIPs each BgpPeer with `speaker: node` was told of, by whichever node. */
export function countTold({ view, plan }: ReportInput, established: ReadonlySet<string>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  if (![...view.bgpPeers.values()].some(({ speaker }) => speaker === 'node')) return counts
  for (const vip of plan.vips.values())
    if (vip.nodePeers !== undefined)
      for (const peer of toldPeers({ ...vip, peers: [] }, established)) counts.set(peer, (counts.get(peer) ?? 0) + 1)
  return counts
}

/** The leader's part: the columns of `kubectl get`, and the conditions. `told` as `countTold` has it. */
export function leaderPeerStatus(
  input: ReportInput,
  peer: BgpPeer,
  told: ReadonlyMap<string, number>,
): Readonly<Record<string, unknown>> {
  const refusal = input.plan.peerRefusals.find((refused) => refused.peer === peer.meta.name)
  const sessions = routersOf(input, peer)
  const expected = expectedSessions(input, peer)
  const established = sessions.filter(({ state }) => state === 'Established')
  const missing = Math.max(0, expected - sessions.length)
  const worst = missing > 0 && peer.speaker === 'controller' && sessions.length === 0 ? undefined : worstOf(sessions)
  const generation = peer.meta.generation > 0 ? { observedGeneration: peer.meta.generation } : {}
  const path = refusal === undefined ? pathCondition(peer, established) : undefined
  const conditions = [
    accepted(
      refusal,
      input.plan.kept?.peers.find((kept) => kept.peer === peer.meta.name),
    ),
    peer.addressRange === undefined || refusal !== undefined || peer.shutdown !== undefined
      ? establishedCondition(peer, refusal, { expected, sessions, worst, silent: silentNodes(input, peer, sessions) })
      : rangeCondition(input, peer),
    addPathCondition(peer, established),
    nextHopsCondition(input, peer, established),
    ...(path === undefined ? [] : [path]),
  ]
  const wrong = conditions.find(({ status }) => status === 'False')
  const since = sessions.map((session) => session.since).filter((time) => time !== '')
  return {
    ...generation,
    state: worst?.state ?? (peer.addressRange === undefined || refusal !== undefined ? 'Idle' : 'Active'),
    sessionsSummary: `${established.length}/${expected}`,
    announced: announcedBy(peer, established, told),
    ...(worst === undefined || since.length === 0
      ? {}
      : { since: worst.state === 'Established' ? since.sort().at(-1) : worst.since }),
    message: clip(wrong?.message ?? '', messageMax),
    conditions: conditions.map((condition) => ({ ...condition, ...generation })),
  }
}

// Controllers announce the same, and the one that is behind counts. Nodes announce each its own, which may be nothing.
function announcedBy(
  { meta, speaker }: BgpPeer,
  established: readonly ReportedSession[],
  told: ReadonlyMap<string, number>,
): number {
  if (speaker === 'node') return told.get(meta.name) ?? 0
  return established.length === 0 ? 0 : Math.min(...established.map(({ announced }) => announced))
}

// The worst session; among equals the one that has been so for longest.
function worstOf(sessions: readonly ReportedSession[]): ReportedSession | undefined {
  return [...sessions].sort(
    (a, b) => states.indexOf(a.state) - states.indexOf(b.state) || (a.since < b.since ? -1 : a.since > b.since ? 1 : 0),
  )[0]
}

// Our own session as it is now, the others' as they last reported them. Entries of speakers that are gone do not count.
function sessionsOf(input: ReportInput, peer: BgpPeer): readonly ReportedSession[] {
  const { replica, replicas, plan } = input
  const listed = peer.status['sessions']
  const reported = (Array.isArray(listed) ? listed : []).map(readSession).filter((session) => session !== undefined)
  if (peer.speaker === 'node') {
    const nodes = new Set(speakingNodes(input, peer))
    return reported.filter(({ speaker }) => nodes.has(speaker) && (input.agents?.has(speaker) ?? true))
  }
  const others = reported.filter(({ speaker }) => speaker !== replica.name && (replicas?.has(speaker) ?? true))
  const config = plan.peers.find(({ name }) => name === peer.meta.name)
  const range = plan.peerRanges.find(({ name }) => name === peer.meta.name)
  if (config === undefined && range === undefined) return []
  const mine = range === undefined ? [] : ownRangeSessions(input, range)
  return [...mine, ...(config === undefined ? [] : [ownSession(input, config)])]
    .map(readSession)
    .filter((session) => session !== undefined)
    .concat(others)
}

/** Without the entries for a range itself: sessions that there are, or should be. */
const routersOf = (input: ReportInput, peer: BgpPeer): readonly ReportedSession[] =>
  peer.addressRange === undefined
    ? sessionsOf(input, peer)
    : sessionsOf(input, peer).filter(({ remote }) => remote !== '')

function readSession(raw: unknown): ReportedSession | undefined {
  const entry = raw as Readonly<Record<string, unknown>> | null | undefined
  const state = states.find((name) => name === entry?.['state'])
  const text = (key: string): string => {
    const value = entry?.[key]
    return typeof value === 'string' ? value : ''
  }
  const texts = (key: string): readonly string[] => {
    const list = entry?.[key]
    return Array.isArray(list) ? list.filter((item) => typeof item === 'string') : []
  }
  if (typeof entry?.['speaker'] !== 'string') return undefined
  const announced = entry['announced']
  return {
    speaker: text('speaker'),
    remote: text('remoteAddress'),
    state: state ?? 'Idle',
    since: text('since'),
    families: texts('families'),
    addPath: texts('addPath'),
    announced: typeof announced === 'number' ? announced : 0,
    lastError: text('lastError'),
    nextHopError: text('nextHopError'),
    bfd: text('bfd'),
    bfdError: text('bfdError'),
  }
}

/** Nodes whose agents are to have a session with the peer. */
const speakingNodes = ({ view }: ReportInput, { nodeSelector }: BgpPeer): readonly string[] =>
  [...view.nodes.values()].flatMap(({ meta }) => (matchesSelector(nodeSelector, meta.labels) ? [meta.name] : []))

/** Those of which there is no session. */
function silentNodes(input: ReportInput, peer: BgpPeer, sessions: readonly ReportedSession[]): readonly string[] {
  if (peer.speaker === 'controller') return []
  const heard = new Set(sessions.map(({ speaker }) => speaker))
  return speakingNodes(input, peer).filter((node) => !heard.has(node))
}

function expectedSessions(input: ReportInput, peer: BgpPeer): number {
  const { replicas, plan } = input
  // Who dials in is not ours to say.
  if (peer.addressRange !== undefined) return routersOf(input, peer).length
  if (peer.speaker === 'node') return speakingNodes(input, peer).length
  if (!plan.peers.some(({ name }) => name === peer.meta.name)) return replicas?.size ?? 1
  return Math.max(replicas?.size ?? 0, sessionsOf(input, peer).length)
}

type Judged = Omit<UnstampedCondition, 'observedGeneration'>

function accepted(refusal: PeerRefusal | undefined, kept: PeerRefusal | undefined): Judged {
  if (kept !== undefined) return { type: 'Accepted', status: 'False', reason: kept.reason, message: keptMessage(kept) }
  if (refusal === undefined) return { type: 'Accepted', status: 'True', reason: 'Accepted', message: '' }
  return { type: 'Accepted', status: 'False', reason: refusal.reason, message: refusal.message }
}

function establishedCondition(
  peer: BgpPeer,
  refusal: PeerRefusal | undefined,
  facts: {
    readonly expected: number
    readonly sessions: readonly ReportedSession[]
    readonly worst: ReportedSession | undefined
    readonly silent: readonly string[]
  },
): Judged {
  const { expected, sessions, worst, silent } = facts
  const established = sessions.filter(({ state }) => state === 'Established').length
  const no = (reason: string, message: string): Judged => ({ type: 'Established', status: 'False', reason, message })
  if (refusal !== undefined) return no(refusal.reason, refusal.message)
  if (peer.shutdown !== undefined)
    return no('Shutdown', peer.shutdown === '' ? 'shut down' : `shut down: ${peer.shutdown}`)
  if (established > 0 && established >= expected)
    return { type: 'Established', status: 'True', reason: 'Established', message: '' }
  if (peer.speaker === 'node' && expected === 0) return no('NoNode', 'nodeSelector selects no node')
  const isSilent = silent.length > 0 && (worst === undefined || worst.state === 'Established')
  const words = isSilent
    ? `the agent of ${shortList(silent, 3, 512)} reports no session: does it run, with the rights that deploy/node-speakers gives it?`
    : worst === undefined
      ? 'no speaker has a session'
      : `${worst.speaker}: ${worst.state}${worst.lastError === '' ? '' : `, ${worst.lastError}`}`
  return no(established === 0 ? 'NotEstablished' : 'SomeNotEstablished', words)
}

/** All is well when every speaker has routers, and every router that has connected its session. */
function rangeCondition(input: ReportInput, peer: BgpPeer): Judged {
  const { addressRange } = peer
  const entries = sessionsOf(input, peer)
  const routers = routersOf(input, peer)
  const established = routers.filter(({ state }) => state === 'Established')
  const no = (reason: string, message: string): Judged => ({ type: 'Established', status: 'False', reason, message })
  const speakers = [...(input.replicas ?? new Set(entries.map(({ speaker }) => speaker)))].sort()
  const without = speakers.filter((name) => established.every(({ speaker }) => speaker !== name))
  const failed = worstOf(routers.filter(({ state }) => state !== 'Established'))
  const refused = entries.find(({ remote, lastError }) => remote === '' && lastError !== '')
  const reason = established.length === 0 ? 'NotEstablished' : 'SomeNotEstablished'
  if (failed !== undefined)
    return no(
      reason,
      `${failed.speaker}, ${failed.remote}: ${failed.state}${failed.lastError === '' ? '' : `, ${failed.lastError}`}`,
    )
  const last = refused === undefined ? '' : `the last one that failed, at ${refused.speaker}: ${refused.lastError}`
  const also = last === '' ? '' : `; ${last}`
  if (established.length === 0) return no(reason, `no router has connected from ${addressRange}${also}`)
  if (without.length > 0)
    return no(reason, `no router has connected from ${addressRange} to ${shortList(without, 3, 512)}${also}`)
  return { type: 'Established', status: 'True', reason: 'Established', message: last }
}

// Whether the router can be expected to use what it is told: our own address as next hop is one, and a node's is on the session's network.
function nextHopsCondition(input: ReportInput, peer: BgpPeer, established: readonly ReportedSession[]): Judged {
  const type = 'NextHopsUsable'
  const no = (reason: string, message: string): Judged => ({ type, status: 'False', reason, message })
  if (established.length === 0) return { type, status: 'Unknown', reason: 'NotEstablished', message: '' }
  const without = established.find(({ nextHopError }) => nextHopError !== '')
  if (without !== undefined) return no('OwnAddress', `${without.speaker}: ${without.nextHopError}`)
  const { plan, sessions } = input
  const config =
    plan.peers.find(({ name }) => name === peer.meta.name) ??
    plan.peerRanges.find(({ name }) => name === peer.meta.name)
  const networks = [...sessions.values()].find(
    ({ peer: name, dynamic }) => (dynamic?.range ?? name) === peer.meta.name,
  )?.localNetworks
  const off =
    config === undefined || networks === undefined
      ? undefined
      : offLinkNextHops({ view: input.view, nodes: plan.nodes }, peer, config, networks)
  return off === undefined ? { type, status: 'True', reason: 'Usable', message: '' } : no('OffLink', off)
}

// Without ADD-PATH the router knows one next hop of each VIP, which is a smaller service than was asked for.
function addPathCondition(peer: BgpPeer, established: readonly ReportedSession[]): Judged {
  const type = 'AddPathNegotiated'
  // Each node is one next hop: there is no more to tell.
  if (peer.addPath === 'disabled' || (peer.speaker === 'node' && peer.addPath === 'auto'))
    return { type, status: 'Unknown', reason: 'Disabled', message: '' }
  if (established.length === 0) return { type, status: 'Unknown', reason: 'NotEstablished', message: '' }
  const without = established.find(({ families, addPath }) => families.some((family) => !addPath.includes(family)))
  return without === undefined
    ? { type, status: 'True', reason: 'Negotiated', message: '' }
    : {
        type,
        status: 'False',
        reason: 'NotNegotiated',
        message: 'the router does not take ADD-PATH: it is told one next hop of each VIP',
      }
}
