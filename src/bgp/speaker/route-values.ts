// Equal attributes, paths and sets of paths as one object each, whatever command they came with. A speaker that is told of its
// routes one by one, day after day, holds what one holds that was told all of them at once, and what is known of a set of paths
// is found by its identity. What is remembered is bounded; beyond that equal values are two objects, and nothing else changes.

import type { Path, Route, RouteAttributes } from '../rib/route.ts'

export interface RouteValues {
  readonly attributes: (of: RouteAttributes) => RouteAttributes
  readonly path: (of: Path) => Path
  /** `members` have to come from `path`. */
  readonly paths: (members: readonly Path[]) => readonly Path[]
  /** The route with all that it is made of replaced. */
  readonly route: (of: Route) => Route
}

export interface RouteValuesLimits {
  /** Of each kind. */
  readonly valuesMax: number
}

const defaultLimits: RouteValuesLimits = { valuesMax: 16_384 }

export function createRouteValues({ valuesMax } = defaultLimits): RouteValues {
  const attributesByText = new Map<string, RouteAttributes>()
  // By path id, which is a function of the next hop: rarely stands one for two paths.
  const pathsById = new Map<number, readonly Path[]>()
  // By hash: of sets that share one, the last is remembered.
  const setsByHash = new Map<number, readonly Path[]>()

  const remember = <K, V>(values: Map<K, V>, key: K, value: V): V => {
    if (values.size >= valuesMax) values.clear()
    values.set(key, value)
    return value
  }

  const attributes: RouteValues['attributes'] = (of) => {
    const text = textOf(of)
    return attributesByText.get(text) ?? remember(attributesByText, text, of)
  }

  const path: RouteValues['path'] = (of) => {
    const known = pathsById.get(of.pathId)
    const same = known?.find((other) => isSamePath(other, of))
    if (same !== undefined) return same
    remember(pathsById, of.pathId, known === undefined || known.length >= perIdMax ? [of] : [...known, of])
    return of
  }

  const paths: RouteValues['paths'] = (members) => {
    const hash = hashOf(members)
    const known = setsByHash.get(hash)
    if (known?.length === members.length && known.every((member, i) => member === members[i])) return known
    return remember(setsByHash, hash, members)
  }

  return {
    attributes,
    path,
    paths,
    route: (of) => ({ prefix: of.prefix, attributes: attributes(of.attributes), paths: paths(of.paths.map(path)) }),
  }
}

/** Link bandwidths change, and one next hop may have had many. */
const perIdMax = 8

/** Of the path ids. A small integer, which is a cheap key. */
function hashOf(members: readonly Path[]): number {
  let hash = members.length
  for (const { pathId } of members) hash = Math.imul(hash ^ pathId, 0x9e37_79b1) ^ (hash >>> 15)
  return hash & 0x3fff_ffff
}

export const isSamePath = (a: Path, b: Path): boolean =>
  a.pathId === b.pathId && a.nextHop === b.nextHop && a.linkBandwidth === b.linkBandwidth && a.leaving === b.leaving

/** Equal for equal attributes. */
export const textOf = ({ origin, med, localPref, prepend, communities, largeCommunities }: RouteAttributes): string =>
  JSON.stringify([origin, med, localPref, prepend, communities, largeCommunities])
