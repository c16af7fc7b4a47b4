// The errors of BGP by number and by name: constructors for those we send in a NOTIFICATION, words for those we receive.
// One table, so that an operator reads the same name in a log, a status and a metric.

import { hexOf, readU16, readU32 } from './bytes.ts'
import { capabilityCodes, renderCapabilityCode } from './capability.ts'
import { familyOfAfiSafi, type NotificationMessage, type SessionError } from './message.ts'
import { decodeUtf8, encodeUtf8 } from './utf8.ts'

interface ErrorCode {
  readonly code: number
  readonly words: string
  /** Subcode and words by the name that the constructors take. */
  readonly subcodes: Readonly<Record<string, readonly [subcode: number, words: string]>>
}

// IANA "BGP Error (Notification) Codes" and their subcode registries.
const header = {
  code: 1,
  words: 'message header error',
  subcodes: {
    'not-synchronized': [1, 'connection not synchronized'],
    'bad-length': [2, 'bad message length'],
    'bad-type': [3, 'bad message type'],
  },
} as const satisfies ErrorCode

const open = {
  code: 2,
  words: 'OPEN message error',
  subcodes: {
    unspecific: [0, 'unspecific'],
    'unsupported-version': [1, 'unsupported version number'],
    'bad-peer-as': [2, 'bad peer AS'],
    'bad-bgp-identifier': [3, 'bad BGP identifier'],
    'unsupported-optional-parameter': [4, 'unsupported optional parameter'],
    'unacceptable-hold-time': [6, 'unacceptable hold time'],
    'unsupported-capability': [7, 'unsupported capability'],
    'role-mismatch': [11, 'role mismatch'],
  },
} as const satisfies ErrorCode

const update = {
  code: 3,
  words: 'UPDATE message error',
  subcodes: {
    'malformed-attribute-list': [1, 'malformed attribute list'],
    'unrecognized-well-known-attribute': [2, 'unrecognized well-known attribute'],
    'missing-well-known-attribute': [3, 'missing well-known attribute'],
    'attribute-flags': [4, 'attribute flags error'],
    'attribute-length': [5, 'attribute length error'],
    'invalid-origin': [6, 'invalid ORIGIN'],
    'invalid-next-hop': [8, 'invalid NEXT_HOP'],
    'optional-attribute': [9, 'optional attribute error'],
    'invalid-network-field': [10, 'invalid network field'],
    'malformed-as-path': [11, 'malformed AS_PATH'],
  },
} as const satisfies ErrorCode

const holdTimer = { code: 4, words: 'hold timer expired', subcodes: {} } as const satisfies ErrorCode

const stateMachine = {
  code: 5,
  words: 'finite state machine error',
  subcodes: {
    unspecific: [0, 'unspecific'],
    OpenSent: [1, 'unexpected message in OpenSent'],
    OpenConfirm: [2, 'unexpected message in OpenConfirm'],
    Established: [3, 'unexpected message in Established'],
  },
} as const satisfies ErrorCode

const cease = {
  code: 6,
  words: 'cease',
  subcodes: {
    unspecific: [0, 'unspecific'],
    'maximum-prefixes': [1, 'maximum number of prefixes reached'],
    'administrative-shutdown': [2, 'administrative shutdown'],
    'peer-deconfigured': [3, 'peer de-configured'],
    'administrative-reset': [4, 'administrative reset'],
    'connection-rejected': [5, 'connection rejected'],
    'configuration-change': [6, 'other configuration change'],
    'connection-collision': [7, 'connection collision resolution'],
    'out-of-resources': [8, 'out of resources'],
    'hard-reset': [9, 'hard reset'],
    'bfd-down': [10, 'BFD down'],
  },
} as const satisfies ErrorCode

const routeRefresh = {
  code: 7,
  words: 'ROUTE-REFRESH message error',
  subcodes: { 'invalid-length': [1, 'invalid message length'] },
} as const satisfies ErrorCode

const sendHoldTimer = { code: 8, words: 'send hold timer expired', subcodes: {} } as const satisfies ErrorCode

const errorCodes: readonly ErrorCode[] = [
  header,
  open,
  update,
  holdTimer,
  stateMachine,
  cease,
  routeRefresh,
  sendHoldTimer,
]

export type HeaderErrorName = keyof (typeof header)['subcodes']
export type OpenErrorName = keyof (typeof open)['subcodes']
export type UpdateErrorName = keyof (typeof update)['subcodes']
export type StateMachineErrorName = keyof (typeof stateMachine)['subcodes']
export type CeaseName = keyof (typeof cease)['subcodes']

const noData = new Uint8Array(0)

// What fits in a NOTIFICATION of 4096 octets, the most that every peer takes.
const notificationDataMax = 4096 - 21

const construct =
  <Name extends string>({
    code,
    subcodes,
  }: ErrorCode & { readonly subcodes: Readonly<Record<Name, readonly [number, string]>> }) =>
  (name: Name, reason: string, data: Uint8Array = noData): SessionError => ({
    code,
    subcode: subcodes[name][0],
    data: data.subarray(0, notificationDataMax),
    reason,
  })

/** RFC 4271 section 6.1. */
export const headerError = construct<HeaderErrorName>(header)
/** RFC 4271 section 6.2, RFC 5492 section 5, RFC 9234 section 4.2. */
export const openError = construct<OpenErrorName>(open)
/** RFC 4271 section 6.3; `data` is the attribute with its header, where one is to blame. */
export const updateError = construct<UpdateErrorName>(update)
/** RFC 6608: a message that the state does not expect; `data` is its type. */
export const stateMachineError = construct<StateMachineErrorName>(stateMachine)
/** RFC 4486, RFC 8538 (hard-reset), RFC 9384 (bfd-down). */
export const ceaseError = construct<CeaseName>(cease)

/** RFC 4271 section 6.5. */
export const holdTimerExpiredError = (holdTimeSeconds: number): SessionError => ({
  code: holdTimer.code,
  subcode: 0,
  data: noData,
  reason: `nothing was heard for the hold time of ${holdTimeSeconds} s`,
})

/** RFC 9687: nothing could be written for so long. */
export const sendHoldTimerExpiredError = (sendHoldTimeSeconds: number): SessionError => ({
  code: sendHoldTimer.code,
  subcode: 0,
  data: noData,
  reason: `nothing could be sent for ${sendHoldTimeSeconds} s`,
})

/** RFC 7313 section 5: `message` is the whole ROUTE-REFRESH. */
export const routeRefreshLengthError = (message: Uint8Array): SessionError => ({
  code: routeRefresh.code,
  subcode: routeRefresh.subcodes['invalid-length'][0],
  data: message.slice(0, notificationDataMax),
  reason: `ROUTE-REFRESH of ${message.length} octets, must be 23`,
})

/** What the peer is to be told of an error. */
export const notificationOf = ({ code, subcode, data }: SessionError): NotificationMessage => ({
  type: 'NOTIFICATION',
  code,
  subcode,
  data,
})

/** Whether the pair is assigned, subcode 0 (unspecific) of any code included. */
export const isAssignedError = (code: number, subcode: number): boolean => {
  const known = errorCodes.find((candidate) => candidate.code === code)
  return known !== undefined && (subcode === 0 || subcodeWords(known, subcode) !== undefined)
}

const subcodeWords = ({ subcodes }: ErrorCode, subcode: number): string | undefined =>
  Object.values(subcodes).find(([number]) => number === subcode)?.[1]

// ---------------------------------------------------------------------------------------- shutdown communication

/**
 * RFC 9003: the data of Cease/2 and Cease/4, a length octet and UTF-8, cut at a code point boundary. `textBytesMax` is at
 * most 255; implementations of RFC 8203 read no more than 128. No text: no data.
 */
export function encodeShutdownCommunication(text: string, textBytesMax = 255): Uint8Array {
  const utf8 = encodeUtf8(text, Math.min(textBytesMax, 255))
  return utf8.length === 0 ? noData : Uint8Array.of(utf8.length, ...utf8)
}

export type ShutdownCommunication =
  | { readonly type: 'text'; readonly text: string }
  /** A length beyond the data, or octets that are not UTF-8: for the log as they are, never an error (RFC 9003 section 4). */
  | { readonly type: 'malformed'; readonly bytes: Uint8Array }

/** Reads the data of a received Cease/2 or Cease/4; undefined when there is no communication. */
export function decodeShutdownCommunication(data: Uint8Array): ShutdownCommunication | undefined {
  const [length = 0] = data
  if (data.length === 0 || (length === 0 && data.length === 1)) return undefined
  const text = length < data.length ? decodeUtf8(data.subarray(1, 1 + length)) : undefined
  return text === undefined ? { type: 'malformed', bytes: data } : { type: 'text', text }
}

// -------------------------------------------------------------------------------------------------- for people

/** `the router closed the session: cease, administrative shutdown: "maintenance until 18:00"`. */
export const describeNotification = (message: NotificationMessage): string =>
  `the router closed the session: ${describeError(message)}`

/** `the session was closed from here: OPEN message error, unacceptable hold time: hold time of 1 s, ...`. */
export const describeSessionError = (error: SessionError): string =>
  `the session was closed from here: ${renderErrorCode(error.code, error.subcode)}: ${error.reason}`

/** `cease, administrative shutdown`; numbers where there is no name. */
export function renderErrorCode(code: number, subcode: number): string {
  const known = errorCodes.find((candidate) => candidate.code === code)
  if (known === undefined) return `error code ${code}, subcode ${subcode}`
  const words = subcodeWords(known, subcode)
  if (words !== undefined) return `${known.words}, ${words}`
  return subcode === 0 ? known.words : `${known.words}, subcode ${subcode}`
}

// A Hard Reset wraps another error (RFC 8538), which a hostile peer may wrap again: one level is all that is read.
function describeError({ code, subcode, data }: NotificationMessage, depth = 0): string {
  const name = renderErrorCode(code, subcode)
  if (data.length === 0) return name
  if (code === cease.code && subcode === cease.subcodes['hard-reset'][0] && depth === 0 && data.length >= 2) {
    const inner = { type: 'NOTIFICATION', code: data[0] ?? 0, subcode: data[1] ?? 0, data: data.subarray(2) } as const
    return `${name} because of ${describeError(inner, 1)}`
  }
  return `${name}: ${describeData(code, subcode, data)}`
}

const communicationSubcodes: ReadonlySet<number> = new Set([
  cease.subcodes['administrative-shutdown'][0],
  cease.subcodes['administrative-reset'][0],
])

function describeData(code: number, subcode: number, data: Uint8Array): string {
  if (code === cease.code && communicationSubcodes.has(subcode)) {
    const communication = decodeShutdownCommunication(data)
    if (communication?.type === 'text') return `"${printable(communication.text)}"`
  }
  if (code === cease.code && subcode === cease.subcodes['maximum-prefixes'][0] && data.length === 7) {
    const pair = { afi: readU16(data, 0), safi: data[2] ?? 0 }
    const family = familyOfAfiSafi(pair) ?? `AFI ${pair.afi} SAFI ${pair.safi}`
    return `${family}, limit ${readU32(data, 3)}`
  }
  if (code === open.code && subcode === open.subcodes['unsupported-version'][0] && data.length === 2)
    return `it speaks version ${readU16(data, 0)}`
  if (code === open.code && subcode === open.subcodes['unsupported-capability'][0] && data.length >= 2)
    return capabilityCodes(data).map(renderCapabilityCode).join(', ')
  if (code === header.code && subcode === header.subcodes['bad-length'][0] && data.length === 2)
    return `${readU16(data, 0)} octets`
  return `data ${hexOf(data.subarray(0, shownDataBytes))}${data.length > shownDataBytes ? '...' : ''}`
}

const shownDataBytes = 32

// The text comes from the network and goes to terminals and logs: control and format characters are shown, not obeyed.
const printable = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}"\\]/gu, (character) =>
    character === '"' || character === '\\' ? `\\${character}` : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  )
