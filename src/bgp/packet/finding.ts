// What an examination of an UPDATE finds: an issue as RFC 7606 treats it, together with the NOTIFICATION that RFC 4271 would
// have sent for it, because a mild treatment can become a session reset by what else the message holds.

import { type UpdateErrorName, updateError } from './errors.ts'
import type { SessionError, Treatment, UpdateIssue } from './message.ts'
import type { Span } from './nlri.ts'

/** A path attribute in its message: header from `headerStart`, value from `start` to `end`. */
export interface Slot extends Span {
  readonly flags: number
  readonly code: number
  readonly headerStart: number
}

export interface Finding {
  readonly issue: UpdateIssue
  /** Built on demand: it copies the attribute. */
  readonly error: () => SessionError
}

export interface Complaint {
  readonly treatment: Treatment
  readonly source: string
  readonly reason: string
  readonly error: UpdateErrorName
}

/** A finding about an attribute; the NOTIFICATION carries the attribute with its header (RFC 4271 section 6.3). */
export const attributeFinding = (bytes: Uint8Array, slot: Slot, complaint: Complaint): Finding => ({
  issue: issueOf(complaint, slot.code),
  error: () => updateError(complaint.error, complaint.reason, bytes.slice(slot.headerStart, slot.end)),
})

/** A finding about an attribute that is not there; the NOTIFICATION carries its code. */
export const absenceFinding = (code: number, complaint: Complaint): Finding => ({
  issue: issueOf(complaint, code),
  error: () => updateError(complaint.error, complaint.reason, Uint8Array.of(code)),
})

/** A finding about the message or one of its fields. */
export const messageFinding = (complaint: Complaint): Finding => ({
  issue: issueOf(complaint),
  error: () => updateError(complaint.error, complaint.reason),
})

const issueOf = ({ treatment, source, reason }: Complaint, attribute?: number): UpdateIssue =>
  attribute === undefined ? { treatment, source, reason } : { treatment, attribute, source, reason }
