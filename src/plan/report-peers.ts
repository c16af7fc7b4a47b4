// What a BgpPeer's status says: every speaker's session as that speaker sees it, and the leader's summary of them all.

import type { SessionStateName } from '../bgp/speaker/protocol.ts'
import { type BgpPeer, matchesSelector } from '../k8s/objects.ts'
import { rfc3339 } from '../vip/rfc3339.ts'
import type { ReportInput } from './report.ts'
import { clip, type UnstampedCondition } from './status-text.ts'
import type { PeerRefusal } from './types.ts'

/** What the schema of BgpPeer lets a message hold. */
const messageMax = 1024

/** Worst first. */
const states: readonly SessionStateName[] = ['Idle', 'Connect', 'Active', 'OpenSent', 'OpenConfirm', 'Established']

/** A session as it stands in a status: ours, or what another replica has written. */
interface ReportedSession {
  readonly speaker: string
  readonly state: SessionStateName
  readonly since: string
  readonly families: readonly string[]
  readonly addPath: readonly string[]
  readonly announced: number
  readonly lastError: string
}

/** This replica's entry. A peer of which the speaker has said nothing yet is Idle since the replica started. */
export function ownSession({ sessions, replica }: ReportInput, peer: string): Readonly<Record<string, unknown>> {
  const session = sessions.get(peer)
  if (session === undefined) return { speaker: replica.name, state: 'Idle', since: rfc3339(replica.sinceMs) }
  return {
    speaker: replica.name,
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
    ...(session.lastError === undefined ? {} : { lastError: clip(session.lastError, messageMax) }),
  }
}

/** BgpPeers with which at least one speaker has a session. */
export function establishedPeers(input: ReportInput): ReadonlySet<string> {
  const established = new Set<string>()
  for (const peer of input.view.bgpPeers.values())
    if (sessionsOf(input, peer).some(({ state }) => state === 'Established')) established.add(peer.meta.name)
  return established
}

/** The leader's part: the columns of `kubectl get`, and the conditions. */
export function leaderPeerStatus(input: ReportInput, peer: BgpPeer): Readonly<Record<string, unknown>> {
  const refusal = input.plan.peerRefusals.find((refused) => refused.peer === peer.meta.name)
  const sessions = sessionsOf(input, peer)
  const expected = expectedSessions(input, peer)
  const established = sessions.filter(({ state }) => state === 'Established')
  const missing = Math.max(0, expected - sessions.length)
  const worst = missing > 0 && peer.speaker === 'controller' && sessions.length === 0 ? undefined : worstOf(sessions)
  const generation = peer.meta.generation > 0 ? { observedGeneration: peer.meta.generation } : {}
  const conditions = [
    accepted(peer, refusal),
    establishedCondition(peer, refusal, { expected, established: established.length, worst }),
    addPathCondition(peer, established),
  ]
  const wrong = conditions.find(({ status }) => status === 'False')
  const since = sessions.map((session) => session.since).filter((time) => time !== '')
  return {
    ...generation,
    state: worst?.state ?? 'Idle',
    sessionsSummary: `${established.length}/${expected}`,
    announced: established.length === 0 ? 0 : Math.min(...established.map(({ announced }) => announced)),
    ...(worst === undefined || since.length === 0
      ? {}
      : { since: worst.state === 'Established' ? since.sort().at(-1) : worst.since }),
    message: clip(wrong?.message ?? '', messageMax),
    conditions: conditions.map((condition) => ({ ...condition, ...generation })),
  }
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
  const others = (Array.isArray(listed) ? listed : [])
    .map(readSession)
    .filter(
      (session) =>
        session !== undefined &&
        session.speaker !== replica.name &&
        (peer.speaker === 'node' || (replicas?.has(session.speaker) ?? true)),
    )
    .flatMap((session) => (session === undefined ? [] : [session]))
  if (!plan.peers.some(({ name }) => name === peer.meta.name)) return peer.speaker === 'node' ? others : []
  const mine = readSession(ownSession(input, peer.meta.name))
  return mine === undefined ? others : [mine, ...others]
}

function readSession(raw: unknown): ReportedSession | undefined {
  const entry = raw as Readonly<Record<string, unknown>> | null | undefined
  const speaker = entry?.['speaker']
  const state = states.find((name) => name === entry?.['state'])
  if (typeof speaker !== 'string') return undefined
  const texts = (key: string): readonly string[] => {
    const list = entry?.[key]
    return Array.isArray(list) ? list.filter((item) => typeof item === 'string') : []
  }
  const since = entry?.['since']
  const announced = entry?.['announced']
  const lastError = entry?.['lastError']
  return {
    speaker,
    state: state ?? 'Idle',
    since: typeof since === 'string' ? since : '',
    families: texts('families'),
    addPath: texts('addPath'),
    announced: typeof announced === 'number' ? announced : 0,
    lastError: typeof lastError === 'string' ? lastError : '',
  }
}

function expectedSessions(input: ReportInput, peer: BgpPeer): number {
  const { view, replicas, plan } = input
  if (peer.speaker === 'node')
    return [...view.nodes.values()].filter(({ meta }) => matchesSelector(peer.nodeSelector, meta.labels)).length
  if (!plan.peers.some(({ name }) => name === peer.meta.name)) return replicas?.size ?? 1
  return Math.max(replicas?.size ?? 0, sessionsOf(input, peer).length)
}

type Judged = Omit<UnstampedCondition, 'observedGeneration'>

function accepted({ speaker }: BgpPeer, refusal: PeerRefusal | undefined): Judged {
  if (refusal === undefined) return { type: 'Accepted', status: 'True', reason: 'Accepted', message: '' }
  if (speaker === 'node') return { type: 'Accepted', status: 'True', reason: refusal.reason, message: refusal.message }
  return { type: 'Accepted', status: 'False', reason: refusal.reason, message: refusal.message }
}

function establishedCondition(
  peer: BgpPeer,
  refusal: PeerRefusal | undefined,
  facts: { readonly expected: number; readonly established: number; readonly worst: ReportedSession | undefined },
): Judged {
  const { expected, established, worst } = facts
  const no = (reason: string, message: string): Judged => ({ type: 'Established', status: 'False', reason, message })
  if (refusal !== undefined && peer.speaker === 'controller') return no(refusal.reason, refusal.message)
  if (peer.shutdown !== undefined)
    return no('Shutdown', peer.shutdown === '' ? 'shut down' : `shut down: ${peer.shutdown}`)
  if (established > 0 && established >= expected)
    return { type: 'Established', status: 'True', reason: 'Established', message: '' }
  const words =
    worst === undefined
      ? 'no speaker has a session'
      : `${worst.speaker}: ${worst.state}${worst.lastError === '' ? '' : `, ${worst.lastError}`}`
  return no(established === 0 ? 'NotEstablished' : 'SomeNotEstablished', words)
}

// Without ADD-PATH the router knows one next hop of each VIP, which is a smaller service than was asked for.
function addPathCondition(peer: BgpPeer, established: readonly ReportedSession[]): Judged {
  const type = 'AddPathNegotiated'
  if (peer.addPath === 'off') return { type, status: 'Unknown', reason: 'Off', message: '' }
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
