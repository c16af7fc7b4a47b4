// Which versions of an object are our own doing. The steps of one Service follow each other: the second was decided upon the version that
// the first has replaced. The versions that our own writes led through count as the one they ended at; a write of anybody else breaks
// the chain, and the step with it.

export interface OwnVersions {
  /** Our write led the object from one version to another. */
  readonly note: (uid: string, from: string, to: string) => void
  /** The version that what was decided upon has become by our own writes: itself, where there were none. */
  readonly latest: (decided: { readonly uid: string; readonly resourceVersion: string }) => string
}

/** Objects remembered; the one that was written least recently goes first. */
const objectsMax = 10_000
/** Writes remembered of one object: the steps of one work are fewer. */
const writesMax = 9

export function createOwnVersions(): OwnVersions {
  const chains = new Map<string, { readonly passed: readonly string[]; readonly latest: string }>()
  return {
    note: (uid, from, to) => {
      const chain = chains.get(uid)
      chains.delete(uid)
      chains.set(uid, {
        passed: chain?.latest === from ? [...chain.passed.slice(1 - writesMax), from] : [from],
        latest: to,
      })
      for (const oldest of chains.keys()) {
        if (chains.size <= objectsMax) break
        chains.delete(oldest)
      }
    },
    latest: ({ uid, resourceVersion }) => {
      const chain = chains.get(uid)
      return chain?.passed.includes(resourceVersion) ? chain.latest : resourceVersion
    },
  }
}
