// From decisions to steps, in the order in which a crash between any two of them does no harm. A Vip is written at most once in a
// pass, with everything that the pass decided about it; Services that depend on a write in somebody else's work wait for the next pass.

import { type ClusterView, type Condition, type NamespacedName, namespacedName, type Service } from '../k8s/objects.ts'
import { familyOf, type Ip } from '../net/ip.ts'
import { annotationRemarks } from './annotations.ts'
import { type Applicant, type Choice, isCovered } from './choose.ts'
import { allocatedCondition, nextCondition, sameCondition } from './conditions.ts'
import type { Ledger, LedgerEntry } from './ledger.ts'
import type { Pools } from './pools.ts'
import type { LeavingService, Releases } from './release.ts'
import { loadBalancerFinalizer } from './service-class.ts'
import { sameClaim } from './sharing.ts'
import type { AllocationStep, AllocationWork, VipSpec } from './types.ts'

export interface Steps {
  /** For a Service that is ours. */
  readonly serve: (applicant: Applicant, choice: Choice) => void
  /** For a Service that is not. */
  readonly release: (leaving: LeavingService) => void
  /** Adds what concerns nobody who was named, and returns all work. */
  readonly finish: () => readonly AllocationWork[]
}

export interface StepsInput {
  readonly view: ClusterView
  readonly ledger: Ledger
  readonly pools: Pools
  readonly releases: Releases
  readonly nowMs: number
}

/** Collects the work of one pass. */
export function createSteps(input: StepsInput): Steps {
  const work: AllocationWork[] = []
  const written = new Set<Ip>()
  const taken = takenAway(input)
  const add = (service: NamespacedName, steps: readonly AllocationStep[]): void => {
    if (steps.length > 0) work.push({ service, steps })
  }
  /** The write that the address needs, unless it has had it. */
  const write = (address: Ip): readonly AllocationStep[] => {
    const entry = input.ledger.get(address)
    const step = entry === undefined || written.has(address) ? undefined : vipStep(input, entry)
    if (step === undefined) return []
    written.add(address)
    return [step]
  }
  return {
    serve: (applicant, choice) => {
      const { service } = applicant
      const { uid } = service.meta
      const steps = choice.addresses.flatMap(write)
      const mine = new Set(steps.flatMap((step) => ('spec' in step ? [step.spec.address] : [])))
      steps.push(...input.ledger.claimedBy(uid).flatMap(write), ...(taken.get(uid) ?? []).flatMap(write))
      const ready = choice.addresses.every((ip) => mine.has(ip) || isRecorded(input.ledger.get(ip), uid))
      add(applicant.key, ready ? [...steps, ...serviceSteps(input, applicant, choice)] : steps)
    },
    release: (leaving) => {
      const steps: AllocationStep[] = [...leavingSteps(input, leaving), ...leaving.claimed.flatMap(write)]
      const left = leaving.claimed.filter((ip) => !written.has(ip) && input.ledger.get(ip)?.frozen === undefined)
      const { meta } = leaving.service
      if (leaving.next.type === 'drop-claims' && left.length === 0 && meta.finalizers.includes(loadBalancerFinalizer))
        steps.push(finalizerStep('remove-finalizer', leaving.key, leaving.service))
      add(leaving.key, steps)
    },
    finish: () => {
      const rest = [...input.ledger.entries()].filter(
        (entry) => !written.has(entry.address) && vipStep(input, entry) !== undefined,
      )
      for (const entry of rest.sort((a, b) => (a.name < b.name ? -1 : 1))) {
        const owner = entry.vip?.services[0] ?? entry.vip?.hold ?? { namespace: '', name: entry.name }
        add(namespacedName(owner.namespace, owner.name), write(entry.address))
      }
      return work
    },
  }
}

const isRecorded = (entry: LedgerEntry | undefined, uid: string): boolean =>
  entry?.vip?.services.some((claim) => claim.uid === uid) ?? false

/** By uid of a Service: the addresses that this pass takes away from it. */
function takenAway({ releases }: StepsInput): ReadonlyMap<string, readonly Ip[]> {
  const taken = new Map<string, readonly Ip[]>()
  for (const [ip, fences] of releases.fences)
    for (const { uid } of fences) taken.set(uid, [...(taken.get(uid) ?? []), ip])
  return taken
}

function vipStep({ releases }: StepsInput, entry: LedgerEntry): AllocationStep | undefined {
  const { address, name, vip } = entry
  if (entry.frozen !== undefined) return undefined
  const fences = releases.fences.get(address) ?? []
  const spec: VipSpec = {
    address,
    pool: entry.pool?.meta.name ?? vip?.pool ?? '',
    services: entry.claims,
    ...(entry.hold === undefined ? {} : { hold: entry.hold }),
  }
  if (vip === undefined) return { type: 'create-vip', name, spec }
  const { uid, resourceVersion } = vip.meta
  if (releases.freed.has(address)) return { type: 'delete-vip', name, uid, resourceVersion, fences }
  const same =
    vip.pool === spec.pool &&
    vip.hold?.untilMs === spec.hold?.untilMs &&
    vip.services.length === spec.services.length &&
    vip.services.every((claim, i) => {
      const next = spec.services[i]
      return next !== undefined && sameClaim(claim, next)
    })
  return same ? undefined : { type: 'update-vip', name, resourceVersion, spec, fences }
}

function finalizerStep(
  type: 'add-finalizer' | 'remove-finalizer',
  key: NamespacedName,
  { meta }: Service,
): AllocationStep {
  return { type, service: key, uid: meta.uid, resourceVersion: meta.resourceVersion }
}

function serviceSteps(input: StepsInput, { key, service }: Applicant, choice: Choice): readonly AllocationStep[] {
  const { meta } = service
  const steps: AllocationStep[] = []
  if (choice.addresses.length > 0 && !meta.finalizers.includes(loadBalancerFinalizer))
    steps.push(finalizerStep('add-finalizer', key, service))
  const condition = conditionOf(input, service, choice)
  const before = service.conditions.find(({ type }) => type === allocatedCondition)
  const shown = service.ingress.map(({ ip }) => ip)
  const ingress = choice.addresses.length === 0 && isForeign(input, service) ? shown : choice.addresses
  const sameIngress = shown.length === ingress.length && shown.every((ip, i) => ip === ingress[i])
  if (sameIngress && sameCondition(before, condition)) return steps
  steps.push({
    type: 'set-service-status',
    service: key,
    uid: meta.uid,
    resourceVersion: meta.resourceVersion,
    ingress,
    condition: nextCondition(service.conditions, condition, input.nowMs),
  })
  const event = (severity: 'Normal' | 'Warning', reason: string, message: string): void =>
    void steps.push({ type: 'event', service: key, uid: meta.uid, severity, reason, message })
  for (const ip of shown)
    if (!ingress.includes(ip)) event('Warning', 'AddressGivenUp', givenUp(input, service, choice, ip))
  if (before?.reason !== condition.reason || before.message !== condition.message)
    event(condition.reason === 'Allocated' ? 'Normal' : 'Warning', condition.reason, condition.message)
  return steps
}

// What stands in its status is somebody else's: we never gave this Service anything. Whoever installs Bellhop beside another
// controller, before the pools, must not see addresses taken away for which there is nothing to give instead.
function isForeign({ ledger }: StepsInput, { meta, conditions }: Service): boolean {
  const said = conditions.find(({ type }) => type === allocatedCondition)
  // True: it had an address of ours, if not the one it asked for.
  const isEvident = said?.status === 'True' || said?.reason === 'Allocated' || said?.reason === 'Released'
  return ledger.claimedBy(meta.uid).length === 0 && !isEvident
}

function conditionOf(
  { ledger, pools }: StepsInput,
  service: Service,
  choice: Choice,
): Omit<Condition, 'lastTransitionTime'> {
  const { meta } = service
  const have = choice.addresses.map((ip) => {
    const entry = ledger.get(ip)
    if (entry?.pool !== undefined) return `${ip} from pool ${entry.pool.meta.name}`
    const recorded = entry?.vip?.pool ?? 'unknown'
    const isGone = entry?.vip !== undefined && !pools.isRefused(recorded)
    return `${ip} from pool ${recorded} (${isGone ? 'which is gone: what came from it is kept' : 'not readable'})`
  })
  const remarks = annotationRemarks(service)
  const words = [...choice.refusals.map(({ message }) => message), ...choice.missing]
  const kept = choice.refusals.length > 0 && have.length > 0 ? [`has ${have.join(', ')}`] : have
  return {
    type: allocatedCondition,
    status: choice.satisfied ? 'True' : 'False',
    reason: choice.refusals[0]?.reason ?? (remarks.length > 0 ? 'AnnotationIgnored' : 'Allocated'),
    message: [
      ...(choice.refusals.length > 0 ? words : []),
      ...kept,
      ...(choice.refusals.length > 0 ? [] : words),
      ...remarks,
    ].join('; '),
    ...(meta.generation > 0 ? { observedGeneration: meta.generation } : {}),
  }
}

// An address never changes without a cause that can be named.
function givenUp({ pools, ledger }: StepsInput, service: Service, choice: Choice, address: Ip): string {
  const entry = ledger.get(address)
  const instead = choice.addresses.find((ip) => familyOf(ip) === familyOf(address))
  const because = !isCovered(address, entry, pools)
    ? 'no pool covers it'
    : isRecorded(entry, service.meta.uid)
      ? instead === undefined
        ? `the Service has no ${familyOf(address)} any more`
        : 'another address or pool is asked for'
      : entry?.claims[0] === undefined
        ? 'it is not recorded for this Service'
        : `it belongs to ${entry.claims[0].namespace}/${entry.claims[0].name}`
  return `${address} is given up (${because})${instead === undefined ? '' : `; ${instead} takes its place`}`
}

function leavingSteps(
  { nowMs }: StepsInput,
  { key, service, next, claimed }: LeavingService,
): readonly AllocationStep[] {
  const { meta } = service
  if (next.type === 'remove-finalizer') return [finalizerStep('remove-finalizer', key, service)]
  if (next.type === 'drop-claims') return []
  const message = claimed.length === 0 ? 'released' : `${claimed.join(', ')} released`
  const condition = nextCondition(
    service.conditions,
    {
      type: allocatedCondition,
      status: 'False',
      reason: 'Released',
      message,
      ...(meta.generation > 0 ? { observedGeneration: meta.generation } : {}),
    },
    nowMs,
  )
  const status = {
    type: 'set-service-status' as const,
    service: key,
    uid: meta.uid,
    resourceVersion: meta.resourceVersion,
    condition,
  }
  if (next.type === 'remove-conditions')
    return [{ ...status, ingress: service.ingress.map(({ ip }) => ip), removeConditions: true }]
  const event: AllocationStep = {
    type: 'event',
    service: key,
    uid: meta.uid,
    severity: 'Normal',
    reason: 'Released',
    message,
  }
  return [{ ...status, ingress: next.ingress }, ...(meta.deleting ? [] : [event])]
}
