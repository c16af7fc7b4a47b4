// What Bellhop writes to the cluster, one function a thing: Vips, the finalizer and the status of Services, statuses of our own
// kinds. Every write names the version it was decided upon, touches only what is ours, and is fenced by leadership.

import type { Ip } from '../net/ip.ts'
import type { Clock } from '../runtime/clock.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { AllocationStep, ServiceFence, VipSpec } from '../vip/types.ts'
import type { KubeClient, KubeRequest } from './client.ts'
import { stampConditions } from './conditions.ts'
import { type Fence, unfenced } from './fence.ts'
import { leaderManager } from './field-managers.ts'
import { serviceFinalizer } from './finalizer.ts'
import { identityOf, type RawObject } from './json.ts'
import { isNotFound, type KubeError, localError } from './kube-error.ts'
import type { Condition, Kind, NamespacedName, Service, VipLayer2 } from './objects.ts'
import { resourcePath, resources } from './resources.ts'
import { renderTime } from './times.ts'

export type WriteResult = Promise<Result<RawObject, KubeError>>

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

export interface StatusApply {
  readonly kind: Kind
  readonly name: string
  /** The whole status as this manager wants it; what it owned before and does not name any more goes away. */
  readonly status: RawObject
  /** `bellhop-leader`, or `bellhop-<replica>` for a replica's own entries. */
  readonly fieldManager: string
}

export interface WriterOptions {
  readonly client: KubeClient
  readonly clock: Clock
  /** Services as the view has them: whose finalizers and conditions a patch has to respect. */
  readonly services: () => ReadonlyMap<NamespacedName, Service>
  /** Takes in what a write returned: `store.absorb`. */
  readonly absorb: (raw: RawObject) => void
  /** Takes in that a Vip is gone: `store.absorbDeletion`. */
  readonly absorbDeletion: (kind: Kind, key: string, uid: string) => void
  /** Records an `event` step. */
  readonly recordEvent: (event: Extract<AllocationStep, { type: 'event' }>) => void
  /** Whether no route of the Vip is announced: asked again right before it is deleted. Default: nobody announces. */
  readonly isWithdrawn?: (vip: string) => boolean
  /** Default: none, for what needs no leader. */
  readonly fence?: Fence
  /** Default `bellhop-leader`. */
  readonly fieldManager?: string
}

export interface Writer {
  /** POST: 409 AlreadyExists when somebody else was first. */
  readonly createVip: (name: string, spec: VipSpec) => WriteResult
  /** Replaces the spec: 409 when the Vip is at another version. */
  readonly updateVip: (vip: { readonly name: string; readonly resourceVersion: string }, spec: VipSpec) => WriteResult
  /** Writes who answers for the Vip on the link, and nothing else; undefined = nobody. 409 when the Vip is at another version. */
  readonly setVipOwner: (
    vip: { readonly name: string; readonly resourceVersion: string },
    owner: VipLayer2 | undefined,
  ) => WriteResult
  /** 409 when it is another Vip, at another version, or announced; one that is gone already is a success. */
  readonly deleteVip: (vip: {
    readonly name: string
    readonly uid: string
    readonly resourceVersion: string
  }) => WriteResult
  readonly addFinalizer: (service: ServiceVersion) => WriteResult
  /** Leaves the finalizers of others where they are; a Service that is gone already is a success. */
  readonly removeFinalizer: (service: ServiceVersion) => WriteResult
  readonly setServiceStatus: (write: ServiceStatusWrite) => WriteResult
  /** Server-side apply on the status subresource, with force: nobody else's opinion on our fields counts. */
  readonly applyStatus: (write: StatusApply) => WriteResult
  /** Asks the API server, not the view. An error 409 says that the presumption does not hold. */
  readonly checkServiceFence: (fence: ServiceFence) => Promise<Result<undefined, KubeError>>
  /** Carries out one step of an allocation. Answers are fed back into the view before it resolves. */
  readonly executeStep: (step: AllocationStep, signal?: AbortSignal) => Promise<Result<unknown, KubeError>>
}

const ourConditionPrefix = 'bellhop.io/'

export function createWriter(options: WriterOptions): Writer {
  const fence = options.fence ?? unfenced
  const fieldManager = options.fieldManager ?? leaderManager
  const ownVersions = createOwnVersions()

  const send = async (request: KubeRequest, signal?: AbortSignal): WriteResult => {
    if (!fence.holds()) return err(localError('NotLeader', 'leadership was lost: nothing is written'))
    const either = signal === undefined ? fence.signal : AbortSignal.any([fence.signal, signal])
    return options.client.request({ ...request, signal: either })
  }

  const sendAndAbsorb = async (request: KubeRequest, signal?: AbortSignal): WriteResult => {
    const result = await send(request, signal)
    if (result.ok) options.absorb(result.value)
    return result
  }

  const vipPath = (name?: string): string => resourcePath(resources.Vip, name === undefined ? {} : { name })

  // ------------------------------------------------------------------------------------------------------- Vips

  const createVip = (name: string, spec: VipSpec, signal?: AbortSignal): WriteResult =>
    sendAndAbsorb(
      {
        method: 'POST',
        path: vipPath(),
        query: { fieldManager },
        body: {
          apiVersion: resources.Vip.apiVersion,
          kind: 'Vip',
          metadata: { name, labels: { 'app.kubernetes.io/managed-by': 'bellhop' } },
          spec: vipSpecBody(spec),
        },
      },
      signal,
    )

  const updateVip: (
    vip: { readonly name: string; readonly resourceVersion: string },
    spec: VipSpec,
    signal?: AbortSignal,
  ) => WriteResult = ({ name, resourceVersion }, spec, signal) =>
    sendAndAbsorb(
      {
        method: 'PATCH',
        path: vipPath(name),
        query: { fieldManager },
        patchType: 'merge',
        // A resourceVersion in a patch is a precondition. null takes an old hold away.
        body: { metadata: { resourceVersion }, spec: { ...vipSpecBody(spec), hold: holdBody(spec) ?? null } },
      },
      signal,
    )

  const setVipOwner: Writer['setVipOwner'] = ({ name, resourceVersion }, owner) =>
    sendAndAbsorb({
      method: 'PATCH',
      path: vipPath(name),
      query: { fieldManager },
      patchType: 'merge',
      body: {
        metadata: { resourceVersion },
        spec: { layer2: owner === undefined ? null : { ...owner, from: owner.from ?? null } },
      },
    })

  const deleteVip: (
    vip: { readonly name: string; readonly uid: string; readonly resourceVersion: string },
    signal?: AbortSignal,
  ) => WriteResult = async ({ name, uid, resourceVersion }, signal) => {
    if (options.isWithdrawn?.(name) === false) return err(announcedAgain(name))
    const result = await send(
      {
        method: 'DELETE',
        path: vipPath(name),
        body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion } },
      },
      signal,
    )
    if (!result.ok && !isNotFound(result.error)) return result
    // With finalizers of others on it the object itself comes back: then it is only on its way out.
    if (result.ok && result.value['kind'] === 'Vip') options.absorb(result.value)
    else options.absorbDeletion('Vip', name, uid)
    return result.ok ? result : ok({})
  }

  // --------------------------------------------------------------------------------------------------- Services

  /** The Service as the view has it, if that is the version the caller decided upon (or what we made of it since). */
  const held = (wanted: ServiceVersion): Result<Service, KubeError> => {
    const service = options.services().get(wanted.service)
    const version = ownVersions.latest(wanted)
    if (service?.meta.uid === wanted.uid && service.meta.resourceVersion === version) return ok(service)
    return err(changed(wanted.service))
  }

  const patchService = async (
    service: Service,
    request: Pick<KubeRequest, 'body' | 'patchType'> & { readonly subresource?: string },
    signal?: AbortSignal,
  ): WriteResult => {
    const { namespace, name, uid, resourceVersion } = service.meta
    const { subresource, ...rest } = request
    const path = resourcePath(resources.Service, {
      namespace,
      name,
      ...(subresource === undefined ? {} : { subresource }),
    })
    const result = await sendAndAbsorb({ method: 'PATCH', path, query: { fieldManager }, ...rest }, signal)
    if (result.ok) ownVersions.note(uid, resourceVersion, identityOf(result.value).resourceVersion)
    return result
  }

  // The list is replaced, under the version at which it was read: whoever else edits it in between makes this a conflict.
  const setFinalizers = (service: Service, finalizers: readonly string[], signal?: AbortSignal): WriteResult =>
    patchService(
      service,
      {
        patchType: 'merge',
        body: { metadata: { uid: service.meta.uid, resourceVersion: service.meta.resourceVersion, finalizers } },
      },
      signal,
    )

  const addFinalizer = async (wanted: ServiceVersion, signal?: AbortSignal): WriteResult => {
    const service = held(wanted)
    if (!service.ok) return service
    const { finalizers } = service.value.meta
    if (finalizers.includes(serviceFinalizer)) return ok({})
    return setFinalizers(service.value, [...finalizers, serviceFinalizer], signal)
  }

  const removeFinalizer = async (wanted: ServiceVersion, signal?: AbortSignal): WriteResult => {
    const service = held(wanted)
    if (!service.ok) return service
    const { finalizers } = service.value.meta
    if (!finalizers.includes(serviceFinalizer)) return ok({})
    const rest = finalizers.filter((finalizer) => finalizer !== serviceFinalizer)
    const result = await setFinalizers(service.value, rest, signal)
    return !result.ok && isNotFound(result.error) ? ok({}) : result
  }

  const setServiceStatus = async (write: ServiceStatusWrite, signal?: AbortSignal): WriteResult => {
    const service = held(write)
    if (!service.ok) return service
    const { uid, resourceVersion } = service.value.meta
    const conditions = [
      ...stampConditions(write.conditions, service.value.conditions, options.clock.wallMs()),
      ...(write.removeConditions ?? []).map((type) => ({ type, $patch: 'delete' })),
    ]
    return patchService(
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
  }

  const checkServiceFence = async (
    presumed: ServiceFence,
    signal?: AbortSignal,
  ): Promise<Result<undefined, KubeError>> => {
    const [namespace = '', name = ''] = presumed.service.split('/')
    const answer = await send({ method: 'GET', path: resourcePath(resources.Service, { namespace, name }) }, signal)
    if (!answer.ok && !isNotFound(answer.error)) return answer
    const found = answer.ok ? identityOf(answer.value) : undefined
    if (answer.ok) options.absorb(answer.value)
    const same = found?.uid === presumed.uid
    if (presumed.expect === 'gone') return same ? err(changed(presumed.service)) : ok(undefined)
    return same && found.resourceVersion === ownVersions.latest(presumed)
      ? ok(undefined)
      : err(changed(presumed.service))
  }

  // ------------------------------------------------------------------------------------------------ our statuses

  const applyStatus = ({ kind, name, status, fieldManager: manager }: StatusApply): WriteResult => {
    const resource = resources[kind]
    // An empty status would be owned like any other value: a manager who wants nothing names nothing, and is forgotten.
    const wanted = Object.keys(status).length === 0 ? {} : { status }
    return sendAndAbsorb({
      method: 'PATCH',
      path: resourcePath(resource, { name, subresource: 'status' }),
      query: { fieldManager: manager, force: 'true' },
      patchType: 'apply',
      body: { apiVersion: resource.apiVersion, kind, metadata: { name }, ...wanted },
    })
  }

  // ------------------------------------------------------------------------------------------------------- steps

  const afterFences = async (
    fences: readonly ServiceFence[],
    signal: AbortSignal | undefined,
    write: () => WriteResult,
  ): Promise<Result<unknown, KubeError>> => {
    for (const presumed of fences) {
      const result = await checkServiceFence(presumed, signal)
      if (!result.ok) return result
    }
    return write()
  }

  const executeStep = async (step: AllocationStep, signal?: AbortSignal): Promise<Result<unknown, KubeError>> => {
    switch (step.type) {
      case 'create-vip':
        return createVip(step.name, step.spec, signal)
      case 'update-vip':
        return afterFences(step.fences, signal, () => updateVip(step, step.spec, signal))
      case 'delete-vip':
        return afterFences(step.fences, signal, () => deleteVip(step, signal))
      case 'add-finalizer':
        return addFinalizer(step, signal)
      case 'remove-finalizer':
        return removeFinalizer(step, signal)
      case 'set-service-status':
        return setServiceStatus(
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

  return {
    createVip,
    updateVip,
    setVipOwner,
    deleteVip,
    addFinalizer,
    removeFinalizer,
    setServiceStatus,
    applyStatus,
    checkServiceFence,
    executeStep,
  }
}

const changed = (service: NamespacedName): KubeError => ({
  status: 409,
  reason: 'Conflict',
  message: `Service ${service} has changed since this was decided`,
})

// Since this was decided the Service has asked for it anew, and another controller that takes itself for the leader has granted it.
const announcedAgain = (name: string): KubeError => ({
  status: 409,
  reason: 'Conflict',
  message: `Vip ${name} is announced again`,
})

const ourConditions = (service: Service | undefined): readonly string[] =>
  (service?.conditions ?? []).map(({ type }) => type).filter((type) => type.startsWith(ourConditionPrefix))

function vipSpecBody(spec: VipSpec): RawObject {
  const hold = holdBody(spec)
  return {
    address: spec.address,
    pool: spec.pool,
    services: spec.services,
    ...(hold === undefined ? {} : { hold }),
  }
}

function holdBody({ hold }: VipSpec): RawObject | undefined {
  return hold === undefined
    ? undefined
    : { namespace: hold.namespace, name: hold.name, until: renderTime(hold.untilMs) }
}

const ownVersionsMax = 10_000

// Steps of one Service follow each other: the second was decided upon the version that the first replaced. The versions that our
// own writes led through count as the one they ended at; a write of anybody else breaks the chain, and the step with it.
function createOwnVersions(): {
  readonly note: (uid: string, from: string, to: string) => void
  readonly latest: (decided: { readonly uid: string; readonly resourceVersion: string }) => string
} {
  const chains = new Map<string, { readonly passed: ReadonlySet<string>; readonly latest: string }>()
  return {
    note: (uid, from, to) => {
      const chain = chains.get(uid)
      chains.delete(uid)
      chains.set(uid, {
        passed: chain?.latest === from ? new Set([...[...chain.passed].slice(-8), from]) : new Set([from]),
        latest: to,
      })
      for (const oldest of chains.keys()) {
        if (chains.size <= ownVersionsMax) break
        chains.delete(oldest)
      }
    },
    latest: ({ uid, resourceVersion }) => {
      const chain = chains.get(uid)
      return chain?.passed.has(resourceVersion) ? chain.latest : resourceVersion
    },
  }
}
