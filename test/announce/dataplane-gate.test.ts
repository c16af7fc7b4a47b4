// How long a route waits for an agent's word, told with a clock of the test's own.

import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createDataplaneGate, waitMaxMs } from '../../src/announce/dataplane-gate.ts'
import type { SignOfLife } from '../../src/k8s/heartbeat-watch.ts'
import type { ClusterView } from '../../src/k8s/objects.ts'
import { waitingFor } from '../../src/plan/dataplane.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'
import { meta, view, vip } from '../vip/cluster.ts'

const address = '192.0.2.1'

interface Word {
  readonly inPlace?: string
  readonly boot?: string
  readonly alive?: boolean
}

function start() {
  const clock = createVirtualClock()
  const signs = new Map<string, SignOfLife>()
  let speak: () => void = () => {}
  let changes = 0
  const gate = createDataplaneGate({
    agents: {
      signs: () => signs,
      onChange: (listener) => {
        speak = listener
      },
    },
    clock,
    onChange: () => changes++,
    signal: new AbortController().signal,
  })
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms)
    await setImmediate()
    clock.advance(0)
    await setImmediate()
  }
  return {
    gate,
    pass,
    changes: () => changes,
    says: async (node: string, { inPlace = '0', boot = 'first', alive = true }: Word): Promise<void> => {
      const annotations = { 'bellhop.io/node': node, 'bellhop.io/in-place': inPlace, 'bellhop.io/boot': boot }
      signs.set(node, { name: `bellhop-agent-${node}`, identity: node, annotations, alive })
      speak()
      await pass(1)
    },
    gone: async (node: string): Promise<void> => {
      signs.delete(node)
      speak()
      await pass(1)
    },
    begin: (of: ClusterView) => gate.take(of, undefined),
    appears: (of: ClusterView) => gate.take(of, new Map([['Vip', new Set([address])]])),
    waits: (node: string): boolean => waitingFor(address, gate.dataplane())?.(node) ?? false,
  }
}

const withVip = (resourceVersion: string): ClusterView =>
  view({ vips: [vip(address, [], { meta: meta(address, { resourceVersion }) })] })
const empty = view({})

test('a new VIP waits for the agent to say that it has come as far', async () => {
  const { says, begin, appears, waits, changes } = start()
  await says('n1', { inPlace: '100' })
  begin(empty)
  appears(withVip('101'))
  expect([waits('n1'), waits('without-agent')]).toEqual([true, false])
  const before = changes()
  await says('n1', { inPlace: '101' })
  expect([waits('n1'), changes() - before]).toEqual([false, 1])
})

test('five seconds at most', async () => {
  const { says, begin, appears, waits, pass, changes } = start()
  await says('n1', { inPlace: '100' })
  begin(empty)
  appears(withVip('101'))
  await pass(waitMaxMs - 2)
  expect(waits('n1')).toBe(true)
  const before = changes()
  await pass(2)
  expect([waits('n1'), changes() - before]).toEqual([false, 1])
})

test('what was there when the replica began waits for nobody whose rules were ever in place', async () => {
  const { says, begin, waits } = start()
  await says('n1', { inPlace: '90' })
  begin(withVip('101'))
  expect(waits('n1')).toBe(false)
})

test('a VIP that was there before waits for a node that has started without rules, and not for its agent that began anew', async () => {
  const { says, begin, waits, gone } = start()
  await says('n1', { inPlace: '100' })
  begin(withVip('100'))
  await gone('n1')
  await says('n1', { inPlace: '0' })
  expect(waits('n1')).toBe(false)
  await gone('n1')
  await says('n1', { inPlace: '0', boot: 'second' })
  expect(waits('n1')).toBe(true)
  await says('n1', { inPlace: '102', boot: 'second' })
  expect(waits('n1')).toBe(false)
})

test('a node that never says that its rules are in place is waited for five seconds, and never again in this boot', async () => {
  const { says, begin, waits, pass } = start()
  begin(withVip('100'))
  await says('n1', { inPlace: '0' })
  expect(waits('n1')).toBe(true)
  await pass(waitMaxMs)
  expect(waits('n1')).toBe(false)
  await says('n1', { inPlace: '0' })
  expect(waits('n1')).toBe(false)
})

test.each<[string, Word]>([
  ['silent', { inPlace: '1', alive: false }],
  ['of a server whose versions are no numbers', { inPlace: 'abc' }],
])('an agent that is %s is not waited for', async (_what, word) => {
  const { says, begin, appears, waits } = start()
  begin(empty)
  await says('n1', word)
  appears(withVip('101'))
  expect(waits('n1')).toBe(false)
})

test('renewals without news change nothing', async () => {
  const { gate, says, begin, changes } = start()
  begin(withVip('100'))
  await says('n1', { inPlace: '100' })
  const [before, value] = [changes(), gate.dataplane()]
  await says('n1', { inPlace: '150' })
  expect([changes(), gate.dataplane()]).toEqual([before, value])
  expect(gate.dataplane()).toBe(value)
})
