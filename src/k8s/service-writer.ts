// What we write into Services, which belong to others: our finalizer, the addresses, our conditions. Each write needs the version that it
// was decided upon, or one that our own writes have made of it since, and leaves alone what others have written beside it.

import type { Ip } from '../net/ip.ts'
import type { Clock } from '../runtime/clock.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { ServiceFence } from '../vip/types.ts'
import type { KubeRequest } from './client.ts'
import { stampConditions } from './conditions.ts'
import type { FencedRequests, WriteResult } from './fenced-requests.ts'
import { leaderManager } from './field-managers.ts'
import { serviceFinalizer } from './finalizer.ts'
import { identityOf } from './json.ts'
import { isNotFound, type KubeError } from './kube-error.ts'
import type { Condition, NamespacedName, Service } from './objects.ts'
import { createOwnVersions } from './own-versions.ts'
import { resourcePath, resources } from './resources.ts'

/** A Service at the version that a decision was made upon. */
export interface ServiceVersion {
  readonly service: NamespacedName
  readonly uid: string
  readonly resourceVersion: string
}

export interface ServiceStatusWrite extends ServiceVersion {
  /** All of status.loadBalancer.ingress. */
  readonly ingress: readonly Ip[]
  /** Written beside the conditions of others. */
  readonly conditions: readonly Condition[]
  /** Types to take away. */
  readonly removeConditions?: readonly string[]
}

export interface ServiceWriterOptions {
  readonly requests: FencedRequests
  readonly clock: Clock
  /** Services as the view has them: whose finalizers and conditions a patch has to respect. */
  readonly services: () => ReadonlyMap<NamespacedName, Service>
  /** Default `bellhop-leader`. */
  readonly fieldManager?: string
}

/** A Service that somebody else has changed since the decision is the error 409. */
export interface ServiceWriter {
  readonly addFinalizer: (service: ServiceVersion, signal?: AbortSignal) => WriteResult
  /** Leaves the finalizers of others where they are; a Service that is gone already is a success. */
  readonly removeFinalizer: (service: ServiceVersion, signal?: AbortSignal) => WriteResult
  readonly setServiceStatus: (write: ServiceStatusWrite, signal?: AbortSignal) => WriteResult
  /** Asks the API server, not the view. An error 409 says that the presumption does not hold. */
  readonly checkServiceFence: (presumed: ServiceFence, signal?: AbortSignal) => Promise<Result<undefined, KubeError>>
}

export function createServiceWriter(options: ServiceWriterOptions): ServiceWriter {
  const { clock, requests } = options
  const query = { fieldManager: options.fieldManager ?? leaderManager }
  const ownVersions = createOwnVersions()

  /** The Service as the view has it, if that is the version the caller decided upon (or what we made of it since). */
  const held = (wanted: ServiceVersion): Result<Service, KubeError> => {
    const service = options.services().get(wanted.service)
    const version = ownVersions.latest(wanted)
    if (service?.meta.uid === wanted.uid && service.meta.resourceVersion === version) return ok(service)
    return err(changed(wanted.service))
  }

  const patch = async (
    { meta }: Service,
    request: Pick<KubeRequest, 'body' | 'patchType'> & { readonly subresource?: string },
    signal?: AbortSignal,
  ): WriteResult => {
    const { namespace, name, uid, resourceVersion } = meta
    const { subresource, ...rest } = request
    const path = resourcePath(resources.Service, {
      namespace,
      name,
      ...(subresource === undefined ? {} : { subresource }),
    })
    const result = await requests.sendAndAbsorb({ method: 'PATCH', path, query, ...rest }, signal)
    if (result.ok) ownVersions.note(uid, resourceVersion, identityOf(result.value).resourceVersion)
    return result
  }

  // The list is replaced, under the version at which it was read: whoever else edits it in between makes this a conflict.
  const setFinalizers = (service: Service, finalizers: readonly string[], signal?: AbortSignal): WriteResult => {
    const { uid, resourceVersion } = service.meta
    return patch(service, { patchType: 'merge', body: { metadata: { uid, resourceVersion, finalizers } } }, signal)
  }

  return {
    addFinalizer: async (wanted, signal) => {
      const service = held(wanted)
      if (!service.ok) return service
      const { finalizers } = service.value.meta
      if (finalizers.includes(serviceFinalizer)) return ok({})
      return setFinalizers(service.value, [...finalizers, serviceFinalizer], signal)
    },
    removeFinalizer: async (wanted, signal) => {
      const service = held(wanted)
      if (!service.ok) return service
      const { finalizers } = service.value.meta
      if (!finalizers.includes(serviceFinalizer)) return ok({})
      const rest = finalizers.filter((finalizer) => finalizer !== serviceFinalizer)
      const result = await setFinalizers(service.value, rest, signal)
      return !result.ok && isNotFound(result.error) ? ok({}) : result
    },
    setServiceStatus: async (write, signal) => {
      const service = held(write)
      if (!service.ok) return service
      const { uid, resourceVersion } = service.value.meta
      const conditions = [
        ...stampConditions(write.conditions, service.value.conditions, clock.wallMs()),
        ...(write.removeConditions ?? []).map((type) => ({ type, $patch: 'delete' })),
      ]
      return patch(
        service.value,
        {
          subresource: 'status',
          // Strategic: conditions merge by type, so that those of others stay; ingress is replaced as a whole.
          patchType: 'strategic',
          body: {
            metadata: { uid, resourceVersion },
            status: {
              loadBalancer: { ingress: write.ingress.map((ip) => ({ ip, ipMode: 'VIP' })) },
              ...(conditions.length === 0 ? {} : { conditions }),
            },
          },
        },
        signal,
      )
    },
    checkServiceFence: async (presumed, signal) => {
      const [namespace = '', name = ''] = presumed.service.split('/')
      const path = resourcePath(resources.Service, { namespace, name })
      const answer = await requests.sendAndAbsorb({ method: 'GET', path }, signal)
      if (!answer.ok && !isNotFound(answer.error)) return answer
      const found = answer.ok ? identityOf(answer.value) : undefined
      const same = found?.uid === presumed.uid
      const holds = presumed.expect === 'gone' ? !same : same && found.resourceVersion === ownVersions.latest(presumed)
      return holds ? ok(undefined) : err(changed(presumed.service))
    },
  }
}

const changed = (service: NamespacedName): KubeError => ({
  status: 409,
  reason: 'Conflict',
  message: `Service ${service} has changed since this was decided`,
})
