// Which next hops of a route a peer gets when it can not have them all: one where ADD-PATH is missing, at most so many where
// the peer set a limit. Rendezvous hashing (highest random weight): every replica picks the same ones without talking, the
// VIPs spread evenly over the nodes, and a node that comes or goes moves only the VIPs it wins or held. One that leaves comes
// after all that stay.

import type { Prefix } from '../../net/prefix.ts'
import type { Path } from './route.ts'

/**
 * At most `limit` (>= 1) of `paths`, in their order. The subset depends on nothing but seed, prefix, path ids and who leaves;
 * with one path less, it loses that path and gains at most one.
 */
export function selectPaths(paths: readonly Path[], limit: number, seed: string, prefix: Prefix): readonly Path[] {
  if (paths.length <= limit) return paths
  const staying = paths.filter(({ leaving }) => leaving === undefined)
  if (staying.length > 0 && staying.length < paths.length) return preferStaying(paths, staying, limit, seed, prefix)
  const key = hashText(prefix, hashText(seed, 0))
  if (limit === 1) return [highest(paths, key)]
  return paths
    .map((path) => ({ path, score: score(key, path.pathId) }))
    .sort((a, b) => b.score - a.score || a.path.pathId - b.path.pathId)
    .slice(0, limit)
    .map(({ path }) => path)
    .sort((a, b) => a.pathId - b.pathId)
}

function preferStaying(
  paths: readonly Path[],
  staying: readonly Path[],
  limit: number,
  seed: string,
  prefix: Prefix,
): readonly Path[] {
  if (staying.length >= limit) return selectPaths(staying, limit, seed, prefix)
  const leaving = paths.filter((path) => path.leaving !== undefined)
  const chosen = new Set([...staying, ...selectPaths(leaving, limit - staying.length, seed, prefix)])
  return paths.filter((path) => chosen.has(path))
}

function highest(paths: readonly Path[], key: number): Path {
  let best: Path | undefined
  let bestScore = -1
  for (const path of paths) {
    const candidate = score(key, path.pathId)
    if (candidate > bestScore) {
      best = path
      bestScore = candidate
    }
  }
  if (best === undefined) throw new Error('a route without paths')
  return best
}

const score = (key: number, pathId: number): number => mix(key ^ mix(pathId + 0x9e37_79b9))

/** FNV-1a over the characters, then mixed: neighbouring addresses must not be neighbours here. */
function hashText(text: string, start: number): number {
  let hash = (0x811c_9dc5 ^ start) >>> 0
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193)
  return mix(hash)
}

/** A bijection of 32 bits in which every input bit moves every output bit (the finaliser of MurmurHash3). */
function mix(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35)
  return (h ^ (h >>> 16)) >>> 0
}
