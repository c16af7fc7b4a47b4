// Comparing resourceVersions. Kubernetes has long called them opaque and by now guarantees that those of one resource compare as
// integers; where a server breaks that, we do not guess.

/**
 * Negative when `a` is older, positive when it is newer, 0 when equal, undefined when they do not compare.
 * By length and then by text: they may exceed what a number holds.
 */
export function compareVersions(a: string, b: string): number | undefined {
  if (a === b) return 0
  if (!/^[1-9]\d*$/.test(a) || !/^[1-9]\d*$/.test(b)) return undefined
  if (a.length !== b.length) return a.length - b.length
  return a < b ? -1 : 1
}

/** Surely newer: false also where the two do not compare. */
export const isNewer = (a: string, b: string): boolean => (compareVersions(a, b) ?? 0) > 0
