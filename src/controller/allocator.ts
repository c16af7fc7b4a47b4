// The leader's loop: asks allocation what is to be done and does it, one pass at a time. What the API server answers goes back
// into the view at once, so the next pass never decides on what its predecessor has already changed.

import type { NamespacedName, VipClaim } from '../k8s/objects.ts'
import type { Log } from '../runtime/log.ts'
import type { Result } from '../runtime/result.ts'
import type { Allocation, AllocationStep, AllocationWork } from '../vip/types.ts'

/** Why a step failed, in the API server's words. */
export interface StepFailure {
  readonly status: number
  readonly reason: string
  readonly message: string
}

/** Carries one step out. Success includes having fed the answer back into the view. */
export type ExecuteStep = (step: AllocationStep, signal: AbortSignal) => Promise<Result<unknown, StepFailure>>

export interface PassOptions {
  readonly allocate: () => Allocation | Promise<Allocation>
  readonly execute: ExecuteStep
  readonly log: Log
  /** Where in the work to begin, as the pass before said; default 0. */
  readonly startAt?: number
  /** Aborts when leadership is lost: nothing is written after that. */
  readonly signal: AbortSignal
}

/** How many Services are worked on at once: enough to fill a round trip, few enough for a small API server. */
const concurrency = 32

/** So many refusals in a row, with nothing done between them, are not about a Service: the pass ends, to be repeated later. */
const refusalsMax = 64

export interface PassResult {
  readonly allocation: Allocation
  /** Every step succeeded. */
  readonly complete: boolean
  /** The API server refused, or was away, and nothing at all was done: to ask again at once would only add to it. */
  readonly refused: boolean
  /** Where the next pass is to begin, so that those who come after many refusals have their turn. */
  readonly startAt: number
}

/** One pass: decides, and carries out what it can. */
export async function runAllocationPass(options: PassOptions): Promise<PassResult> {
  const allocation = await options.allocate()
  const course: Course = { done: 0, inARow: 0, refusals: 0, told: new Set() }
  let complete = true
  const { work: all } = allocation
  const startAt = all.length === 0 ? 0 : (options.startAt ?? 0) % all.length
  const queue = [...all.slice(startAt), ...all.slice(0, startAt)].values()
  let begun = 0
  const worker = async (): Promise<void> => {
    for (const work of queue) {
      if (options.signal.aborted || course.inARow >= refusalsMax) {
        complete = false
        return
      }
      begun++
      complete = (await carryOut(work, options, course)) && complete
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, allocation.work.length) }, worker))
  if (course.refusals > 1)
    options.log.warn({ event: 'allocation-refused', refusals: course.refusals, of: allocation.work.length })
  return {
    allocation,
    complete,
    refused: course.refusals > 0 && course.done === 0,
    startAt: begun < all.length ? startAt + begun : 0,
  }
}

/** How the pass goes. */
interface Course {
  done: number
  inARow: number
  refusals: number
  /** Refusals that have had their line in the log. */
  readonly told: Set<string>
}

async function carryOut(work: AllocationWork, { execute, log, signal }: PassOptions, course: Course): Promise<boolean> {
  for (const step of work.steps) {
    if (signal.aborted) return false
    const result = await execute(step, signal)
    if (!result.ok) {
      const { status, reason, message } = result.error
      // A conflict is the lock at work: somebody was faster, and the next pass sees what they did.
      const isRefusal = status !== 409 && status !== 404
      if (isRefusal) {
        course.refusals++
        course.inARow++
      }
      const kind = `${step.type} ${reason}`
      const level = isRefusal && !course.told.has(kind) ? 'warn' : 'debug'
      course.told.add(kind)
      log[level]({ event: 'allocation-step-failed', service: work.service, step: step.type, status, reason, message })
      return false
    }
    course.done++
    course.inARow = 0
    if (step.type !== 'event') log.info({ event: 'allocation-step', service: work.service, ...facts(step) })
  }
  return true
}

function facts(step: Exclude<AllocationStep, { type: 'event' }>): Readonly<Record<string, unknown>> {
  const names = (services: readonly VipClaim[]): readonly string[] =>
    services.map((claim) => `${claim.namespace}/${claim.name}` as NamespacedName)
  switch (step.type) {
    case 'create-vip':
    case 'update-vip':
      return { step: step.type, vip: step.name, pool: step.spec.pool, services: names(step.spec.services) }
    case 'delete-vip':
      return { step: step.type, vip: step.name }
    case 'set-service-status':
      return { step: step.type, ingress: step.ingress, reason: step.condition.reason }
    case 'add-finalizer':
    case 'remove-finalizer':
      return { step: step.type }
  }
}
