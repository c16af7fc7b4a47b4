// What is to become of a received UPDATE (RFC 4271 section 6.3 as revised by RFC 7606): taken as it is, taken without some
// attributes, its routes withdrawn, or the session reset. Both the decoder and the scanner act on this examination, so that
// their verdicts are one. Nothing is built here but the verdict.

import { judgeAttribute } from './attribute-rules.ts'
import { type AttributeName, attributeByName, renderAttributeCode } from './attribute-table.ts'
import { absenceFinding, attributeFinding, type Finding, messageFinding, type Slot } from './finding.ts'
import type { AfiSafi, SessionCodec, SessionError, Treatment, UpdateIssue } from './message.ts'
import { judgeMpReach, judgeMpUnreach, type MultiprotocolRoutes } from './multiprotocol-rules.ts'
import { countNlri, type NlriForm, receivedForm, type Span } from './nlri.ts'
import { frameUpdate, type UpdateFrame } from './update-frame.ts'

/** A field of IPv4 unicast routes; `count` is 0 where the family was not negotiated. */
export interface ClassicRoutes extends Span {
  readonly form: NlriForm
  readonly count: number
}

export interface ExaminedUpdate {
  readonly withdrawn: ClassicRoutes
  readonly nlri: ClassicRoutes
  /** The attributes to keep, in the order of the message; without the multiprotocol ones. */
  readonly slots: readonly Slot[]
  readonly mpReach: MultiprotocolRoutes | undefined
  readonly mpUnreach: MultiprotocolRoutes | undefined
  /** All routes of the message are to be withdrawn, the announced ones too. */
  readonly treatAsWithdraw: boolean
  readonly endOfRib: AfiSafi | undefined
  /** In the order of the message; at most `issuesMax`. */
  readonly issues: readonly UpdateIssue[]
}

export type Examination =
  | { readonly ok: true; readonly update: ExaminedUpdate }
  | { readonly ok: false; readonly error: SessionError; readonly issues: readonly UpdateIssue[] }

/** A message may hold thousands of repeated attributes: so many issues are told, the rest only count. */
export const issuesMax = 32

/** Examines a whole UPDATE with its header, of at least 23 octets. */
export function examineUpdate(bytes: Uint8Array, codec: SessionCodec): Examination {
  const frame = frameUpdate(bytes)
  if ('issue' in frame) return { ok: false, error: frame.error(), issues: [frame.issue] }
  const findings = new Findings()
  const withdrawn = examineClassic(bytes, frame.withdrawn, 'withdrawn routes', codec, findings)
  const attributes = examineAttributes(bytes, frame, codec, findings)
  const nlri = examineClassic(bytes, frame.nlri, 'NLRI', codec, findings)
  if (frame.overrun === undefined) findMissing(frame, nlri, attributes.mpReach, findings)
  else findings.add(frame.overrun)
  const fatal = findings.first('session-reset') ?? escalate(frame, attributes.mpReach, findings)
  if (fatal !== undefined) return { ok: false, error: fatal.error(), issues: findings.issues }
  return {
    ok: true,
    update: {
      ...attributes,
      withdrawn,
      nlri,
      treatAsWithdraw: findings.first('treat-as-withdraw') !== undefined,
      endOfRib: endOfRib(bytes, frame, attributes.mpUnreach),
      issues: findings.issues,
    },
  }
}

const noIssues: readonly UpdateIssue[] = []

// Collects while one message is examined. Nearly all messages have no finding, so an empty one costs next to nothing.
class Findings {
  #issues: UpdateIssue[] | undefined
  readonly #firsts: Partial<Record<Treatment, Finding>> = {}

  add(finding: Finding): void {
    this.#firsts[finding.issue.treatment] ??= finding
    this.#issues ??= []
    if (this.#issues.length < issuesMax) this.#issues.push(finding.issue)
  }

  first(treatment: Treatment): Finding | undefined {
    return this.#firsts[treatment]
  }

  get issues(): readonly UpdateIssue[] {
    return this.#issues ?? noIssues
  }
}

// ------------------------------------------------------------------------------------------------- IPv4 unicast

// RFC 7606 sections 3.i and 5.3: the withdrawn routes are checked as the NLRI are, and neither can be repaired.
function examineClassic(
  bytes: Uint8Array,
  span: Span,
  field: string,
  codec: SessionCodec,
  findings: Findings,
): ClassicRoutes {
  const form = receivedForm('ipv4-unicast', codec)
  const count = countNlri(bytes, span, form)
  const none = { ...span, form, count: 0 }
  if (typeof count === 'string') {
    findings.add(
      messageFinding({
        treatment: 'session-reset',
        source: 'RFC 7606 section 5.3',
        reason: `${field} with ${count}`,
        error: 'invalid-network-field',
      }),
    )
    return none
  }
  if (count === 0 || codec.families.has('ipv4-unicast')) return { ...none, count }
  findings.add(
    messageFinding({
      treatment: 'attribute-discard',
      source: 'RFC 4760 section 8',
      reason: `${field} of IPv4 unicast, which was not negotiated`,
      error: 'malformed-attribute-list',
    }),
  )
  return none
}

// --------------------------------------------------------------------------------------------------- attributes

type ExaminedAttributes = Pick<ExaminedUpdate, 'slots' | 'mpReach' | 'mpUnreach'>

function examineAttributes(
  bytes: Uint8Array,
  frame: UpdateFrame,
  codec: SessionCodec,
  findings: Findings,
): ExaminedAttributes {
  // RFC 4760 section 3: with no NLRI but those of multiprotocol attributes NEXT_HOP is to be ignored; some send 0.0.0.0.
  const nextHopUnused = frame.nlri.start === frame.nlri.end
  const slots: Slot[] = []
  let mpReach: MultiprotocolRoutes | undefined
  let mpUnreach: MultiprotocolRoutes | undefined
  examinations++
  for (const slot of frame.slots) {
    if (seenIn[slot.code] === examinations) {
      findings.add(repeated(bytes, slot))
      continue
    }
    seenIn[slot.code] = examinations
    if (slot.code === mpReachCode)
      mpReach = examineMultiprotocol(bytes, slot, judgeMpReach(bytes, slot, codec), findings)
    else if (slot.code === mpUnreachCode)
      mpUnreach = examineMultiprotocol(bytes, slot, judgeMpUnreach(bytes, slot, codec), findings)
    else if (slot.code !== nextHopCode || !nextHopUnused) {
      const finding = judgeAttribute(bytes, slot, codec)
      if (finding === undefined) slots.push(slot)
      else findings.add(finding)
    }
  }
  return { slots, mpReach, mpUnreach }
}

// By attribute code, the number of the examination that last met it: a set that costs nothing to empty.
const seenIn = new Float64Array(256)
let examinations = 0

function repeated(bytes: Uint8Array, slot: Slot): Finding {
  const multiprotocol = slot.code === mpReachCode || slot.code === mpUnreachCode
  const complaint = {
    source: 'RFC 7606 section 3.g',
    reason: `${renderAttributeCode(slot.code)} more than once`,
    error: 'malformed-attribute-list',
  } as const
  return multiprotocol
    ? messageFinding({ ...complaint, treatment: 'session-reset' })
    : attributeFinding(bytes, slot, { ...complaint, treatment: 'attribute-discard' })
}

function examineMultiprotocol(
  bytes: Uint8Array,
  slot: Slot,
  judged: MultiprotocolRoutes | Finding,
  findings: Findings,
): MultiprotocolRoutes | undefined {
  if ('issue' in judged) {
    findings.add(judged)
    return undefined
  }
  if (judged.type === 'ignored')
    findings.add(
      attributeFinding(bytes, slot, {
        treatment: 'attribute-discard',
        source: 'RFC 4760 section 8',
        reason: `routes of AFI ${judged.afi} SAFI ${judged.safi}, which was not negotiated`,
        error: 'optional-attribute',
      }),
    )
  return judged
}

// ------------------------------------------------------------------------------------------ the message as a whole

// RFC 7606 section 3.d. An attribute that is there but malformed has had its finding; LOCAL_PREF is not mandatory but
// discretionary (RFC 4271 section 5), so its absence is not an error even from an internal peer.
function findMissing(
  frame: UpdateFrame,
  nlri: ClassicRoutes,
  mpReach: MultiprotocolRoutes | undefined,
  findings: Findings,
): void {
  const required: AttributeName[] =
    nlri.count > 0 ? ['ORIGIN', 'AS_PATH', 'NEXT_HOP'] : hasRoutes(mpReach) ? ['ORIGIN', 'AS_PATH'] : []
  for (const name of required) {
    const { code } = attributeByName(name)
    if (frame.slots.some((slot) => slot.code === code)) continue
    findings.add(
      absenceFinding(code, {
        treatment: 'treat-as-withdraw',
        source: 'RFC 7606 section 3.d',
        reason: `routes are announced without ${name}`,
        error: 'missing-well-known-attribute',
      }),
    )
  }
}

const hasRoutes = (routes: MultiprotocolRoutes | undefined): boolean =>
  routes !== undefined && routes.type === 'readable' && routes.count > 0

// RFC 7606 section 5.2: attributes in error, but no route that they belong to. Where the routes should have been is then
// not certain, so withdrawing those that were found would not be enough.
function escalate(
  frame: UpdateFrame,
  mpReach: MultiprotocolRoutes | undefined,
  findings: Findings,
): Finding | undefined {
  const mild = findings.first('treat-as-withdraw')
  if (mild === undefined || frame.nlri.start < frame.nlri.end || mpReach?.type === 'ignored' || hasRoutes(mpReach))
    return undefined
  const reason = `${mild.issue.reason}, and no route is announced with it`
  const severe: Finding = {
    issue: { ...mild.issue, treatment: 'session-reset', source: 'RFC 7606 section 5.2', reason },
    error: () => ({ ...mild.error(), reason }),
  }
  findings.add(severe)
  return severe
}

// RFC 4724 section 2.
function endOfRib(
  bytes: Uint8Array,
  frame: UpdateFrame,
  mpUnreach: MultiprotocolRoutes | undefined,
): AfiSafi | undefined {
  if (bytes.length === emptyUpdateBytes) return { afi: 1, safi: 1 }
  const [only, ...others] = frame.slots
  const bare = frame.withdrawn.start === frame.withdrawn.end && frame.nlri.start === frame.nlri.end
  if (mpUnreach === undefined || only === undefined || others.length > 0 || !bare) return undefined
  return only.end - only.start === afiSafiBytes ? { afi: mpUnreach.afi, safi: mpUnreach.safi } : undefined
}

const emptyUpdateBytes = 23
const afiSafiBytes = 3
const nextHopCode = attributeByName('NEXT_HOP').code
const mpReachCode = attributeByName('MP_REACH_NLRI').code
const mpUnreachCode = attributeByName('MP_UNREACH_NLRI').code
