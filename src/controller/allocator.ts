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
  readonly allocate: () => Allocation
  readonly execute: ExecuteStep
  readonly log: Log
  /** Aborts when leadership is lost: nothing is written after that. */
  readonly signal: AbortSignal
}

/** How many Services are worked on at once: enough to fill a round trip, few enough for a small API server. */
const concurrency = 32

/** One pass. Returns the allocation it decided on and whether every step succeeded. */
export async function runAllocationPass(
  options: PassOptions,
): Promise<{ readonly allocation: Allocation; readonly complete: boolean }> {
  const allocation = options.allocate()
  let complete = true
  const queue = allocation.work.values()
  const worker = async (): Promise<void> => {
    for (const work of queue) {
      if (options.signal.aborted) return
      complete = (await carryOut(work, options)) && complete
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, allocation.work.length) }, worker))
  return { allocation, complete }
}

async function carryOut(work: AllocationWork, { execute, log, signal }: PassOptions): Promise<boolean> {
  for (const step of work.steps) {
    if (signal.aborted) return false
    const result = await execute(step, signal)
    if (!result.ok) {
      const { status, reason, message } = result.error
      // A conflict is the lock at work: somebody was faster, and the next pass sees what they did.
      const level = status === 409 || status === 404 ? 'debug' : 'warn'
      log[level]({ event: 'allocation-step-failed', service: work.service, step: step.type, status, reason, message })
      return false
    }
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
