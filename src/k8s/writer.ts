// What a leader writes to the cluster under its fence: Vips, Services, statuses, and the steps of an allocation, each after the fences that
// it names have held. What is written into which object stands in vip-writer.ts, service-writer.ts and status-applier.ts.

import { ok, type Result } from '../runtime/result.ts'
import type { AllocationStep, ServiceFence } from '../vip/types.ts'
import { createFencedRequests, type FencedRequestsOptions, type WriteResult } from './fenced-requests.ts'
import type { KubeError } from './kube-error.ts'
import type { Service } from './objects.ts'
import { createServiceWriter, type ServiceWriter, type ServiceWriterOptions } from './service-writer.ts'
import { type ApplyStatus, createStatusApplier } from './status-applier.ts'
import { createVipWriter, type VipWriter, type VipWriterOptions } from './vip-writer.ts'

type PartOptions = FencedRequestsOptions & Omit<VipWriterOptions & ServiceWriterOptions, 'requests'>

export interface WriterOptions extends PartOptions {
  /** Records an `event` step. */
  readonly recordEvent: (event: Extract<AllocationStep, { type: 'event' }>) => void
}

export interface Writer extends VipWriter, ServiceWriter {
  readonly applyStatus: ApplyStatus
  /** Carries out one step of an allocation. Answers are fed back into the view before it resolves. */
  readonly executeStep: (step: AllocationStep, signal?: AbortSignal) => Promise<Result<unknown, KubeError>>
}

export function createWriter(options: WriterOptions): Writer {
  const requests = createFencedRequests(options)
  const vips = createVipWriter({ ...options, requests })
  const services = createServiceWriter({ ...options, requests })

  const afterFences = async (
    fences: readonly ServiceFence[],
    signal: AbortSignal | undefined,
    write: () => WriteResult,
  ): Promise<Result<unknown, KubeError>> => {
    for (const presumed of fences) {
      const result = await services.checkServiceFence(presumed, signal)
      if (!result.ok) return result
    }
    return write()
  }

  const executeStep: Writer['executeStep'] = async (step, signal) => {
    switch (step.type) {
      case 'create-vip':
        return vips.createVip(step.name, step.spec, signal)
      case 'update-vip':
        return afterFences(step.fences, signal, () => vips.updateVip(step, step.spec, signal))
      case 'delete-vip':
        return afterFences(step.fences, signal, () => vips.deleteVip(step, signal))
      case 'add-finalizer':
        return services.addFinalizer(step, signal)
      case 'remove-finalizer':
        return services.removeFinalizer(step, signal)
      case 'set-service-status':
        return services.setServiceStatus(
          {
            ...step,
            conditions: step.removeConditions ? [] : [step.condition],
            removeConditions: step.removeConditions ? ourConditions(options.services().get(step.service)) : [],
          },
          signal,
        )
      case 'event':
        options.recordEvent(step)
        return ok(undefined)
    }
  }

  return { ...vips, ...services, applyStatus: createStatusApplier(requests), executeStep }
}

const ourConditionPrefix = 'bellhop.io/'

const ourConditions = (service: Service | undefined): readonly string[] =>
  (service?.conditions ?? []).map(({ type }) => type).filter((type) => type.startsWith(ourConditionPrefix))
