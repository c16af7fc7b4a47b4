// `--adopt`: the controller reads the objects of OpenELB or MetalLB in place, unchanged, beside its own. Every replica follows them and
// lets their conversion stand in for ours; the leader keeps up the statuses that their users look at, and takes away the finalizers
// that a predecessor left behind.

import type { KubeClient } from '../k8s/client.ts'
import type { ClusterStore } from '../k8s/cluster-store.ts'
import type { Fence } from '../k8s/fence.ts'
import { leaderManager } from '../k8s/field-managers.ts'
import { asObject, asText, identityOf, type RawObject } from '../k8s/json.ts'
import { type Reflector, startReflector } from '../k8s/reflector.ts'
import { type Resource, resourcePath, resources } from '../k8s/resources.ts'
import type { Product } from '../migrate/migrate.ts'
import { compareIp } from '../net/ip.ts'
import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { createTrigger } from '../runtime/trigger.ts'
import type { Allocation, ServiceClassRule } from '../vip/types.ts'
import { adopt, currentOnes } from './adopt.ts'
import { foreignKinds } from './foreign-kinds.ts'
import { foreignStatus, shows, vipsByPool } from './foreign-status.ts'
import { keptFinalizers, keptOnObject } from './predecessor-finalizers.ts'

export interface AdoptionOptions {
  /** The first one wins where two claim a name. */
  readonly products: readonly Product[]
  readonly client: KubeClient
  /** Created with `awaitStandIns`. */
  readonly store: Pick<ClusterStore, 'standIn' | 'view'>
  readonly serviceClass: ServiceClassRule
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
}

export interface Adoption {
  /** Kinds whose first list is still to come; empty once the store has what there is. */
  readonly waitingFor: () => readonly string[]
  /** This replica leads for as long as the fence holds: it writes. */
  readonly lead: (fence: Fence, allocation: () => Allocation | undefined) => void
  /** Something that a status says, or a Service, may have changed. */
  readonly pull: () => void
  readonly stop: () => Promise<void>
}

/** Until everything has been listed once. */
const lookAgainMs = 200
/** Statuses of others are for people. */
const writeIntervalMs = 1000
const retryMs = 10_000
const timeoutMs = 10_000

interface Followed {
  readonly resource: Resource
  readonly objects: () => readonly RawObject[]
  readonly reflector: Reflector
}

/** Starts following at once. */
export function startAdoption(options: AdoptionOptions): Adoption {
  const { clock, log, signal, store, products } = options
  const followed = products.flatMap((product) =>
    foreignKinds[product].map((resource) => follow(resource, options, () => changed())),
  )
  const told = new Set<string>()
  let leading: { readonly fence: Fence; readonly allocation: () => Allocation | undefined } | undefined
  let cancelLook: CancelTimer | undefined

  const foreign = (): readonly RawObject[] => followed.flatMap(({ objects }) => objects())
  const waitingFor = (): readonly string[] =>
    followed
      .filter(({ reflector }) => !isSettled(reflector))
      .map(({ resource }) => `${resource.kind} (${resource.apiVersion})`)

  const changed = (): void => {
    // Half of another product's objects would be another configuration.
    if (waitingFor().length > 0) return
    const { objects, notes } = adopt(foreign(), products)
    store.standIn(objects)
    for (const { title, level, path, text } of notes) {
      const words = [title, path, text].join(' ')
      if (told.has(words)) continue
      told.add(words)
      log[level === 'problem' ? 'warn' : 'info']({ event: 'adoption-note', object: title, field: path, says: text })
    }
    writes.pull()
  }
  const look = (): void => {
    if (signal.aborted) return
    if (waitingFor().length > 0) cancelLook = clock.setTimer(lookAgainMs, look)
    else changed()
  }

  let cancelRetry: CancelTimer = () => {}
  const writes = createTrigger(
    async () => {
      if (leading === undefined || !leading.fence.holds()) return
      const all = currentOnes(foreign())
      const done = [
        ...(await writeStatuses(all, leading.allocation(), leading.fence, options)),
        ...(await removeFinalizers(all, leading.fence, options)),
      ]
      cancelRetry()
      if (done.includes('failed')) cancelRetry = clock.setTimer(retryMs, () => writes.pull())
    },
    {
      clock,
      intervalMs: writeIntervalMs,
      onError: (error) => log.error({ event: 'adoption-failed', message: String(error) }),
    },
  )
  look()
  return {
    waitingFor,
    lead: (fence, allocation) => {
      leading = { fence, allocation }
      writes.pull()
    },
    pull: writes.pull,
    stop: async () => {
      cancelLook?.()
      await writes.stop()
      cancelRetry()
    },
  }
}

function follow(resource: Resource, options: AdoptionOptions, onChange: () => void): Followed {
  let objects = new Map<string, RawObject>()
  let staged = new Map<string, RawObject>()
  const keyOf = (raw: unknown): string => `${identityOf(raw).namespace}/${identityOf(raw).name}`
  // Items of a list do not say what they are.
  const complete = (raw: unknown): RawObject => ({
    ...asObject(raw),
    apiVersion: resource.apiVersion,
    kind: resource.kind,
  })
  const { client, clock, random, log, signal } = options
  const reflector = startReflector({
    ...{ client, clock, random, log, signal, resource },
    optional: true,
    sink: {
      begin: () => {
        staged = new Map()
      },
      stage: (raw) => void staged.set(keyOf(raw), complete(raw)),
      swap: () => {
        objects = staged
        queueMicrotask(onChange)
      },
      put: (raw) => {
        objects.set(keyOf(raw), complete(raw))
        onChange()
      },
      remove: (raw) => {
        objects.delete(keyOf(raw))
        onChange()
      },
    },
  })
  return { resource, objects: () => [...objects.values()], reflector }
}

/** Listed, or not installed. */
const isSettled = ({ facts }: Reflector): boolean => facts().synced || facts().lastError?.status === 404

// ---------------------------------------------------------------------------------------------------------- writes

type Outcome = 'written' | 'failed'

async function writeStatuses(
  foreign: readonly RawObject[],
  allocation: Allocation | undefined,
  fence: Fence,
  options: AdoptionOptions,
): Promise<readonly Outcome[]> {
  if (allocation === undefined) return []
  const { vips, vipPools } = options.store.view()
  const byPool = vipsByPool(vips.values(), compareIp)
  const outcomes: Outcome[] = []
  for (const raw of foreign) {
    const name = identityOf(raw).name ?? ''
    const pool = vipPools.get(name)
    const usage = allocation.pools.get(name)
    const status = pool && usage && foreignStatus(raw, { pool, usage, vips: byPool.get(name) ?? [] })
    if (status === undefined || shows(raw['status'], status)) continue
    const body = { status: replacing(raw['status'], status) }
    outcomes.push(await patch(raw, { body, subresource: 'status' }, fence, options))
  }
  return outcomes
}

// A merge patch adds to maps: what is to go from them has to be named.
function replacing(before: unknown, wanted: RawObject): RawObject {
  return Object.fromEntries(
    Object.entries(wanted).map(([field, value]) => {
      const map = asObject(value)
      if (map === undefined) return [field, value]
      const gone = Object.keys(asObject(asObject(before)?.[field]) ?? {}).filter((key) => !(key in map))
      return [field, { ...Object.fromEntries(gone.map((key) => [key, null])), ...map }]
    }),
  )
}

async function removeFinalizers(
  foreign: readonly RawObject[],
  fence: Fence,
  options: AdoptionOptions,
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = []
  for (const service of options.store.view().services.values()) {
    const finalizers = keptFinalizers(service, options.serviceClass)
    if (finalizers === undefined) continue
    const { namespace, name, uid, resourceVersion } = service.meta
    const body = { metadata: { uid, resourceVersion, finalizers } }
    const raw = { apiVersion: 'v1', kind: 'Service', metadata: { namespace, name } }
    outcomes.push(await patch(raw, { body }, fence, options))
  }
  for (const raw of foreign) {
    const finalizers = keptOnObject(raw)
    const { uid, resourceVersion } = identityOf(raw)
    if (finalizers !== undefined)
      outcomes.push(await patch(raw, { body: { metadata: { uid, resourceVersion, finalizers } } }, fence, options))
  }
  return outcomes
}

async function patch(
  raw: RawObject,
  change: { readonly body: RawObject; readonly subresource?: string },
  fence: Fence,
  { client, log }: AdoptionOptions,
): Promise<Outcome> {
  const kind = asText(raw['kind']) ?? ''
  const { namespace, name = '' } = identityOf(raw)
  const resource = [...Object.values(foreignKinds).flat(), resources.Service].find(
    (each) => each.kind === kind && each.apiVersion === raw['apiVersion'],
  )
  if (resource === undefined || !fence.holds()) return 'failed'
  const { subresource } = change
  const answer = await client.request({
    method: 'PATCH',
    path: resourcePath(resource, { namespace, name, ...(subresource === undefined ? {} : { subresource }) }),
    query: { fieldManager: leaderManager },
    patchType: 'merge',
    body: change.body,
    timeoutMs,
    signal: fence.signal,
  })
  // Another version, or gone: the watch tells, and then it is looked at again.
  if (answer.ok || answer.error.status === 409 || answer.error.status === 404) return 'written'
  log.warn({ event: 'adoption-write-refused', kind, name, reason: answer.error.reason, message: answer.error.message })
  return 'failed'
}
