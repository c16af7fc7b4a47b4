// List and watch as decisions: one row a rule, then a property over all inputs: no failure makes a hot loop, nothing is swapped
// in but a whole list, and every confirmation is answered by a list that began after it.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { KubeError } from '../../src/k8s/kube-error.ts'
import {
  initialReflectorState,
  type ReflectorAction,
  type ReflectorInput,
  type ReflectorState,
  reflectorStep,
} from '../../src/k8s/reflector-machine.ts'

const settings = { pageLimit: 500, consistency: 'quorum' } as const
const error = (status: number, reason: string, message = ''): KubeError => ({ status, reason, message })
const expired = error(410, 'Expired')
const unreachable = error(0, 'Unreachable')
const forbidden = error(403, 'Forbidden')
const broken = error(500, 'InternalError')

function run(
  inputs: readonly ReflectorInput[],
  state = initialReflectorState(settings),
): readonly [ReflectorState, readonly ReflectorAction[]] {
  let actions: readonly ReflectorAction[] = []
  let current = state
  for (const input of inputs) [current, actions] = reflectorStep(current, input)
  return [current, actions]
}

const start: ReflectorInput = { type: 'start' }
const lastPage: ReflectorInput = { type: 'page', resourceVersion: '10' }
const firstPage: ReflectorInput = { type: 'page', resourceVersion: '10', continueToken: 'c1' }
const progress: ReflectorInput = { type: 'progress', resourceVersion: '11' }
const returned: ReflectorInput = { type: 'server-returned' }
const timer: ReflectorInput = { type: 'timer' }
const confirm: ReflectorInput = { type: 'confirm' }
const ended = (cause?: KubeError, openForMs = 0, events = 0): ReflectorInput => ({
  type: 'watch-ended',
  openForMs,
  events,
  ...(cause === undefined ? {} : { error: cause }),
})
const failed = (cause: KubeError): ReflectorInput => ({ type: 'list-failed', error: cause })
const list = (page: object): readonly unknown[] => [{ type: 'begin' }, { type: 'list', page }]
const wholeList = list({ limit: 500 })
const watchFrom = (resourceVersion: string): unknown => ({ type: 'watch', resourceVersion })

test.each<[string, readonly ReflectorInput[], readonly unknown[]]>([
  ['a start lists', [start], wholeList],
  [
    'after a page with more to come the next one is asked for',
    [start, firstPage],
    [{ type: 'list', page: { limit: 500, continueToken: 'c1' } }],
  ],
  [
    'after the last page all is swapped in, and watched from there',
    [start, firstPage, lastPage],
    [{ type: 'swap', resourceVersion: '10' }, watchFrom('10')],
  ],
  [
    'a watch that ended in time is continued from its last event',
    [start, lastPage, progress, ended(undefined, 300_000, 5)],
    [watchFrom('11')],
  ],
  [
    'a watch that ended in time without an event is continued too',
    [start, lastPage, ended(undefined, 300_000)],
    [watchFrom('10')],
  ],
  [
    'a watch that ends at once is not reopened at once',
    [start, lastPage, ended(undefined, 3)],
    [{ type: 'wait', attempt: 1 }],
  ],
  [
    'a broken watch is reopened after a wait',
    [start, lastPage, progress, ended(unreachable, 1_000, 1), timer],
    [watchFrom('11')],
  ],
  [
    'a watch ended by our own time limit is reopened at once',
    [start, lastPage, ended(error(0, 'Timeout'), 315_000)],
    [watchFrom('10')],
  ],
  [
    'a server that stays away is waited for, without a new list',
    [start, lastPage, ...Array.from({ length: 9 }, () => [ended(unreachable), timer]).flat()],
    [watchFrom('10')],
  ],
  ['410 leads to a list at once', [start, lastPage, progress, ended(expired, 60_000, 1)], wholeList],
  [
    '410 again and again leads to a list after a wait',
    [start, lastPage, ended(expired), lastPage, ended(broken), timer, ended(expired)],
    [{ type: 'wait', attempt: 2 }],
  ],
  [
    'a server that does not know our version leads to a list',
    [start, lastPage, ended(error(504, 'Timeout', 'Too large resource version: 99, current: 3'))],
    wholeList,
  ],
  [
    'a watch that fails three times for reasons of its own is given up for a list',
    [start, lastPage, ended(broken), timer, ended(broken), timer, ended(broken), timer],
    wholeList,
  ],
  [
    'a forbidden watch falls back to listing now and then',
    [start, lastPage, ended(forbidden), timer, ended(forbidden), timer, ended(forbidden), timer],
    wholeList,
  ],
  ['a failed list is repeated after a wait', [start, failed(unreachable)], [{ type: 'wait', attempt: 1 }]],
  [
    'each time a longer one',
    [start, failed(unreachable), timer, failed(forbidden), timer, failed(broken)],
    [{ type: 'wait', attempt: 3 }],
  ],
  [
    'a failed page is asked for again, not the whole list',
    [start, firstPage, failed(unreachable), timer],
    [{ type: 'list', page: { limit: 500, continueToken: 'c1' } }],
  ],
  [
    'a page that fails three times starts the list over',
    [start, firstPage, failed(broken), timer, failed(broken), timer, failed(broken), timer],
    wholeList,
  ],
  [
    'a page whose snapshot expired leads to the whole list in one piece',
    [start, firstPage, failed(expired)],
    list({ limit: 0 }),
  ],
  ['a confirmation ends the watch and lists', [start, lastPage, confirm], [{ type: 'cancel' }, ...wholeList]],
  [
    'and is given when that list is in',
    [start, lastPage, confirm, { type: 'page', resourceVersion: '20' }],
    [{ type: 'swap', resourceVersion: '20' }, { type: 'confirmed', upTo: 1 }, watchFrom('20')],
  ],
  [
    'one asked for during a list needs another list',
    [start, confirm, lastPage],
    [{ type: 'swap', resourceVersion: '10' }, ...wholeList],
  ],
  [
    'one asked for while waiting turns the wait into one for a list',
    [start, lastPage, ended(unreachable), confirm, timer],
    wholeList,
  ],
  ['a stop cancels', [start, lastPage, { type: 'stop' }], [{ type: 'cancel' }]],
  ['and nothing happens after it', [start, { type: 'stop' }, lastPage, confirm, timer], []],
  [
    'when the server returns, a silent watch is opened again',
    [start, lastPage, progress, returned],
    [{ type: 'cancel' }, watchFrom('11')],
  ],
  [
    'and a page is asked for again',
    [start, firstPage, returned],
    [{ type: 'cancel' }, { type: 'list', page: { limit: 500, continueToken: 'c1' } }],
  ],
  ['or the list begun anew where there was none yet', [start, returned], [{ type: 'cancel' }, ...wholeList]],
  ['and nobody waits any longer', [start, failed(unreachable), returned], [{ type: 'cancel' }, ...wholeList]],
  [
    'and what was asked in vain before is forgotten, for it may refuse at first what it allows a second later',
    [start, ...Array.from({ length: 6 }, () => [failed(unreachable), timer]).flat(), returned, failed(forbidden)],
    [{ type: 'wait', attempt: 1 }],
  ],
  ['an answer that comes too late changes nothing', [start, lastPage, failed(broken)], []],
])('%s', (_what, inputs, actions) => {
  expect(run(inputs)[1]).toEqual(actions)
})

const cached = initialReflectorState({ pageLimit: 500, consistency: 'cache' })

test.each<[string, readonly ReflectorInput[], readonly unknown[]]>([
  ['takes any version first', [start], list({ limit: 500, resourceVersion: '0' })],
  [
    'later none older than what it has seen',
    [start, lastPage, progress, ended(expired, 60_000, 1)],
    list({ limit: 500, resourceVersion: '11' }),
  ],
  [
    'but asks the storage after a failure',
    [start, failed(error(504, 'Timeout', 'Too large resource version')), timer],
    wholeList,
  ],
  ['and for a confirmation', [start, lastPage, confirm], [{ type: 'cancel' }, ...wholeList]],
])('a list from the cache %s', (_what, inputs, actions) => {
  expect(run(inputs, cached)[1]).toEqual(actions)
})

const anyError = fc.constantFrom(
  expired,
  unreachable,
  broken,
  forbidden,
  error(429, 'TooManyRequests'),
  error(0, 'Timeout'),
  error(200, 'NotKubernetes'),
)
const anyInput: fc.Arbitrary<ReflectorInput> = fc.oneof(
  fc.constantFrom(start, lastPage, firstPage, progress, timer, confirm, returned),
  anyError.map(failed),
  fc
    .tuple(fc.option(anyError, { nil: undefined }), fc.constantFrom(0, 10_000), fc.nat(2))
    .map(([cause, openForMs, events]) => ended(cause, openForMs, events)),
)

test('over any inputs: whole lists only, confirmations by later lists, and no two requests at once', () => {
  fc.assert(
    fc.property(
      fc.array(anyInput, { maxLength: 60 }),
      fc.constantFrom(settings, { pageLimit: 500, consistency: 'cache' } as const),
      (inputs, how) => {
        let state = initialReflectorState(how)
        let busy: 'nothing' | 'list' | 'watch' | 'timer' = 'nothing'
        let asked = 0
        let begunAfter = -1
        for (const input of inputs) {
          // Only what is under way can report.
          const possible =
            (input.type === 'start' && busy === 'nothing') ||
            input.type === 'confirm' ||
            input.type === 'server-returned' ||
            ((input.type === 'page' || input.type === 'list-failed') && busy === 'list') ||
            ((input.type === 'progress' || input.type === 'watch-ended') && busy === 'watch') ||
            (input.type === 'timer' && busy === 'timer')
          if (!possible) continue
          if (input.type === 'confirm') asked++
          else if (input.type !== 'progress' && input.type !== 'server-returned') busy = 'nothing'
          const [next, actions] = reflectorStep(state, input)
          state = next
          for (const action of actions) {
            switch (action.type) {
              case 'cancel':
                busy = 'nothing'
                break
              case 'begin':
                begunAfter = asked
                break
              case 'list':
              case 'watch':
              case 'wait':
                expect(busy).toBe('nothing')
                busy = action.type === 'wait' ? 'timer' : action.type
                break
              case 'swap':
                expect(input).toMatchObject({ type: 'page' })
                expect(input).not.toHaveProperty('continueToken')
                break
              case 'confirmed':
                expect(action.upTo).toBeLessThanOrEqual(begunAfter)
                break
            }
          }
          // Something is always under way, or everything has stopped for good.
          expect(busy === 'nothing').toBe(state.phase.type === 'idle')
        }
      },
    ),
    { numRuns: 2_000 },
  )
})

test('no sequence of failures lists or watches more than twice without a wait', () => {
  fc.assert(
    fc.property(fc.array(anyError, { minLength: 10, maxLength: 40 }), (errors) => {
      let [state, actions] = run([start, lastPage])
      let requests = 0
      for (const cause of errors) {
        const requested = actions.find(({ type }) => type === 'list' || type === 'watch' || type === 'wait')?.type
        requests = requested === 'wait' ? 0 : requests + 1
        expect(requests).toBeLessThanOrEqual(2)
        if (requested === 'wait') [state, actions] = reflectorStep(state, timer)
        else if (requested === 'list') [state, actions] = reflectorStep(state, failed(cause))
        else [state, actions] = reflectorStep(state, ended(cause))
      }
    }),
  )
})
