// What a peer with graceful restart may still hold of us while there is no session: everything the last one was told, and what
// it was told to withdraw so recently that the withdrawal may have been lost with the connection. All of it is announced again
// or withdrawn before End-of-RIB, because some routers keep what is only missing (FRR before 9.0, with ADD-PATH).

import type { Prefix } from '../../net/prefix.ts'
import type { Path, Route } from '../rib/route.ts'

export interface Remembered {
  /** A route was replaced or withdrawn in a running session. */
  readonly replaced: (route: Route, nowMs: number) => void
  /** The session is gone: `sent` is what it was told last. */
  readonly keep: (sent: Iterable<Route>, nowMs: number) => void
  /** What the peer may hold, one route a prefix; forgotten here once it is taken. */
  readonly take: () => readonly Route[]
}

interface Entry {
  readonly route: Route
  readonly atMs: number
}

/** `lossMs`: how long a connection can be dead before its hold timer says so, i.e. how old a lost withdrawal can be. */
export function createRemembered(lossMs: number): Remembered {
  // In order of time: what is old is at the front.
  const recent = new Map<Prefix, Entry>()
  const kept = new Map<Prefix, Route>()

  const forgetOld = (nowMs: number): void => {
    for (const [prefix, { atMs }] of recent) {
      if (nowMs - atMs <= lossMs) return
      recent.delete(prefix)
    }
  }
  const keepRoute = (route: Route): void => {
    const known = kept.get(route.prefix)
    kept.set(route.prefix, known === undefined ? route : { ...known, paths: unite(known.paths, route.paths) })
  }

  return {
    replaced: (route, nowMs) => {
      forgetOld(nowMs)
      const earlier = recent.get(route.prefix)
      recent.delete(route.prefix)
      const paths = earlier === undefined ? route.paths : unite(route.paths, earlier.route.paths)
      recent.set(route.prefix, { route: { ...route, paths }, atMs: nowMs })
    },
    keep: (sent, nowMs) => {
      forgetOld(nowMs)
      for (const route of sent) keepRoute(route)
      for (const { route } of recent.values()) keepRoute(route)
      recent.clear()
    },
    take: () => {
      const routes = [...kept.values()]
      kept.clear()
      return routes
    },
  }
}

/** Both lists as one, sorted by path id; of two with one id that of `first`. */
function unite(first: readonly Path[], second: readonly Path[]): readonly Path[] {
  const byId = new Map([...second, ...first].map((path) => [path.pathId, path]))
  return [...byId.values()].toSorted((a, b) => a.pathId - b.pathId)
}
