// metav1.LabelSelector and durations: the small grammars that several kinds use.

import { err, ok, type Result } from '../../runtime/result.ts'
import type { LabelSelector } from '../objects.ts'
import type { Fields } from './fields.ts'

const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const

/** Matches everything. */
export const everything: LabelSelector = Object.freeze({ matchLabels: {}, matchExpressions: [] })

/** Reads the selector at `key`; undefined when absent (which is not the same as empty). */
export function selectorAt(fields: Fields, key: string): LabelSelector | undefined {
  const selector = fields.object(key)
  if (selector === undefined) return undefined
  const matchLabels = selector.textMap('matchLabels')
  const matchExpressions = selector.objects('matchExpressions').map((expression) => {
    const name = expression.text('key')
    const operator = expression.oneOf('operator', operators, 'Exists')
    const values = expression.texts('values')
    if (name === undefined || name === '') expression.refuse('a label key is needed', 'key')
    if (expression.raw('operator') === undefined)
      expression.refuse(`is needed: one of ${operators.join(', ')}`, 'operator')
    if ((operator === 'In' || operator === 'NotIn') && values.length === 0)
      expression.refuse(`${operator} needs at least one value`, 'values')
    if ((operator === 'Exists' || operator === 'DoesNotExist') && values.length > 0)
      expression.refuse(`${operator} takes no values`, 'values')
    return { key: name ?? '', operator, values }
  })
  return { matchLabels, matchExpressions }
}

export interface DurationError {
  readonly code: 'duration/malformed'
  readonly got: string
}

const unitSeconds: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 }

/** Seconds of `30s`, `5m`, `1h30m`, `500ms` or `0`: Go's notation, as everywhere in Kubernetes. */
export function parseDurationSeconds(text: string): Result<number, DurationError> {
  if (text === '0') return ok(0)
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/.test(text)) return err({ code: 'duration/malformed', got: text })
  let seconds = 0
  for (const [, amount = '0', unit = 's'] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g))
    seconds += Number(amount) * (unitSeconds[unit] ?? 0)
  return ok(seconds)
}

/** The duration at `key` in seconds. */
export function durationAt(fields: Fields, key: string, fallbackSeconds: number): number {
  const text = fields.text(key)
  if (text === undefined) return fallbackSeconds
  const duration = parseDurationSeconds(text)
  if (duration.ok) return duration.value
  fields.refuse(`"${text}" is no duration: write it like 30s, 5m or 1h30m`, key)
  return fallbackSeconds
}
