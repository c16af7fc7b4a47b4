// The cluster as parsed values, kept equal to the API server: one reflector and one kind store a kind, one view over all of them,
// and a single notice a turn that something changed.

import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { createChangeNotice } from './change-notice.ts'
import type { KubeClient } from './client.ts'
import { asObject, asText, type RawObject } from './json.ts'
import { createKindStore, type KindStore } from './kind-store.ts'
import type {
  ClusterChanges,
  ClusterView,
  EndpointSlice,
  Kind,
  NamespacedName,
  ObjectRefusal,
  Service,
} from './objects.ts'
import { type Reflector, type ReflectorFacts, startReflector } from './reflector.ts'
import type { Consistency } from './reflector-machine.ts'
import { resources } from './resources.ts'
import { createSliceIndex } from './slice-index.ts'

export interface KindSelection {
  readonly fieldSelector?: string
  readonly labelSelector?: string
  /**
   * This process never writes objects of this kind and does not look at their status: it is not kept, and an object that changed
   * only there is not a change.
   */
  readonly withoutStatus?: boolean
}

export interface ClusterStoreOptions {
  readonly client: KubeClient
  /** What to follow; the maps of other kinds stay empty. The agent wants `['Vip']`. */
  readonly kinds: readonly Kind[]
  /** Our own: the only one whose Secrets are read. */
  readonly namespace: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Ends all watches. */
  readonly signal: AbortSignal
  /** Not synced before `standIn` was called for the first time: the objects of another product come first. */
  readonly awaitStandIns?: boolean
  /** Narrows a kind: an agent follows `{Node: {fieldSelector: 'metadata.name=n1'}}`. */
  readonly select?: Partial<Record<Kind, KindSelection>>
  readonly pageLimit?: number
  /** Default quorum; `cache` for fleets that start at once. */
  readonly consistency?: Consistency
  readonly watchSeconds?: number
}

export interface KindFacts extends ReflectorFacts {
  readonly objects: number
  readonly refused: number
}

export interface ClusterStoreFacts {
  readonly synced: boolean
  readonly kinds: ReadonlyMap<Kind, KindFacts>
}

export interface ClusterStore {
  /** Live maps; see ClusterView. */
  readonly view: () => ClusterView
  /** What changed since the last call; the first call after a start names everything. */
  readonly takeChanges: () => ClusterChanges
  /** Called once a turn in which something changed, or in which the last kind became synced; never from inside a call. */
  readonly onChange: (listener: () => void) => void
  /** Every kind was listed in full at least once. */
  readonly synced: () => boolean
  /** Resolves when synced; rejects when `signal` fires first. */
  readonly whenSynced: (signal: AbortSignal) => Promise<void>
  /** Takes in what a write returned, so that the next decision sees it; older versions never overwrite newer ones. */
  readonly absorb: (raw: unknown) => void
  /** We deleted this object: it leaves the view now. `key` as in the view. */
  readonly absorbDeletion: (kind: Kind, key: string, uid: string) => void
  /**
   * Objects that are not in the cluster and count as if they were, unless it has one of the same kind and name: all of them, each
   * time. Kinds that are not followed are passed over.
   */
  readonly standIn: (raws: readonly RawObject[]) => void
  /** Resolves when each of these kinds was listed anew, by quorum, after this call. Rejects when the store is stopped. */
  readonly confirm: (kinds: readonly Kind[]) => Promise<void>
  readonly facts: () => ClusterStoreFacts
}

// Headless Services cannot be load balancers, and their slices can be most of a cluster's (kube-proxy skips them too).
const defaultSelection: Partial<Record<Kind, KindSelection>> = {
  EndpointSlice: { labelSelector: '!service.kubernetes.io/headless' },
}

type Stores = { readonly [K in Kind]: KindStore<K> }

/** Starts following the kinds at once. */
export function createClusterStore(options: ClusterStoreOptions): ClusterStore {
  const changes = createChangeNotice(() => tell())
  const slices = createSliceIndex((service) => changes.note('EndpointSlice', service))
  const refusals = new RefusalList()
  const intern = createIntern()
  const listeners = new Set<() => void>()
  const kinds = [...new Set(options.kinds)]
  let syncedBefore = false

  const storeOf = <K extends Kind>(kind: K): KindStore<K> =>
    createKindStore({
      kind,
      intern,
      withoutStatus: options.select?.[kind]?.withoutStatus ?? false,
      onGarbage: () => options.log.warn({ event: 'kube-object-without-name', kind }),
      onChange: (key, before, after) => {
        refusals.stale = true
        if (kind === 'EndpointSlice')
          slices.change(before as EndpointSlice | undefined, after as EndpointSlice | undefined)
        else changes.note(kind, key)
      },
    })
  const stores: Stores = {
    Service: storeOf('Service'),
    EndpointSlice: storeOf('EndpointSlice'),
    Node: storeOf('Node'),
    Namespace: storeOf('Namespace'),
    Secret: storeOf('Secret'),
    BgpConf: storeOf('BgpConf'),
    BgpPeer: storeOf('BgpPeer'),
    VipPool: storeOf('VipPool'),
    Vip: storeOf('Vip'),
    BgpPolicy: storeOf('BgpPolicy'),
  }

  const tell = (): void => {
    for (const listener of listeners) listener()
  }

  const reflectors = new Map<Kind, Reflector>()
  for (const kind of kinds)
    reflectors.set(
      kind,
      reflect(
        kind,
        options,
        observed(stores[kind], () => afterSwap()),
      ),
    )

  let waitsForStandIns = options.awaitStandIns ?? false
  const synced = (): boolean =>
    !waitsForStandIns && [...reflectors.values()].every((reflector) => reflector.facts().synced)
  // The reflector marks itself synced only after the swap that this is called from.
  const afterSwap = (): void =>
    queueMicrotask(() => {
      if (syncedBefore || !synced()) return
      syncedBefore = true
      changes.wake()
    })

  const view: ClusterView = {
    services: stores.Service.values as ReadonlyMap<NamespacedName, Service>,
    endpointSlices: slices.byService,
    nodes: stores.Node.values,
    namespaces: stores.Namespace.values,
    secrets: stores.Secret.values,
    bgpConfs: stores.BgpConf.values,
    bgpPeers: stores.BgpPeer.values,
    vipPools: stores.VipPool.values,
    vips: stores.Vip.values,
    bgpPolicies: stores.BgpPolicy.values,
    get refusals() {
      return refusals.of(kinds.map((kind) => stores[kind].refusals))
    },
  }

  return {
    view: () => view,
    takeChanges: changes.take,
    onChange: (listener) => void listeners.add(listener),
    synced,
    whenSynced: (signal) =>
      new Promise((resolve, reject) => {
        const end = (): void => {
          listeners.delete(check)
          signal.removeEventListener('abort', giveUp)
        }
        const check = (): void => {
          if (!synced()) return
          end()
          resolve()
        }
        const giveUp = (): void => {
          end()
          reject(signal.reason)
        }
        listeners.add(check)
        signal.addEventListener('abort', giveUp, { once: true })
        if (signal.aborted) giveUp()
        else check()
      }),
    absorb: (raw) => {
      const kind = kindOf(raw)
      if (kind !== undefined && reflectors.has(kind)) stores[kind].absorb(raw)
    },
    absorbDeletion: (kind, key, uid) => stores[kind].forget(key, uid),
    standIn: (raws) => {
      const byKind = Map.groupBy(raws, kindOf)
      for (const kind of kinds) stores[kind].standIn(byKind.get(kind) ?? [])
      waitsForStandIns = false
      afterSwap()
    },
    confirm: async (wanted) => {
      await Promise.all(wanted.map((kind) => reflectors.get(kind)?.confirm()))
    },
    facts: () => ({
      synced: synced(),
      kinds: new Map(
        [...reflectors].map(([kind, reflector]) => [
          kind,
          { ...reflector.facts(), objects: stores[kind].values.size, refused: stores[kind].refusals.size },
        ]),
      ),
    }),
  }
}

function reflect(kind: Kind, options: ClusterStoreOptions, sink: KindStore<Kind> | ObservedSink): Reflector {
  const { client, clock, random, log, signal, pageLimit, consistency, watchSeconds } = options
  return startReflector({
    client,
    resource: resources[kind],
    sink,
    clock,
    random,
    log,
    signal,
    ...(kind === 'Secret' ? { namespace: options.namespace } : {}),
    ...selectorsOf({ ...defaultSelection[kind], ...options.select?.[kind] }),
    ...(pageLimit === undefined ? {} : { pageLimit }),
    ...(consistency === undefined ? {} : { consistency }),
    ...(watchSeconds === undefined ? {} : { watchSeconds }),
  })
}

function selectorsOf({
  fieldSelector,
  labelSelector,
}: KindSelection): Pick<KindSelection, 'fieldSelector' | 'labelSelector'> {
  return {
    ...(fieldSelector === undefined ? {} : { fieldSelector }),
    ...(labelSelector === undefined ? {} : { labelSelector }),
  }
}

type ObservedSink = Parameters<typeof startReflector>[0]['sink']

const observed = (sink: ObservedSink, afterSwap: () => void): ObservedSink => ({
  begin: sink.begin,
  stage: sink.stage,
  put: sink.put,
  remove: sink.remove,
  swap: (resourceVersion) => {
    sink.swap(resourceVersion)
    afterSwap()
  },
})

function kindOf(raw: unknown): Kind | undefined {
  const object = asObject(raw)
  const kind = asText(object?.['kind']) as Kind | undefined
  if (kind === undefined || !Object.hasOwn(resources, kind)) return undefined
  return resources[kind].apiVersion === object?.['apiVersion'] ? kind : undefined
}

// One list over all kinds, made when it is asked for after a change.
class RefusalList {
  stale = true
  #list: readonly ObjectRefusal[] = []

  of(maps: readonly ReadonlyMap<string, ObjectRefusal>[]): readonly ObjectRefusal[] {
    if (this.stale) this.#list = maps.flatMap((map) => [...map.values()])
    this.stale = false
    return this.#list
  }
}

const internedMax = 20_000

// A hundred thousand endpoints name a thousand nodes: one text each is enough.
function createIntern(): (text: string) => string {
  const known = new Map<string, string>()
  return (text) => {
    const same = known.get(text)
    if (same !== undefined) return same
    if (known.size < internedMax) known.set(text, text)
    return text
  }
}
