// Texts of statuses: within the lengths that the schemas allow, and stable, so that an unchanged fact is an unchanged text.

import type { Condition } from '../k8s/objects.ts'

/** A condition whose transition time is for the writer to know. */
export type UnstampedCondition = Omit<Condition, 'lastTransitionTime'>

/** `text` in at most `max` characters. */
export const clip = (text: string, max: number): string => (text.length <= max ? text : `${text.slice(0, max - 3)}...`)

/** `a,b,c` or `a,b,c +7`. */
export function shortList(names: readonly string[], shown: number, max: number): string {
  const rest = names.length - shown
  return clip(names.slice(0, shown).join(',') + (rest > 0 ? ` +${rest}` : ''), max)
}

/** After what is wrong with an object that goes on as it was: see last-good.ts. */
export const keptWords =
  'what it said before counts until this is mended, for as long as the processes run that know it: one that starts now does not'
