// Label selectors. The others take lists of which one must match; Bellhop's fields take one selector. Where a list says no more than
// "this label has one of these values" it is one selector; where it says more it can not be written, and the caller has to say so.

import type { RawObject } from '../k8s/json.ts'
import type { LabelSelector } from '../k8s/objects.ts'

/** As in a manifest: without the parts that are empty. */
export function renderSelector({ matchLabels, matchExpressions }: LabelSelector): RawObject {
  return {
    ...(Object.keys(matchLabels).length > 0 ? { matchLabels } : {}),
    ...(matchExpressions.length > 0
      ? {
          matchExpressions: matchExpressions.map(({ key, operator, values }) => ({
            key,
            operator,
            ...(values.length > 0 ? { values } : {}),
          })),
        }
      : {}),
  }
}

/** For people. */
export function describeSelector({ matchLabels, matchExpressions }: LabelSelector): string {
  const parts = [
    ...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`),
    ...matchExpressions.map(({ key, operator, values }) =>
      values.length > 0 ? `${key} ${operator} (${values.join(', ')})` : `${key} ${operator}`,
    ),
  ]
  return parts.length === 0 ? 'everything' : parts.join(' and ')
}

export const isEverything = ({ matchLabels, matchExpressions }: LabelSelector): boolean =>
  Object.keys(matchLabels).length === 0 && matchExpressions.length === 0

export const sameSelector = (a: LabelSelector, b: LabelSelector): boolean => describeSelector(a) === describeSelector(b)

/** `all`: no restriction. `one`: a selector that says the same as the list. `several`: there is none. */
export type United =
  | { readonly type: 'all' }
  | { readonly type: 'one'; readonly selector: LabelSelector }
  | { readonly type: 'several' }

/** One selector for a list of which any may match; an empty list restricts nothing. */
export function unite(selectors: readonly LabelSelector[]): United {
  if (selectors.length === 0 || selectors.some(isEverything)) return { type: 'all' }
  const distinct = selectors.filter(
    (selector, i) => selectors.findIndex((other) => sameSelector(other, selector)) === i,
  )
  const [first] = distinct
  if (first !== undefined && distinct.length === 1) return { type: 'one', selector: first }
  const choices = distinct.map(singleChoice)
  const key = choices[0]?.key
  if (key === undefined || choices.some((choice) => choice?.key !== key)) return { type: 'several' }
  const values = [...new Set(choices.flatMap((choice) => choice?.values ?? []))]
  return { type: 'one', selector: { matchLabels: {}, matchExpressions: [{ key, operator: 'In', values }] } }
}

/** "This label has one of these values", where that is all that the selector says. */
function singleChoice({
  matchLabels,
  matchExpressions,
}: LabelSelector): { readonly key: string; readonly values: readonly string[] } | undefined {
  const labels = Object.entries(matchLabels)
  const [label] = labels
  const [expression] = matchExpressions
  if (label !== undefined && labels.length === 1 && expression === undefined)
    return { key: label[0], values: [label[1]] }
  if (labels.length > 0 || matchExpressions.length !== 1 || expression?.operator !== 'In') return undefined
  return { key: expression.key, values: expression.values }
}

/** Both must match; undefined restricts nothing. */
export function both(a: LabelSelector | undefined, b: LabelSelector | undefined): LabelSelector | undefined {
  if (a === undefined || b === undefined || sameSelector(a, b)) return a ?? b
  const clash = Object.entries(b.matchLabels).filter(
    ([key, value]) => a.matchLabels[key] !== undefined && a.matchLabels[key] !== value,
  )
  return {
    matchLabels: { ...b.matchLabels, ...a.matchLabels },
    matchExpressions: [
      ...a.matchExpressions,
      ...b.matchExpressions,
      ...clash.map(([key, value]) => ({ key, operator: 'In' as const, values: [value] })),
    ],
  }
}
