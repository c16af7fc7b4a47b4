// The session's table as markdown for docs/fsm.md: which rule each state applies to each event, and what the rule then does,
// found by running it. The document can therefore not say anything else than the code; a test holds the file to this text.

import { parseAsn, parseRouterId } from '../../net/asn.ts'
import { must } from '../../runtime/result.ts'
import { headerError, openError, renderErrorCode, routeRefreshLengthError, updateError } from '../packet/errors.ts'
import { afiSafiOf, type OpenMessage } from '../packet/message.ts'
import { lateCollisionMs } from './collision.ts'
import { negotiate } from './negotiate.ts'
import { createOpen } from './open.ts'
import type { Rule } from './procedures.ts'
import {
  type EventName,
  eventNames,
  eventNumbers,
  freshMemory,
  type SessionAction,
  type SessionConfig,
  type SessionContext,
  type SessionEvent,
  type SessionState,
  type StateName,
  type Step,
  stateNames,
} from './session.ts'
import { ruleOf, transition } from './transition.ts'

/** The session that the document shows: AS 64512 to AS 65001, hold time 90 s, DelayOpen off, DampPeerOscillations on. */
export const sampleConfig: SessionConfig = {
  name: 'leaf1',
  localAsn: must(parseAsn(64512)),
  peerAsn: must(parseAsn(65001)),
  routerId: must(parseRouterId('10.0.0.10')),
  holdTimeSeconds: 90,
  keepaliveSeconds: 30,
  connectRetrySeconds: 10,
  families: ['ipv4-unicast'],
  addPath: 'auto',
  passive: false,
  delayOpenSeconds: 0,
  idleHold: { firstSeconds: 1, maxSeconds: 30 },
  sendNotificationWithoutOpen: false,
  collisionDetectEstablishedState: false,
}

export const sampleContext: SessionContext = { config: sampleConfig, nowMs: 0, restarting: false }

const sentOpen = createOpen(sampleConfig, { restarting: false, withoutCapabilities: [] })

/** What a router of AS 65001 answers. */
export const samplePeerOpen: OpenMessage = {
  type: 'OPEN',
  version: 4,
  myAs: 65001,
  holdTimeSeconds: 90,
  bgpIdentifier: 0x0a00_0001,
  capabilities: [
    { type: 'multiprotocol', ...afiSafiOf['ipv4-unicast'] },
    { type: 'route-refresh' },
    { type: 'four-octet-as', asn: 65001 },
    { type: 'add-path', families: [{ ...afiSafiOf['ipv4-unicast'], mode: 'receive' }] },
  ],
}

const negotiated = negotiate(sentOpen, samplePeerOpen, sampleConfig)

/** One state of each name. */
export const sampleStates: { readonly [S in StateName]: SessionState } = {
  Idle: { name: 'Idle', memory: freshMemory },
  Connect: { name: 'Connect', memory: freshMemory, delayingOpen: false },
  Active: { name: 'Active', memory: freshMemory, delayingOpen: false },
  OpenSent: { name: 'OpenSent', memory: freshMemory, sentOpen },
  OpenConfirm: { name: 'OpenConfirm', memory: freshMemory, negotiated },
  Established: { name: 'Established', memory: freshMemory, negotiated, sinceMs: 0 },
}

const notification = (code: number, subcode: number) =>
  ({ type: 'NOTIFICATION', code, subcode, data: new Uint8Array(0) }) as const

/** One event of each name. */
export const sampleEvents: { readonly [E in EventName]: Extract<SessionEvent, { readonly type: E }> } = {
  ManualStart: { type: 'ManualStart' },
  ManualStop: { type: 'ManualStop', cease: { name: 'administrative-shutdown' } },
  AutomaticStart: { type: 'AutomaticStart' },
  ManualStartWithPassiveTcpEstablishment: { type: 'ManualStartWithPassiveTcpEstablishment' },
  AutomaticStartWithPassiveTcpEstablishment: { type: 'AutomaticStartWithPassiveTcpEstablishment' },
  AutomaticStartWithDampPeerOscillations: { type: 'AutomaticStartWithDampPeerOscillations' },
  AutomaticStartWithDampPeerOscillationsAndPassiveTcpEstablishment: {
    type: 'AutomaticStartWithDampPeerOscillationsAndPassiveTcpEstablishment',
  },
  AutomaticStop: { type: 'AutomaticStop', cease: { name: 'maximum-prefixes' }, reason: 'too many prefixes' },
  ConnectRetryTimerExpires: { type: 'ConnectRetryTimerExpires' },
  HoldTimerExpires: { type: 'HoldTimerExpires' },
  KeepaliveTimerExpires: { type: 'KeepaliveTimerExpires' },
  DelayOpenTimerExpires: { type: 'DelayOpenTimerExpires' },
  IdleHoldTimerExpires: { type: 'IdleHoldTimerExpires' },
  TcpConnectionValid: { type: 'TcpConnectionValid' },
  TcpCrInvalid: { type: 'TcpCrInvalid' },
  TcpCrAcked: { type: 'TcpCrAcked' },
  TcpConnectionConfirmed: { type: 'TcpConnectionConfirmed' },
  TcpConnectionFails: { type: 'TcpConnectionFails', reason: 'connection refused' },
  BgpOpen: { type: 'BgpOpen', open: samplePeerOpen },
  BgpOpenWithDelayOpenTimerRunning: { type: 'BgpOpenWithDelayOpenTimerRunning', open: samplePeerOpen },
  BgpHeaderErr: { type: 'BgpHeaderErr', error: headerError('not-synchronized', 'the marker is not all ones') },
  BgpOpenMsgErr: { type: 'BgpOpenMsgErr', error: openError('bad-peer-as', 'wrong AS') },
  OpenCollisionDump: { type: 'OpenCollisionDump' },
  NotifMsgVerErr: { type: 'NotifMsgVerErr', notification: notification(2, 1) },
  NotifMsg: { type: 'NotifMsg', notification: notification(6, 4) },
  KeepAliveMsg: { type: 'KeepAliveMsg' },
  UpdateMsg: { type: 'UpdateMsg' },
  UpdateMsgErr: { type: 'UpdateMsgErr', error: updateError('malformed-attribute-list', 'attributes overrun') },
  SendHoldTimerExpires: { type: 'SendHoldTimerExpires' },
  RouteRefreshMsg: {
    type: 'RouteRefreshMsg',
    message: { type: 'ROUTE-REFRESH', ...afiSafiOf['ipv4-unicast'], subtype: 0 },
  },
  RouteRefreshMsgErr: { type: 'RouteRefreshMsgErr', error: routeRefreshLengthError(new Uint8Array(24)) },
}

/** An action in a few words: `start Hold 90 s`, `send NOTIFICATION 6/7`. */
export function renderAction(action: SessionAction): string {
  switch (action.type) {
    case 'start-timer':
      return `start ${action.timer} ${action.seconds} s`
    case 'stop-timer':
      return `stop ${action.timer}`
    case 'send': {
      const { message } = action
      return message.type === 'NOTIFICATION'
        ? `send NOTIFICATION ${message.code}/${message.subcode}`
        : `send ${message.type}`
    }
    default:
      return action.type
  }
}

/** `Idle: send NOTIFICATION 4/0, disconnect`: the next state, and the actions in their order. */
export const renderStep = ([state, actions]: Step): string =>
  actions.length === 0 ? state.name : `${state.name}: ${actions.map(renderAction).join(', ')}`

/** Events that in Connect and Active presume a connection whose OPEN is being delayed. */
const presumesConnection: ReadonlySet<EventName> = new Set([
  'DelayOpenTimerExpires',
  'BgpOpen',
  'BgpOpenWithDelayOpenTimerRunning',
  'BgpHeaderErr',
  'BgpOpenMsgErr',
  'OpenCollisionDump',
  'NotifMsgVerErr',
  'NotifMsg',
  'KeepAliveMsg',
  'UpdateMsg',
  'UpdateMsgErr',
  'RouteRefreshMsg',
  'RouteRefreshMsgErr',
])

/** The cell of the table, run: in Connect and Active with a connection where the event can not come without one. */
export function sampleStep(name: StateName, event: EventName): Step {
  const state = sampleStates[name]
  const delaying = (state.name === 'Connect' || state.name === 'Active') && presumesConnection.has(event)
  return transition(delaying ? { ...state, delayingOpen: true } : state, sampleEvents[event], sampleContext)
}

const numbered = (event: EventName): string => {
  const number = eventNumbers[event]
  return number === null ? event : `${number} ${event}`
}

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`

/** The whole document. */
export function renderTable(): string {
  return [
    '# The BGP session, state by state',
    '',
    'Printed from `src/bgp/fsm`; the test that guards this file writes it anew with `UPDATE_DOCS=1`. Events carry their numbers of',
    'RFC 4271 section 8.1 (29: RFC 9687). A name in the grid is a rule; what it does follows below, as computed for a session with',
    'hold time 90 s and DampPeerOscillations on. Events that need a connection are shown in Connect and Active with an OPEN that',
    'is being delayed.',
    '',
    row(['event', ...stateNames]),
    row(['event', ...stateNames].map(() => '---')),
    ...eventNames.map((event) => row([numbered(event), ...stateNames.map((state) => ruleOf(state, event).name)])),
    '',
    'Timers that may run: Idle: IdleHold. Connect and Active: ConnectRetry, or DelayOpen. OpenSent: Hold (240 s). OpenConfirm:',
    'Hold, Keepalive. Established: Hold, Keepalive, SendHold. ConnectRetry, Keepalive and IdleHold are shortened at random by up',
    'to a quarter (RFC 4271 section 10).',
    '',
    ...[...rules().values()].flatMap(renderRule),
    ...collisions,
    ...renderCodes(),
  ].join('\n')
}

interface Use {
  readonly state: StateName
  readonly event: EventName
}

function rules(): ReadonlyMap<Rule, { readonly rule: Rule; readonly uses: readonly Use[] }> {
  const found = new Map<Rule, { readonly rule: Rule; readonly uses: Use[] }>()
  for (const event of eventNames)
    for (const state of stateNames) {
      const rule = ruleOf(state, event)
      const known = found.get(rule)
      if (known === undefined) found.set(rule, { rule, uses: [{ state, event }] })
      else known.uses.push({ state, event })
    }
  return found
}

function renderRule({ rule, uses }: { readonly rule: Rule; readonly uses: readonly Use[] }): readonly string[] {
  const effects = new Map<string, string[]>()
  for (const { state, event } of uses) {
    const effect = `${state} -> ${renderStep(sampleStep(state, event))}`
    effects.set(effect, [...(effects.get(effect) ?? []), event])
  }
  const lines =
    rule.name === 'ignore' ? [] : [...effects].map(([effect, events]) => `- ${effect} (${events.join(', ')})`)
  return [`## ${rule.name}`, '', rule.text, '', ...lines, ...(lines.length === 0 ? [] : [''])]
}

const collisions: readonly string[] = [
  '## Two connections at once',
  '',
  'Each peer has a primary session, which dials and waits, and at most one secondary, which exists only with a connection that',
  'the peer opened (`src/bgp/fsm/collision.ts`). A connection from the peer is',
  '',
  '- refused while the primary is in Idle,',
  '- taken by the primary in Active,',
  '- given to a new secondary otherwise; a secondary that is there already is dumped, since the peer opens one at a time.',
  '',
  'When an OPEN arrives on one while the other is in OpenSent, OpenConfirm or Established, one of them is dumped (6/7):',
  '',
  '| the other is | kept |',
  '| --- | --- |',
  '| Established | the other; with CollisionDetectEstablishedState by the rows below |',
  `| Established for ${lateCollisionMs / 1000} s or more with graceful restart, and the new one is the peer's | the new one: the peer has restarted (RFC 4724 section 5); the old one is closed without a NOTIFICATION |`,
  '| opened by the same side | the younger |',
  '| opened by the other side | the one opened by the side with the higher BGP identifier, or the larger AS between equal ones (RFC 6286) |',
  '',
  'Whoever is Established first sends the other away; a secondary that stays becomes the primary.',
  '',
]

// The codes that the rules above send by themselves, in words.
function renderCodes(): readonly string[] {
  const codes = [
    [4, 0],
    [5, 1],
    [5, 2],
    [5, 3],
    [6, 7],
  ] as const
  return [
    '## Codes',
    '',
    ...codes.map(([code, subcode]) => `- ${code}/${subcode}: ${renderErrorCode(code, subcode)}`),
    '- others come with the event: an error found in a message (1, 2, 3, 7), or the Cease that was asked for (6)',
    '',
  ]
}
