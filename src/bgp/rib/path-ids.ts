// Path ids as they go out on one session (RFC 7911). The planner's ids are a function of the next hop, so they are sent as
// they are. Should two next hops ever claim one id in the life of a session, the later one gets another, free id here: a
// router that saw an id move to another node would move that node's flows.

import type { Ip } from '../../net/ip.ts'

export interface PathIds {
  /** The id to send; equal arguments give equal ids for as long as the session lives. */
  readonly wireId: (pathId: number, nextHop: Ip) => number
  readonly claims: PathIdClaims
  /** Whether ids have no other meaning here than there. */
  readonly agrees: (claims: PathIdClaims) => boolean
  /** Keeps the promises of a session that agrees, too. */
  readonly adopt: (claims: PathIdClaims) => void
}

/** What has been given out. */
export interface PathIdClaims {
  /** The next hop that goes by an id, or for an id given out here the claim it replaces, which is no address. */
  readonly owners: ReadonlyMap<number, string>
  readonly replacements: ReadonlyMap<string, number>
}

const pathIdMax = 0xffff_ffff

/** Creates the ids of one family of one session; they go on from `claims`. Grows with the next hops seen in the session. */
export function createPathIds(claims?: PathIdClaims): PathIds {
  const owners = new Map<number, string>(claims?.owners)
  const replacements = new Map<string, number>(claims?.replacements)
  const replacementOf = (pathId: number, nextHop: Ip): number => {
    const claim = `${pathId} ${nextHop}`
    const known = replacements.get(claim)
    if (known !== undefined) return known
    let free = pathId
    while (owners.has(free)) free = (free % pathIdMax) + 1
    owners.set(free, claim)
    replacements.set(claim, free)
    return free
  }
  return {
    wireId: (pathId, nextHop) => {
      const owner = owners.get(pathId)
      if (owner === nextHop) return pathId
      if (owner !== undefined) return replacementOf(pathId, nextHop)
      owners.set(pathId, nextHop)
      return pathId
    },
    claims: { owners, replacements },
    agrees: (claims) => isCompatible(owners, claims.owners) && isCompatible(replacements, claims.replacements),
    adopt: (claims) => {
      for (const [id, owner] of claims.owners) owners.set(id, owner)
      for (const [claim, id] of claims.replacements) replacements.set(claim, id)
    },
  }
}

function isCompatible<K, V>(ours: ReadonlyMap<K, V>, theirs: ReadonlyMap<K, V>): boolean {
  for (const [key, value] of theirs) if ((ours.get(key) ?? value) !== value) return false
  return true
}
