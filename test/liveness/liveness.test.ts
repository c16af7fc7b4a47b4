// Which nodes live, as a table of what their agents' sessions went through, and as laws over any history.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  distrusted,
  type Liveness,
  type LivenessEvent,
  noLiveness,
  opinions,
  transitionLiveness,
} from '../../src/liveness/liveness.ts'
import { livenessEventOf, type SessionChange } from '../../src/liveness/session-change.ts'

const detectionMs = 900

const following = (...events: readonly LivenessEvent[]): Liveness =>
  events.reduce((state, event) => transitionLiveness(state, event, detectionMs), noLiveness)

const said = (...events: readonly LivenessEvent[]): Readonly<Record<string, string>> =>
  Object.fromEntries(opinions(following(...events)))

const up = (...nodes: readonly string[]): readonly LivenessEvent[] => nodes.map((node) => ({ type: 'up', node }))
const silent = (node: string, atMs: number, alsoSilent = 0): LivenessEvent => ({
  type: 'silent',
  node,
  atMs,
  alsoSilent,
})
const looked = (atMs: number, alsoSilent = 0): LivenessEvent => ({ type: 'looked', atMs, alsoSilent })
const ended = (node: string): LivenessEvent => ({ type: 'ended', node })
const nodes = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i + 1}`)

describe('a node', () => {
  test.each<[string, readonly LivenessEvent[], string | undefined]>([
    ['was never heard', [], undefined],
    ['is heard', up('n1'), 'up'],
    ['was heard and fell silent', [...up('n1'), silent('n1', 0)], 'down'],
    ['fell silent and is heard again', [...up('n1'), silent('n1', 0), ...up('n1')], 'up'],
    ['said goodbye', [...up('n1'), ended('n1')], undefined],
    ['said goodbye and is heard again', [...up('n1'), ended('n1'), ...up('n1')], 'up'],
    ['is not watched any more', [...up('n1'), { type: 'watched', nodes: new Set() }], undefined],
    ['is watched with others', [...up('n1'), { type: 'watched', nodes: new Set(['n1', 'n2']) }], 'up'],
    [
      'fell silent and is watched still',
      [...up('n1'), silent('n1', 0), { type: 'watched', nodes: new Set(['n1']) }],
      'down',
    ],
  ])('that %s', (_, events, opinion) => {
    expect(said(...events)['n1']).toBe(opinion)
  })
})

describe('a node without an agent', () => {
  const gone: LivenessEvent = { type: 'host-silent', node: 'n1', atMs: 0 }
  const answers: LivenessEvent = { type: 'host-answers', node: 'n1' }
  test.each<[string, readonly LivenessEvent[], string | undefined]>([
    ['answers', [...up('n1'), ended('n1'), answers], undefined],
    ['answered, and does so no more', [...up('n1', 'n2'), ended('n1'), answers, gone], 'down'],
    ['never answered', [...up('n1', 'n2'), ended('n1'), gone], undefined],
    ['answered no more, and does so again', [...up('n1', 'n2'), ended('n1'), answers, gone, answers], undefined],
    ['answered no more, and has an agent again', [...up('n1', 'n2'), ended('n1'), answers, gone, ...up('n1')], 'up'],
    [
      'falls silent when nobody else is heard',
      [...up('n1', 'n2'), ended('n1'), ended('n2'), answers, { ...answers, node: 'n2' }, gone],
      undefined,
    ],
    ['falls silent as the only other one', [...up('n1'), ended('n1'), answers, gone], 'down'],
  ])('that %s', (_, events, opinion) => {
    expect(said(...events)['n1']).toBe(opinion)
  })
})

test('a node that fell silent with too many others is dead when the API server has not heard of it either', () => {
  const events = [...up('n1', 'n2'), silent('n1', 0, 1), silent('n2', 200)]
  const unheardOf: LivenessEvent = { type: 'unheard-of', node: 'n1' }
  expect([...distrusted(following(...events))]).toEqual(['n1', 'n2'])
  expect(said(...events, unheardOf)).toEqual({ n1: 'down' })
  expect(said(...up('n1', 'n2'), unheardOf)).toEqual({ n1: 'up', n2: 'up' })
  expect(said(...events, ended('n1'), unheardOf)).toEqual({})
})

describe('nodes that fall silent together', () => {
  test('are dead as long as they are two, and another is heard', () => {
    const events = [...up('n1', 'n2', 'n3'), silent('n1', 0, 1), silent('n2', 200)]
    expect(said(...events)).toEqual({ n1: 'down', n2: 'down', n3: 'up' })
  })

  // A cluster of three nodes: a controller that is cut off sees this, and so does the last node of three.
  test('are not believed when they are all there are, be they only two', () => {
    expect(said(...up('n1', 'n2'), silent('n1', 0, 1))).toEqual({ n2: 'up' })
    expect(said(...up('n1', 'n2'), silent('n1', 0, 1), silent('n2', 200))).toEqual({})
    expect(said(...up('n1', 'n2'), silent('n1', 0), silent('n2', 800))).toEqual({})
  })

  test('one after the other are believed, to the last', () => {
    expect(said(...up('n1', 'n2'), silent('n1', 0), silent('n2', 1000))).toEqual({ n1: 'down', n2: 'down' })
  })

  // A cluster of two nodes.
  test('are no company where there is only one', () => {
    expect(said(...up('n1'), silent('n1', 0))).toEqual({ n1: 'down' })
  })

  test('with others that were only suspected are believed at the second look', () => {
    const one = [...up('n1', 'n2'), silent('n1', 0, 1)]
    expect(said(...one, looked(500))).toEqual({ n1: 'down', n2: 'up' })
    expect(said(...one, looked(500, 1))).toEqual({ n2: 'up' })
    expect(said(...one, looked(500, 1), looked(850))).toEqual({ n1: 'down', n2: 'up' })
    expect(said(...one, ended('n2'), looked(500))).toEqual({ n1: 'down' })
    expect(said(...one, silent('n2', 200), looked(500))).toEqual({})
    const most = [...up(...nodes(5)), silent('n1', 0, 2), silent('n2', 100, 1)]
    expect(said(...most, looked(500))).toMatchObject({ n1: 'down', n2: 'down', n3: 'up' })
  })

  test('are dead when they are half of all', () => {
    const events = ['n1', 'n2', 'n3'].map((node, i) => silent(node, 100 * i, 2 - i))
    expect(said(...up(...nodes(6)), ...events)).toMatchObject({ n1: 'down', n2: 'down', n3: 'down', n4: 'up' })
  })

  test('are not believed when they are more than half: from the first on, because the others are silent too', () => {
    expect(said(...up(...nodes(5)), silent('n1', 0, 2))).toEqual({ n2: 'up', n3: 'up', n4: 'up', n5: 'up' })
    expect(said(...up(...nodes(5)), silent('n1', 0, 2), silent('n2', 100, 1), silent('n3', 300))).toEqual({
      n4: 'up',
      n5: 'up',
    })
  })

  test('are taken back when it turns out only later', () => {
    const two = [...up(...nodes(5)), silent('n1', 0), silent('n2', 400)]
    expect(said(...two)).toMatchObject({ n1: 'down', n2: 'down' })
    expect(said(...two, silent('n3', 800))).toEqual({ n4: 'up', n5: 'up' })
  })

  test('did not fall together when a detection time lies between them', () => {
    const events = [silent('n1', 0), silent('n2', 1000), silent('n3', 2000), silent('n4', 3000)]
    expect(said(...up(...nodes(5)), ...events)).toEqual({ n1: 'down', n2: 'down', n3: 'down', n4: 'down', n5: 'up' })
  })

  test('are believed again one by one, as they are heard', () => {
    const all = nodes(4).map((node) => silent(node, 0, 3))
    expect(said(...up(...nodes(4)), ...all)).toEqual({})
    expect(said(...up(...nodes(4)), ...all, ...up('n2'))).toEqual({ n2: 'up' })
    expect(said(...up(...nodes(4)), ...all, ...up('n2'), silent('n2', 5000))).toEqual({ n2: 'down' })
  })

  test('do not bring back who died long before, and are not outvoted by them', () => {
    const early = nodes(10).map((node, i) => silent(node, 2000 * i))
    const rest = nodes(14).slice(10)
    const late = rest.map((node, i) => silent(node, 90_000 + i, rest.length - 1 - i))
    const opinion = said(...up(...nodes(14)), ...early, ...late)
    expect(opinion).toEqual(Object.fromEntries(nodes(10).map((node) => [node, 'down'])))
  })
})

describe('any history', () => {
  const node = fc.constantFrom(...nodes(6))
  const step = fc.oneof(
    node.map((name): LivenessEvent => ({ type: 'up', node: name })),
    node.map((name): LivenessEvent => ({ type: 'ended', node: name })),
    fc.record({ type: fc.constant('silent' as const), node, atMs: fc.nat(500), alsoSilent: fc.nat(6) }),
    fc.record({ type: fc.constant('looked' as const), atMs: fc.nat(500), alsoSilent: fc.nat(6) }),
    fc.subarray(nodes(6)).map((names): LivenessEvent => ({ type: 'watched', nodes: new Set(names) })),
  )
  const history = fc.array(step, { maxLength: 60 }).map((steps) => {
    let nowMs = 0
    return steps.map((event): LivenessEvent => {
      if (event.type !== 'silent' && event.type !== 'looked') return event
      nowMs += event.atMs
      return { ...event, atMs: nowMs }
    })
  })

  test('calls only those dead that fell silent and were not heard since', () => {
    fc.assert(
      fc.property(history, (events) => {
        for (const [name, opinion] of Object.entries(said(...events))) {
          const last = events.findLast((event) => 'node' in event && event.node === name)
          expect(opinion).toBe(last?.type === 'silent' ? 'down' : 'up')
        }
      }),
    )
  })

  test('never calls all of several dead within a detection time, nor more than two and half of those that lived', () => {
    fc.assert(
      fc.property(history, (events) => {
        const last = events.findLastIndex(({ type }) => type === 'silent')
        const event = events[last]
        if (event?.type !== 'silent') return
        const lives = [...following(...events.slice(0, last + 1)).values()]
        const fallen = lives.filter((life) => 'atMs' in life && event.atMs - life.atMs <= detectionMs)
        const dead = fallen.filter(({ state }) => state === 'down').length
        const lived = fallen.length + lives.filter(({ state }) => state === 'up').length
        expect(dead <= 1 || (dead < lived && (dead <= 2 || 2 * dead <= lived))).toBe(true)
      }),
    )
  })

  test('leaves what it was given as it was', () => {
    fc.assert(
      fc.property(history, step, (events, next) => {
        const state = following(...events)
        const before = structuredClone(state)
        transitionLiveness(state, next, detectionMs)
        expect(state).toEqual(before)
      }),
    )
  })
})

describe('a session', () => {
  const change = (changes: Partial<SessionChange>): SessionChange => ({
    key: 'n1',
    from: 'Up',
    to: 'Down',
    diagnostic: 1,
    remoteState: 'Down',
    atMs: 7,
    alsoSilent: 3,
    ...changes,
  })
  test.each<[string, Partial<SessionChange>, LivenessEvent | undefined]>([
    ['that came up', { from: 'Init', to: 'Up', diagnostic: 0 }, { type: 'up', node: 'n1' }],
    ['whose detection time passed', {}, { type: 'silent', node: 'n1', atMs: 7, alsoSilent: 3 }],
    ['whose agent is gone from a host that lives', { excused: true }, { type: 'ended', node: 'n1' }],
    ['whose agent does not hear us', { diagnostic: 3 }, { type: 'ended', node: 'n1' }],
    ['whose agent ends', { diagnostic: 3, remoteState: 'AdminDown' }, { type: 'ended', node: 'n1' }],
    ['that we ended', { to: 'AdminDown', diagnostic: 7 }, { type: 'ended', node: 'n1' }],
    ['that begins', { from: 'Down', to: 'Init', diagnostic: 0 }, undefined],
    ['that did not get beyond Init', { from: 'Init' }, undefined],
  ])('%s', (_, changes, event) => {
    expect(livenessEventOf('n1', change(changes))).toEqual(event)
  })
})
