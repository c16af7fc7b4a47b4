// What one session has announced and not withdrawn, as a router would hold it (RFC 4271 section 3.2, RFC 7911), and what a
// strict reader finds wrong with it. Kept apart from the session so that it can be judged message by message.

import {
  type AfiSafi,
  afiSafiOf,
  type Nlri,
  type PathAttributes,
  type UpdateMessage,
} from '../../bgp/packet/message.ts'
import type { Ip } from '../../net/ip.ts'
import type { Prefix } from '../../net/prefix.ts'

/** A path as it was last announced. */
export interface HeldPath {
  readonly nextHop: Ip
  /** Present where ADD-PATH was negotiated. */
  readonly pathId?: number
  /** Without NEXT_HOP, MP_REACH_NLRI and MP_UNREACH_NLRI: these are told by the other fields. */
  readonly attributes: PathAttributes
}

export interface AdjRibIn {
  /** Takes an UPDATE in. Returns what a strict reader complains about; all of it is legal BGP. */
  readonly apply: (update: UpdateMessage) => readonly string[]
  /** The paths of a prefix, by path id. */
  readonly paths: (prefix: Prefix) => readonly HeldPath[]
  /** Prefixes with at least one path, sorted as text. */
  readonly prefixes: () => readonly Prefix[]
  readonly pathCount: () => number
  /** RFC 7313 section 4.1, BoRR: what is held of this family is stale until it is announced again. */
  readonly beginRefresh: (family: AfiSafi) => void
  /** EoRR: forgets what is still stale and complains about it, because nothing should have been. */
  readonly endRefresh: (family: AfiSafi) => readonly string[]
}

interface Entry {
  readonly path: HeldPath
  readonly stale: boolean
}

const withoutPathId = -1
const idOf = ({ pathId }: Nlri): number => pathId ?? withoutPathId
const render = (prefix: Prefix, id: number): string => (id === withoutPathId ? prefix : `${prefix} path ${id}`)

const isOfFamily = (prefix: Prefix, { afi }: AfiSafi): boolean =>
  (prefix.includes(':') ? afiSafiOf['ipv6-unicast'].afi : afiSafiOf['ipv4-unicast'].afi) === afi

/** The table of one session, empty. */
export function createAdjRibIn(): AdjRibIn {
  const held = new Map<Prefix, Map<number, Entry>>()
  /** Every next hop that a path id ever stood for: within a session it must not change its meaning. */
  const meanings = new Map<string, Ip>()

  const withdraw = (nlri: Nlri): void => {
    const paths = held.get(nlri.prefix)
    paths?.delete(idOf(nlri))
    if (paths?.size === 0) held.delete(nlri.prefix)
  }

  const announce = (nlri: Nlri, nextHop: Ip, attributes: PathAttributes): readonly string[] => {
    const id = idOf(nlri)
    const paths = held.get(nlri.prefix) ?? new Map<number, Entry>()
    held.set(nlri.prefix, paths)
    const complaints = [...paths]
      .filter(([other, { path }]) => other !== id && path.nextHop === nextHop)
      .map(([other]) => `${render(nlri.prefix, id)} has the next hop ${nextHop} of path ${other}`)
    const path: HeldPath = { nextHop, ...(nlri.pathId === undefined ? {} : { pathId: nlri.pathId }), attributes }
    paths.set(id, { path, stale: false })
    if (nlri.pathId === undefined) return complaints
    const key = render(nlri.prefix, id)
    const meant = meanings.get(key) ?? nextHop
    meanings.set(key, nextHop)
    return meant === nextHop ? complaints : [...complaints, `${key} was ${meant} and is now ${nextHop}`]
  }

  return {
    apply: ({ withdrawn, attributes, nlri }) => {
      const { nextHop, mpReach, mpUnreach, ...shared } = attributes
      for (const entry of [...withdrawn, ...(mpUnreach?.withdrawn ?? [])]) withdraw(entry)
      const [mpNextHop] = mpReach?.nextHops ?? []
      return [
        ...(nextHop === undefined ? [] : nlri.flatMap((entry) => announce(entry, nextHop, shared))),
        ...(mpNextHop === undefined
          ? []
          : (mpReach?.nlri ?? []).flatMap((entry) => announce(entry, mpNextHop, shared))),
      ]
    },
    paths: (prefix) => [...(held.get(prefix) ?? [])].sort(([a], [b]) => a - b).map(([, { path }]) => path),
    prefixes: () => [...held.keys()].sort(),
    pathCount: () => [...held.values()].reduce((sum, paths) => sum + paths.size, 0),
    beginRefresh: (family) => {
      for (const [prefix, paths] of held)
        if (isOfFamily(prefix, family)) for (const [id, { path }] of paths) paths.set(id, { path, stale: true })
    },
    endRefresh: (family) => {
      const complaints: string[] = []
      for (const [prefix, paths] of held) {
        if (!isOfFamily(prefix, family)) continue
        for (const [id, { stale }] of paths) {
          if (!stale) continue
          withdraw({ prefix, ...(id === withoutPathId ? {} : { pathId: id }) })
          complaints.push(`${render(prefix, id)} was not sent again in a route refresh`)
        }
      }
      return complaints
    },
  }
}
