// Path ids as they go out on one session (RFC 7911). The planner's ids are a function of the next hop, so they are sent as
// they are. Should two next hops ever claim one id in the life of a session, the later one gets another, free id here: a
// router that saw an id move to another node would move that node's flows.

import type { Ip } from '../../net/ip.ts'

export interface PathIds {
  /** The id to send; equal arguments give equal ids for as long as the session lives. */
  readonly wireId: (pathId: number, nextHop: Ip) => number
}

const pathIdMax = 0xffff_ffff

/** Creates the ids of one family of one session. Grows with the next hops seen in the session. */
export function createPathIds(): PathIds {
  // The next hop that goes by an id, or for an id given out here the claim it replaces, which is no address.
  const owners = new Map<number, string>()
  const replacements = new Map<string, number>()
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
  }
}
