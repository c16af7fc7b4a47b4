// One manager's opinion on one object's status, against what the object says: whether something has to be written, and what. What was
// written is remembered, so that our own words are told from what others have made of them since.

import { stampConditions } from './conditions.ts'
import { asObject, identityOf, type RawObject } from './json.ts'
import type { Condition, Kind, StatusDigest } from './objects.ts'
import { parseConditions } from './schemas/meta.ts'
import { digestMatches, statusMatches } from './status-match.ts'
import { isNewer } from './versions.ts'

/** `unknown`: this process does not follow the kind. `absent`: the object does not exist. */
export type ObservedStatus = SeenStatus | 'absent' | 'unknown'

type SeenStatus =
  | { readonly resourceVersion: string; readonly status: RawObject }
  | { readonly resourceVersion: string; readonly digest: StatusDigest }

export interface Opinion {
  readonly kind: Kind
  /** undefined: to be given up. */
  readonly desired: RawObject | undefined
  readonly text: string
  readonly written: Written | undefined
}

interface Written {
  readonly text: string
  /** The object has said so since this version. */
  readonly resourceVersion: string
  /** The server kept all of it; false with an older CRD, and then what is missing is no drift. */
  readonly faithful: boolean
  readonly conditions: readonly Condition[]
}

const nothing: RawObject = Object.freeze({})
const nothingText = '{}'

export const noOpinion = (kind: Kind): Opinion => ({ kind, desired: undefined, text: '', written: undefined })

/** A status that is the same object as before costs nothing. */
export const wanting = (opinion: Opinion, status: RawObject): Opinion =>
  opinion.desired === status ? opinion : { ...opinion, desired: status, text: JSON.stringify(status) }

/** Our fields are to be taken out of the object. */
export const givenUp = (opinion: Opinion): Opinion => ({ ...opinion, desired: undefined, text: nothingText })

/** The object is gone: whatever was written is, too. */
export const unwritten = (opinion: Opinion): Opinion => ({ ...opinion, written: undefined })

/** Whether the object is known to say what is wanted. */
export function says(observed: ObservedStatus, kind: Kind, status: RawObject): boolean {
  if (typeof observed === 'string') return false
  return 'digest' in observed ? digestMatches(status, observed.digest) : statusMatches(kind, status, observed.status)
}

export interface Judgement {
  /** Something has to be written. */
  readonly differs: boolean
  /** With what the object turned out to say already. */
  readonly opinion: Opinion
}

export function judge(opinion: Opinion, observed: ObservedStatus): Judgement {
  const { kind, desired, text, written } = opinion
  const is = (differs: boolean): Judgement => ({ differs, opinion })
  if (observed === 'absent') return is(false)
  if (desired === undefined) return is(written !== undefined && written.text !== nothingText)
  if (written === undefined) {
    if (observed === 'unknown' || !says(observed, kind, desired)) return is(true)
    const { resourceVersion } = observed
    const found = { resourceVersion, text, faithful: true, conditions: conditionsSeen(observed) }
    return { differs: false, opinion: { ...opinion, written: found } }
  }
  if (written.text !== text) return is(true)
  if (observed === 'unknown' || !written.faithful || !isNewer(observed.resourceVersion, written.resourceVersion))
    return is(false)
  // Somebody wrote after us: was it into what is ours?
  if (!says(observed, kind, desired)) return is(true)
  return { differs: false, opinion: { ...opinion, written: { ...written, resourceVersion: observed.resourceVersion } } }
}

/** The body to write: with transition times that tell since when. */
export function bodyOf(
  { desired = nothing, written }: Opinion,
  observed: ObservedStatus,
  nowWallMs: number,
): RawObject {
  if (desired['conditions'] === undefined) return desired
  // What we wrote last is fresher than what we have seen of it.
  const before = written?.conditions ?? (typeof observed === 'object' ? conditionsSeen(observed) : [])
  return { ...desired, conditions: stampConditions(conditionsOf(desired), before, nowWallMs) }
}

/** `sent` is the opinion that was written as `body`, and `answer` the object that it led to; it may have changed since. */
export function writtenAs(opinion: Opinion, sent: Opinion, body: RawObject, answer: RawObject): Opinion {
  const status = asObject(answer['status']) ?? nothing
  const written: Written = {
    text: sent.text,
    resourceVersion: identityOf(answer).resourceVersion,
    faithful: sent.text === nothingText || statusMatches(sent.kind, body, status),
    conditions: conditionsOf(body),
  }
  return { ...opinion, written }
}

const conditionsOf = (status: RawObject): readonly Condition[] => parseConditions(status['conditions'])

const conditionsSeen = (observed: SeenStatus): readonly Condition[] =>
  'digest' in observed ? observed.digest.conditions : conditionsOf(observed.status)
