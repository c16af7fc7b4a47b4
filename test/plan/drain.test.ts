// How far drains have come, as seen through one history of Nodes and clocks. Times in seconds here.

import { describe, expect, test } from 'vitest'
import {
  type DrainsNow,
  type DrainsSeen,
  drainAnnotation,
  drainsAt,
  isDrained,
  noDrainsSeen,
  seeDrains,
} from '../../src/plan/drain.ts'
import { node } from '../vip/cluster.ts'

test.each<[string | undefined, boolean]>([
  [undefined, false],
  ['', false],
  [' False ', false],
  ['no', false],
  ['0', false],
  ['true', true],
  ['maintenance, see ticket 42', true],
  ['2026-01-01T00:00:00Z', true],
])('the annotation %j drains: %s', (value, drained) => {
  expect(isDrained(value)).toBe(drained)
})

const startOfDayMs = Date.parse('2026-01-01T00:00:00Z')
const at = (seconds: number) => ({ wallMs: startOfDayMs + 1000 * seconds, monotonicMs: 1000 * seconds })
const see = (before: DrainsSeen, seconds: number, annotations: Readonly<Record<string, string | undefined>>) => {
  const nodes = Object.entries(annotations).map(([name, value]) =>
    node(name, [], { meta: { annotations: value === undefined ? {} : { [drainAnnotation]: value } } }),
  )
  return seeDrains(before, new Map(nodes.map((of) => [of.meta.name, of])), at(seconds))
}
const phasesAt = (seen: DrainsSeen, seconds: number, graceSeconds = 30): string => {
  const { phases, nextMs }: DrainsNow = drainsAt(seen, at(seconds), 1000 * graceSeconds)
  const words = [...phases].map(([name, phase]) => `${name} ${phase}`)
  return [...words, ...(nextMs === undefined ? [] : [`next in ${nextMs / 1000}`])].join(', ')
}

describe('an annotation that says no time', () => {
  const plain = see(noDrainsSeen, 0, { n1: undefined, n2: undefined })
  const annotated = see(plain, 100, { n1: 'true', n2: undefined })

  test.each<[number, string]>([
    [100, 'n1 leaving, next in 30'],
    [120, 'n1 leaving, next in 10'],
    [130, 'n1 left'],
    [999, 'n1 left'],
  ])('begins the drain when it is first seen: %i s', (seconds, expected) => {
    expect(phasesAt(annotated, seconds)).toBe(expected)
  })

  test('leaves no time where the grace time is none', () => {
    expect(phasesAt(annotated, 100, 0)).toBe('n1 left')
  })

  test('is the same drain while it stands, in whatever words', () => {
    expect(phasesAt(see(annotated, 125, { n1: 'yes', n2: undefined }), 125)).toBe('n1 leaving, next in 5')
  })

  test('taken back and set again is a new one', () => {
    const back = see(annotated, 110, { n1: undefined, n2: undefined })
    expect(phasesAt(back, 110)).toBe('')
    expect(phasesAt(see(back, 200, { n1: 'true', n2: undefined }), 200)).toBe('n1 leaving, next in 30')
  })

  test('on a Node that comes with it is long past: nobody brings its paths back', () => {
    expect(phasesAt(see(noDrainsSeen, 0, { n1: 'true' }), 0)).toBe('n1 left')
    expect(phasesAt(see(annotated, 110, { n1: 'true', n3: 'true' }), 110)).toBe('n1 leaving, n3 left, next in 20')
  })

  test('that somebody else saw begin goes on where it was, and is over where it is', () => {
    const begun = new Map([['n1', startOfDayMs + 90_000]])
    const nodes = new Map(
      ['n1', 'n2'].map((name) => [name, node(name, [], { meta: { annotations: { [drainAnnotation]: 'true' } } })]),
    )
    const seenAt = (seconds: number): string => {
      const now = { wallMs: startOfDayMs + seconds * 1000, monotonicMs: 7 }
      return [...drainsAt(seeDrains(noDrainsSeen, nodes, now, begun), now, 30_000).phases.values()].join()
    }
    expect([seenAt(100), seenAt(119), seenAt(120), seenAt(9999)]).toEqual([
      'leaving,left',
      'leaving,left',
      'left,left',
      'left,left',
    ])
  })

  test('that somebody else saw begin takes as long as it takes, wherever the clock is set to meanwhile, or was', () => {
    const nodes = new Map([['n1', node('n1', [], { meta: { annotations: { [drainAnnotation]: 'true' } } })]])
    const hourMs = 3_600_000
    const phaseOf = (begunMs: number, laterSeconds: number, clockSetByMs: number): string | undefined => {
      const seen = seeDrains(noDrainsSeen, nodes, at(100), new Map([['n1', startOfDayMs + begunMs]]))
      const { wallMs, monotonicMs } = at(100 + laterSeconds)
      return drainsAt(seen, { wallMs: wallMs + clockSetByMs, monotonicMs }, 30_000).phases.get('n1')
    }
    for (const setMs of [-hourMs, 0, hourMs]) {
      expect([5, 19, 20, 7200].map((seconds) => phaseOf(90_000, seconds, setMs))).toEqual([
        'leaving',
        'leaving',
        'left',
        'left',
      ])
    }
    // Whoever told of it has a clock that goes an hour ahead: it has begun all the same.
    expect([5, 30].map((seconds) => phaseOf(90_000 + hourMs, seconds, 0))).toEqual(['leaving', 'left'])
  })

  test('of several nodes counts for each, and the next change is the first of them', () => {
    const both = see(annotated, 110, { n1: 'true', n2: 'true' })
    expect(phasesAt(both, 111)).toBe('n1 leaving, n2 leaving, next in 19')
    expect(phasesAt(both, 131)).toBe('n1 left, n2 leaving, next in 9')
  })
})

describe('an annotation that says a time', () => {
  const scheduled = see(noDrainsSeen, 0, { n1: '2026-01-01T01:00:00+00:30' })

  test.each<[number, string]>([
    [0, 'n1 staying, next in 1800'],
    [1800, 'n1 leaving, next in 30'],
    [1829, 'n1 leaving, next in 1'],
    [1830, 'n1 left'],
  ])('begins the drain then, whenever it is seen: %i s', (seconds, expected) => {
    expect(phasesAt(scheduled, seconds)).toBe(expected)
  })

  test('goes by the wall clock, wherever it is set to', () => {
    const now = { wallMs: startOfDayMs + 1_810_000, monotonicMs: 5 }
    expect(drainsAt(scheduled, now, 30_000)).toMatchObject({ phases: new Map([['n1', 'leaving']]), nextMs: 20_000 })
  })

  test('that is replaced by a word begins now, or has begun', () => {
    expect(phasesAt(see(scheduled, 100, { n1: 'now' }), 100)).toBe('n1 leaving, next in 30')
    expect(phasesAt(see(scheduled, 1900, { n1: 'now' }), 1900)).toBe('n1 left')
  })

  test.each(['2026-01-01', 'tomorrow', '2026-13-01T00:00:00Z'])('%s is none, and drains like any word', (value) => {
    const plain = see(noDrainsSeen, 0, { n1: undefined })
    expect(phasesAt(see(plain, 5, { n1: value }), 5)).toBe('n1 leaving, next in 30')
  })
})
