// metav1.Condition as written: the transition time moves only when the status does, so that it tells since when.

import type { Condition } from './objects.ts'
import { renderTime } from './times.ts'

/** A condition as it stands in an object: with its time. */
export type StampedCondition = Condition & { readonly lastTransitionTime: string }

/** `wanted` with the transition times of `observed` where type and status are the same, else with now. */
export function stampConditions(
  wanted: readonly Condition[],
  observed: readonly Condition[],
  nowWallMs: number,
): readonly StampedCondition[] {
  return wanted.map((condition) => {
    const before = observed.find(({ type }) => type === condition.type)
    const since = before?.status === condition.status ? before.lastTransitionTime : undefined
    return { ...condition, lastTransitionTime: since ?? renderTime(nowWallMs) }
  })
}
