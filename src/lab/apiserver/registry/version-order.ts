// Which version of a group is preferred: GA before beta before alpha, then the higher number, as Kubernetes orders versions.

/** Sorts the most preferred version first. */
export function compareVersions(a: string, b: string): number {
  const left = rank(a)
  const right = rank(b)
  for (const [i, value] of left.entries()) {
    const difference = (right[i] ?? 0) - value
    if (difference !== 0) return difference
  }
  return a < b ? -1 : a > b ? 1 : 0
}

const stability: Readonly<Record<string, number>> = { alpha: 1, beta: 2 }

function rank(version: string): readonly number[] {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version)
  if (match === null) return [0, 0, 0]
  const [, major = '0', stage, minor = '0'] = match
  return [stage === undefined ? 3 : (stability[stage] ?? 0), Number(major), Number(minor)]
}
