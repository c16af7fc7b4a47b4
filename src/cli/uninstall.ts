// What Bellhop leaves in a cluster and nobody else would ever take away: the finalizer on Services, without which they can be deleted again,
// its conditions and addresses in their statuses, its Vips. In any order with `kubectl delete -k`: the definitions of our kinds, and
// with them the Vips, may be gone already; then a Service's own condition is the evidence.

import { replicaBeat } from '../controller/presence.ts'
import type { KubeClient, KubeRequest } from '../k8s/client.ts'
import { asList, asObject, asText, type RawObject } from '../k8s/json.ts'
import type { KubeError } from '../k8s/kube-error.ts'
import { parseLease } from '../k8s/lease.ts'
import { namespacedName, type Service, type Vip } from '../k8s/objects.ts'
import { leaseResource, type Resource, resourcePath, resources } from '../k8s/resources.ts'
import { parseObject } from '../k8s/schemas/parse.ts'
import type { Clock } from '../runtime/clock.ts'
import { pause } from '../runtime/pause.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { allocatedCondition } from '../vip/conditions.ts'
import { loadBalancerFinalizer } from '../vip/service-class.ts'

export interface UninstallOptions {
  readonly client: KubeClient
  readonly clock: Clock
  /** Bellhop's own, where its Leases are. */
  readonly namespace: string
  /** Leaves status.loadBalancer as it is, for whoever serves the Services next. */
  readonly keepAddresses: boolean
  /** Says what would be done, and does nothing. */
  readonly dryRun: boolean
  /** One line for people. */
  readonly say: (line: string) => void
}

/** Conditions of ours. */
const ourPrefix = 'bellhop.io/'
/** A Lease that says to have been renewed this recently is a living controller's, for which nobody has to wait. */
const leaseSecondsMax = 60
/** Of all others only time tells, since another machine's clock says nothing: whoever lives keeps its promise to renew within this. */
const watchMs = replicaBeat.durationSeconds * 1000
/** Somebody else edits the object at the same time: read again, decide again. */
const attemptsMax = 5
const concurrency = 8

/** Returns whether nothing of ours is left, and nothing is left to decide. An error: nothing was done, and why. */
export async function uninstall(options: UninstallOptions): Promise<Result<boolean, string>> {
  const { client, say } = options
  const running = await runningControllers(options)
  if (!running.ok) return running
  if (running.value.length > 0)
    return err(
      `controllers run, and would undo it: ${running.value.join(', ')}\n` +
        `kubectl -n ${options.namespace} scale deployment bellhop-controller --replicas 0`,
    )
  const vips = await listAll(client, resources.Vip)
  const services = await listAll(client, resources.Service)
  if (!vips.ok) return vips
  if (!services.ok) return services
  const claims = claimsIn(vips.value ?? [])
  const counts = { services: 0, vips: 0, failures: 0, unclear: 0 }
  const each = async <T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> => {
    const queue = items.values()
    await Promise.all(
      Array.from({ length: concurrency }, async () => {
        for (const item of queue) await work(item)
      }),
    )
  }
  await each(services.value ?? [], async (raw) => {
    const service = serviceOf(raw)
    if (service === undefined) return
    const name = namespacedName(service.meta.namespace, service.meta.name)
    const before = remainsOf(service, claims, options)
    if (before === 'unclear') {
      counts.unclear++
      say(`? Service ${name} has the finalizer ${loadBalancerFinalizer} and no condition of Bellhop's: whose is it?`)
    }
    if (before === undefined || before === 'unclear') return
    const cleaned = options.dryRun ? ok(undefined) : await cleanService(options, service, claims)
    if (cleaned.ok) counts.services++
    else counts.failures++
    say(cleaned.ok ? `Service ${name}: ${wordsOf(before)}` : `! Service ${name}: ${cleaned.error.message}`)
  })
  // Last: they say whose the addresses were, should this be run again.
  if (counts.failures === 0)
    await each(vips.value ?? [], async (raw) => {
      const { name = '', uid = '' } = (asObject(raw['metadata']) ?? {}) as {
        readonly name?: string
        readonly uid?: string
      }
      const deleted = options.dryRun ? ok({}) : await deleteVip(client, name, uid)
      if (deleted.ok) counts.vips++
      else counts.failures++
      if (!deleted.ok) say(`! Vip ${name}: ${deleted.error.message}`)
    })
  const did = options.dryRun ? 'to clean' : 'cleaned'
  say(`${counts.services} Services ${did}, ${counts.vips} Vips ${options.dryRun ? 'to delete' : 'deleted'}`)
  if (vips.value === undefined) say('the definitions of the Vips are gone: the Services said themselves what was ours')
  return ok(counts.failures === 0 && counts.unclear === 0)
}

async function runningControllers(options: UninstallOptions): Promise<Result<readonly string[], string>> {
  const before = await controllerLeases(options)
  if (!before.ok || before.value.length === 0) return before.ok ? ok([]) : before
  const isRecent = ({ renewedMs }: ControllerLease): boolean =>
    Math.abs(options.clock.wallMs() - renewedMs) < leaseSecondsMax * 1000
  const recent = before.value.filter(isRecent)
  if (recent.length > 0) return ok(recent.map(({ holder }) => holder))
  options.say(`Leases of controllers are there (${holdersOf(before.value)}): looking whether they are renewed`)
  await pause(options.clock, watchMs)
  const after = await controllerLeases(options)
  if (!after.ok) return after
  const known = new Set(before.value.map(({ renewal }) => renewal))
  return ok(after.value.filter(({ renewal }) => !known.has(renewal)).map(({ holder }) => holder))
}

interface ControllerLease {
  readonly holder: string
  /** By the controller's clock. */
  readonly renewedMs: number
  /** Another one with each renewal. */
  readonly renewal: string
}

const holdersOf = (leases: readonly ControllerLease[]): string => leases.map(({ holder }) => holder).join(', ')

async function controllerLeases({
  client,
  namespace,
}: UninstallOptions): Promise<Result<readonly ControllerLease[], string>> {
  const leases = await listAll(client, leaseResource, {
    namespace,
    query: { labelSelector: 'bellhop.io/role=controller' },
  })
  if (!leases.ok) return leases
  return ok(
    (leases.value ?? []).map((raw) => {
      const { holder, name, renewal } = parseLease(raw)
      const renewTime = asText(asObject(raw['spec'])?.['renewTime'])
      return { holder, renewedMs: Date.parse(renewTime ?? ''), renewal: `${name} ${renewal}` }
    }),
  )
}

/** Undefined when the server does not know the kind. */
async function listAll(
  client: KubeClient,
  resource: Resource,
  { namespace, query = {} }: { readonly namespace?: string; readonly query?: Readonly<Record<string, string>> } = {},
): Promise<Result<readonly RawObject[] | undefined, string>> {
  const found: RawObject[] = []
  const path = resourcePath(resource, namespace === undefined ? {} : { namespace })
  for (let next = ''; ; ) {
    const answer = await client.request({
      ...{ method: 'GET', path },
      query: { ...query, limit: '500', ...(next === '' ? {} : { continue: next }) },
    })
    if (!answer.ok) return answer.error.status === 404 ? ok(undefined) : err(`${path}: ${answer.error.message}`)
    for (const item of asList(answer.value['items']) ?? []) found.push(asObject(item) ?? {})
    next = asText(asObject(answer.value['metadata'])?.['continue']) ?? ''
    if (next === '') return ok(found)
  }
}

type Claims = ReadonlyMap<string, ReadonlySet<string>>

/** By uid of a Service: the addresses that Vips record for it. */
function claimsIn(vips: readonly RawObject[]): Claims {
  const claims = new Map<string, Set<string>>()
  for (const raw of vips) {
    const parsed = parseObject('Vip', raw)
    const vip: Vip | undefined = parsed.type === 'value' ? parsed.value : undefined
    for (const { uid } of vip?.services ?? []) claims.set(uid, (claims.get(uid) ?? new Set()).add(String(vip?.address)))
  }
  return claims
}

function serviceOf(raw: RawObject): Service | undefined {
  const parsed = parseObject('Service', raw)
  return parsed.type === 'value' ? parsed.value : undefined
}

/** What a Service carries of ours. */
interface Remains {
  readonly addresses: readonly string[]
  readonly conditions: readonly string[]
  readonly finalizer: boolean
}

/** `unclear`: a finalizer that others use as well, and nothing that says that it is ours. */
function remainsOf(
  { meta, ingress, conditions, finalizedByUs }: Service,
  claims: Claims,
  { keepAddresses }: UninstallOptions,
): Remains | 'unclear' | undefined {
  const claimed = claims.get(meta.uid)
  const ours = conditions.map(({ type }) => type).filter((type) => type.startsWith(ourPrefix))
  const finalizer = meta.finalizers.includes(loadBalancerFinalizer)
  if (claimed === undefined && ours.length === 0 && finalizedByUs !== true) return finalizer ? 'unclear' : undefined
  const allocated = conditions.find(({ type }) => type === allocatedCondition)
  // True, or given back: then what stands in the status is what we wrote. Else it may be what another controller gave.
  const isAllOurs = allocated?.status === 'True' || allocated?.reason === 'Released'
  const shown = ingress.map(({ ip }) => String(ip))
  const addresses = keepAddresses ? [] : shown.filter((ip) => isAllOurs || claimed?.has(ip) === true)
  return {
    addresses,
    conditions: ours,
    finalizer: finalizer && (claimed !== undefined || allocated !== undefined || finalizedByUs === true),
  }
}

const wordsOf = ({ addresses, conditions, finalizer }: Remains): string =>
  [...addresses, ...(finalizer ? ['the finalizer'] : []), ...(conditions.length > 0 ? ['the conditions'] : [])].join(
    ', ',
  )

async function cleanService(
  options: UninstallOptions,
  first: Service,
  claims: Claims,
): Promise<Result<undefined, KubeError>> {
  const { namespace, name, uid } = first.meta
  const path = resourcePath(resources.Service, { namespace, name })
  let service: Service | undefined = first
  for (let attempt = 1; ; attempt++) {
    if (service?.meta.uid !== uid) return ok(undefined)
    const written = await writeClean(options.client, path, service, remainsOf(service, claims, options))
    if (written.ok || written.error.status === 404) return ok(undefined)
    if (written.error.status !== 409 || attempt === attemptsMax) return written
    const again = await options.client.request({ method: 'GET', path })
    if (!again.ok) return again.error.status === 404 ? ok(undefined) : again
    service = serviceOf(again.value)
  }
}

// The finalizer goes last: with it the Service may go, too.
async function writeClean(
  client: KubeClient,
  path: string,
  { meta, ingress }: Service,
  remains: ReturnType<typeof remainsOf>,
): Promise<Result<unknown, KubeError>> {
  if (remains === undefined || remains === 'unclear') return ok(undefined)
  const patch = (request: Pick<KubeRequest, 'path' | 'patchType' | 'body'>): Promise<Result<RawObject, KubeError>> =>
    client.request({ method: 'PATCH', query: { fieldManager: 'bellhop-uninstall' }, ...request })
  let { resourceVersion } = meta
  if (remains.conditions.length + remains.addresses.length > 0) {
    const rest = ingress.filter(({ ip }) => !remains.addresses.includes(ip))
    const written = await patch({
      path: `${path}/status`,
      patchType: 'strategic',
      body: {
        metadata: { uid: meta.uid, resourceVersion },
        status: {
          ...(remains.addresses.length === 0 ? {} : { loadBalancer: { ingress: rest } }),
          conditions: remains.conditions.map((type) => ({ type, $patch: 'delete' })),
        },
      },
    })
    if (!written.ok) return written
    resourceVersion = asText(asObject(written.value['metadata'])?.['resourceVersion']) ?? ''
  }
  if (!remains.finalizer) return ok(undefined)
  const finalizers = meta.finalizers.filter((finalizer) => finalizer !== loadBalancerFinalizer)
  return patch({ path, patchType: 'merge', body: { metadata: { uid: meta.uid, resourceVersion, finalizers } } })
}

async function deleteVip(client: KubeClient, name: string, uid: string): Promise<Result<unknown, KubeError>> {
  const answer = await client.request({
    method: 'DELETE',
    path: resourcePath(resources.Vip, { name }),
    body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid } },
  })
  return !answer.ok && answer.error.status === 404 ? ok(undefined) : answer
}
