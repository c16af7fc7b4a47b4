// The lab's own view of a collection: list, then watch, then list again when the watch breaks. Raw objects, because the
// stand-ins for kubelet and kube-proxy read fields that the product has no use for.

import type { KubeClient } from '../../k8s/client.ts'
import { asList, asObject, identityOf, type RawObject } from '../../k8s/json.ts'
import type { Clock } from '../../runtime/clock.ts'
import { pause } from '../../runtime/pause.ts'

export interface WatchedOptions {
  readonly client: KubeClient
  readonly clock: Clock
  /** `/api/v1/pods` */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly signal: AbortSignal
  /** After each complete list and each event. */
  readonly onChange: () => void
}

export interface Watched {
  /** By `namespace/name`; undefined before the first complete list. */
  readonly objects: () => ReadonlyMap<string, RawObject> | undefined
  /** Resolves after the signal fired. */
  readonly ended: Promise<void>
}

const retryMs = 300

/** Starts to follow a collection. */
export function watchCollection(options: WatchedOptions): Watched {
  const state: { objects?: Map<string, RawObject> } = {}
  return { objects: () => state.objects, ended: follow(options, state) }
}

async function follow(options: WatchedOptions, state: { objects?: Map<string, RawObject> }): Promise<void> {
  while (!options.signal.aborted) {
    const version = await list(options, state)
    if (version !== undefined) await watch(options, state, version)
    if (!options.signal.aborted) await pause(options.clock, retryMs)
  }
}

// The list's resourceVersion, or undefined when there was no list.
async function list(
  { client, path, query, signal, onChange }: WatchedOptions,
  state: { objects?: Map<string, RawObject> },
): Promise<string | undefined> {
  const answer = await client.request({ method: 'GET', path, signal, ...(query === undefined ? {} : { query }) })
  if (!answer.ok) return undefined
  const items = (asList(answer.value['items']) ?? []).map(asObject).filter((item) => item !== undefined)
  state.objects = new Map(items.map((item) => [keyOf(item), item]))
  onChange()
  return identityOf(answer.value).resourceVersion
}

async function watch(
  { client, path, query, signal, onChange }: WatchedOptions,
  state: { objects?: Map<string, RawObject> },
  resourceVersion: string,
): Promise<void> {
  const broken = new AbortController()
  await client.stream({
    path,
    query: { ...query, watch: 'true', allowWatchBookmarks: 'true', resourceVersion },
    openTimeoutMs: 10_000,
    totalTimeoutMs: 600_000,
    signal: AbortSignal.any([signal, broken.signal]),
    onOpen: () => {},
    onValue: (value) => {
      const type = asObject(value)?.['type']
      const object = asObject(asObject(value)?.['object'])
      if (object === undefined || type === 'ERROR') broken.abort()
      else if (type === 'DELETED') state.objects?.delete(keyOf(object))
      else if (type !== 'BOOKMARK') state.objects?.set(keyOf(object), object)
      if (type !== 'BOOKMARK') onChange()
    },
  })
}

/** `namespace/name` of a raw object. */
export function keyOf(object: RawObject): string {
  const { namespace, name } = identityOf(object)
  return `${namespace}/${name ?? ''}`
}
