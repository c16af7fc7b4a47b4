// The view as it was last heard of nodes that fell silent all at once: their Nodes are ready, and endpoints on them that were called
// unready since are as they were. An endpoint of a silent node is called so by the node controller, of which nobody told it either.

import type { ClusterChanges, ClusterView, Endpoint, EndpointSlice, NamespacedName } from '../k8s/objects.ts'
import { nobodySilent, type Silence } from './silence.ts'

export interface LastHeard {
  /** The view that counts, and what is another in it than in the one before; undefined = everything. */
  readonly see: (
    view: ClusterView,
    changes: ClusterChanges | undefined,
    silence?: Silence,
  ) => { readonly view: ClusterView; readonly changes: ClusterChanges | undefined }
}

type Slices = readonly EndpointSlice[]

/** Remembers what it was shown. */
export function createLastHeard(): LastHeard {
  /** By Service, as they were shown last. */
  const shown = new Map<NamespacedName, Slices>()
  /** By Service, endpoints of silent nodes that counted when their node was heard last. */
  const counted = new Map<NamespacedName, ReadonlyMap<string, Endpoint>>()
  let before = nobodySilent

  const learn = (service: NamespacedName, now: Slices | undefined, { silent, together }: Silence): void => {
    const known = new Map<string, Endpoint>()
    if (silent.size + together.size > 0) {
      const earlier = new Map(endpointsIn(shown.get(service)).map((endpoint) => [identity(endpoint), endpoint]))
      for (const endpoint of endpointsIn(now)) {
        const { nodeName = '' } = endpoint
        if (!isCalledUnready(endpoint) || !(silent.has(nodeName) || together.has(nodeName))) continue
        const key = identity(endpoint)
        const last = earlier.get(key)
        const was = counted.get(service)?.get(key) ?? (last !== undefined && !isCalledUnready(last) ? last : undefined)
        if (was !== undefined) known.set(key, was)
      }
    }
    if (known.size > 0) counted.set(service, known)
    else counted.delete(service)
    if (now === undefined) shown.delete(service)
    else shown.set(service, now)
  }

  return {
    see: (view, changes, silence = nobodySilent) => {
      const named = changes?.get('EndpointSlice') ?? new Set([...shown.keys(), ...view.endpointSlices.keys()])
      for (const service of named as ReadonlySet<NamespacedName>)
        learn(service, view.endpointSlices.get(service), silence)
      const otherwise = differing(before.together, silence.together)
      const services = new Set<string>(named)
      if (otherwise.size > 0 || differing(before.silent, silence.silent).size > 0)
        for (const service of [...counted.keys()]) {
          services.add(service)
          learn(service, view.endpointSlices.get(service), silence)
        }
      before = silence
      const { together } = silence
      const widened =
        changes === undefined || otherwise.size === 0
          ? changes
          : new Map([
              ...changes,
              ['Node', new Set([...(changes.get('Node') ?? []), ...otherwise])] as const,
              ['EndpointSlice', services] as const,
            ])
      if (together.size === 0) return { view, changes: widened }
      return { view: { ...view, ...standIns(view, together, counted) }, changes: widened }
    },
  }
}

function standIns(
  { nodes, endpointSlices }: ClusterView,
  together: ReadonlySet<string>,
  counted: ReadonlyMap<NamespacedName, ReadonlyMap<string, Endpoint>>,
): Pick<ClusterView, 'nodes' | 'endpointSlices'> {
  const heard = new Map(nodes)
  for (const name of together) {
    const node = nodes.get(name)
    if (node?.silentSinceMs !== undefined) heard.set(name, { ...node, ready: true })
  }
  const slices = new Map(endpointSlices)
  for (const [service, known] of counted) {
    const now = endpointSlices.get(service)
    if (now !== undefined)
      slices.set(
        service,
        now.map((slice) => asHeard(slice, known, together)),
      )
  }
  return { nodes: heard, endpointSlices: slices }
}

function asHeard(
  slice: EndpointSlice,
  known: ReadonlyMap<string, Endpoint>,
  together: ReadonlySet<string>,
): EndpointSlice {
  const endpoints = slice.endpoints.map((endpoint) => {
    const was = together.has(endpoint.nodeName ?? '') ? known.get(identity(endpoint)) : undefined
    return was === undefined || !isCalledUnready(endpoint) ? endpoint : was
  })
  return { ...slice, endpoints }
}

const endpointsIn = (slices: Slices = []): readonly Endpoint[] => slices.flatMap(({ endpoints }) => endpoints)
const identity = ({ nodeName, address }: Endpoint): string => `${nodeName ?? ''} ${address}`
// One that terminates was told to by somebody who was heard.
const isCalledUnready = ({ ready, serving, terminating }: Endpoint): boolean => !ready && !serving && !terminating

const differing = (a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> =>
  a === b ? nobodySilent.silent : new Set([...a, ...b].filter((name) => a.has(name) !== b.has(name)))
