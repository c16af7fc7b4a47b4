// A controller that watches the agents, in a world of hosts that can be cut off from each other and from the API server, each by itself:
// who is called dead, how soon, and who never is.

import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type BfdHost, createBfdNetwork } from '../../src/bfd/memory-transport.ts'
import type { SignOfLife } from '../../src/k8s/heartbeat-watch.ts'
import { type AgentWatch, createAgentWatch } from '../../src/liveness/agent-watch.ts'
import { type BfdCore, type BfdTidings, createBfdCore } from '../../src/liveness/bfd-core.ts'
import type { BfdThread } from '../../src/liveness/bfd-thread.ts'
import { answerControllers } from '../../src/liveness/controller-answer.ts'
import { createSpeakUp } from '../../src/liveness/speak-up.ts'
import type { Ip } from '../../src/net/ip.ts'
import type { Clock } from '../../src/runtime/clock.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'
import { ip } from '../bfd/bench.ts'
import { randomFrom } from '../bgp/speaker/bench.ts'
import { node } from '../vip/cluster.ts'

const own = 'n0'
const addressOf = (name: string): Ip => ip(`10.0.0.${Number(name.slice(1)) + 1}`)
const noKeys = { authenticationWith: () => undefined, onChange: () => {} }
const unmovedMs = 60_000

/** What hears what: a host, or the API server. */
type Reaches = (from: string, to: string) => boolean

interface Sim {
  readonly names: readonly string[]
  readonly watch: AgentWatch
  /** Lets time pass, and everything that waits for an answer go on. */
  readonly pass: (ms: number) => Promise<void>
  reaches: Reaches
  readonly powerOff: (...names: readonly string[]) => void
  /** SIGTERM, or SIGKILL. */
  readonly endAgent: (name: string, how: 'goodbye' | 'kill') => void
  readonly startAgent: (name: string) => void
  /** The opinions, in order of the nodes: u, d, or - for none. */
  readonly said: () => string
  /** Everybody who was called dead, ever. */
  readonly dead: ReadonlySet<string>
  readonly stop: () => void
}

/** A bfd-thread without the thread. */
function threadOf(
  host: BfdHost,
  seed: number,
): Pick<BfdThread, 'setSessions' | 'onTidings'> & { readonly core: BfdCore } {
  const listeners: ((tidings: BfdTidings) => void)[] = []
  const core = createBfdCore({
    ...{ clock: host.clock, random: randomFrom(seed), transport: host.transport },
    onTidings: (tidings) => {
      for (const listener of listeners) listener(tidings)
    },
  })
  return { core, setSessions: core.setSessions, onTidings: (listener) => void listeners.push(listener) }
}

const flush = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function simulate(agents: number, seed = 1): Promise<Sim> {
  const clock = createVirtualClock(1_000_000)
  const network = createBfdNetwork({ clock, latencyMs: () => 1 })
  const ending = new AbortController()
  const names = Array.from({ length: agents }, (_, i) => `n${i + 1}`)
  const nameAt = new Map([own, ...names].map((name) => [addressOf(name), name]))
  const off = new Set<string>()
  const leases = new Map<string, number>()
  const running = new Map<
    string,
    { readonly ending: AbortController; readonly core: BfdCore; readonly host: BfdHost }
  >()
  const dead = new Set<string>()
  let seen: ReadonlyMap<string, number> = new Map()
  let tellLeases = (): void => {}

  const isThere = (from: string, to: string): boolean => !off.has(from) && !off.has(to) && sim.reaches(from, to)
  network.setLoss((from, to) => !isThere(nameAt.get(from) ?? '', nameAt.get(to) ?? ''))
  const random = randomFrom(seed)
  /** The controller's watch of the Leases: it stands still while the API server is out of reach. */
  const follow = (): void => {
    if (!isThere('api', own)) return
    const before = [...seen.keys()].join()
    seen = new Map(leases)
    if ([...seen.keys()].join() !== before) tellLeases()
  }
  const renewBy = (name: string, renewals: Clock) => (): void =>
    void renewals.setTimer(20, () => {
      if (!running.has(name) || !isThere(name, 'api')) return
      leases.set(name, (leases.get(name) ?? 0) + 1)
      follow()
    })

  const startAgent = (name: string): void => {
    off.delete(name)
    const host = network.host(addressOf(name))
    const thread = threadOf(host, seed + Number(name.slice(1)))
    const agent = { ending: new AbortController(), core: thread.core, host }
    running.set(name, agent)
    const renew = renewBy(name, host.clock)
    const sign = {
      name: 'c',
      identity: 'c',
      alive: true,
      annotations: { 'bellhop.io/liveness-address': addressOf(own) },
    }
    let listed = (): void => {}
    answerControllers({
      ...{ clock: host.clock, signal: agent.ending.signal, isOnLink: () => true, keys: noKeys, bfd: thread },
      heartbeats: {
        signs: () => new Map([['c', sign]]),
        onChange: (listener) => {
          listed = listener
        },
      },
      onLoss: createSpeakUp({ clock: host.clock, random, signal: agent.ending.signal, renew }),
    })
    listed()
    const beat = (): void => {
      if (running.get(name) !== agent) return
      renew()
      host.clock.setTimer(9000 + random() * 1000, beat)
    }
    beat()
  }

  const host = network.host(addressOf(own))
  const signs = (): ReadonlyMap<string, SignOfLife> =>
    new Map(
      [...seen.keys()].map((name) => [
        name,
        {
          ...{ name, identity: name, alive: true },
          annotations: {
            'bellhop.io/node': name,
            'bellhop.io/liveness': 'bfd',
            'bellhop.io/liveness-speaks-up': 'true',
          },
        },
      ]),
    )
  const textOf = (of: ReadonlyMap<string, number>): ReadonlyMap<string, string> =>
    new Map([...of].map(([name, count]) => [name, `${count}`]))
  const watch = createAgentWatch({
    ...{ clock: host.clock, log: silentLog, signal: ending.signal, isOnLink: () => true, keys: noKeys, ownNode: own },
    bfd: threadOf(host, seed + 99),
    heartbeats: {
      signs,
      renewals: () => textOf(seen),
      askRenewals: async () => (isThere('api', own) && isThere(own, 'api') ? textOf(leases) : undefined),
      onChange: (listener) => {
        tellLeases = listener
      },
    },
    askHost: async (address) => {
      const name = nameAt.get(address) ?? ''
      await new Promise<void>((resolve) => void clock.setTimer(isThere(own, name) ? 1 : 1000, resolve))
      return isThere(own, name) && isThere(name, own) ? 'answers' : 'silent'
    },
    onChange: (changes) => {
      for (const { node: name, to } of changes) if (to === 'down') dead.add(name)
    },
    onMoved: () => {},
  })
  const sim: Sim = {
    ...{ names, watch, dead, startAgent },
    reaches: () => true,
    pass: async (ms) => {
      for (let passed = 0; passed < ms; passed += 100) {
        clock.advance(100)
        follow()
        await flush()
      }
    },
    powerOff: (...gone) => {
      for (const name of gone) {
        off.add(name)
        running.get(name)?.ending.abort()
        running.get(name)?.host.kill()
        running.delete(name)
      }
    },
    endAgent: (name, how) => {
      const agent = running.get(name)
      running.delete(name)
      agent?.ending.abort()
      if (how === 'kill') agent?.host.kill()
      else {
        agent?.core.stop()
        agent?.host.kill()
        clock.setTimer(50, () => {
          leases.delete(name)
          follow()
        })
      }
    },
    said: () => names.map((name) => watch.nodeLiveness().get(name)?.[0] ?? '-').join(''),
    stop: () => {
      ending.abort()
      for (const { ending: agent } of running.values()) agent.abort()
    },
  }
  watch.setNodes(new Map([own, ...names].map((name) => [name, node(name, [addressOf(name)])])))
  for (const name of names) startAgent(name)
  await sim.pass(5000)
  return sim
}

const within =
  (...group: readonly string[]): Reaches =>
  (from, to) =>
    group.includes(from) === group.includes(to)

let sim: Sim
afterEach(() => sim.stop())

describe('of three nodes', () => {
  beforeEach(async () => {
    sim = await simulate(2)
    expect(sim.said()).toBe('uu')
  })

  test('two that lose power in the same moment are dead within seconds, because the API server has not heard of them either', async () => {
    sim.powerOff('n1', 'n2')
    await sim.pass(7000)
    expect(sim.said()).toBe('dd')
    sim.startAgent('n1')
    await sim.pass(5000)
    expect(sim.said()).toBe('ud')
  })

  test.each<[string, Reaches]>([
    ['hears nobody, and the API server does', (from, to) => from === 'api' || to === 'api'],
    ['is cut off from everybody', within(own)],
    ['is cut off together with nobody but a router', (from, to) => from !== own && to !== own],
    ['is heard, and hears nobody', (from, to) => to !== own || from === 'api'],
    ['speaks, and nobody hears it', (from) => from !== own],
    ['hears nobody, and loses the API server a second later', (from, to) => from === 'api' && to !== own],
  ])('a controller that %s calls nobody dead', async (_, reaches) => {
    sim.reaches = reaches
    await sim.pass(unmovedMs)
    expect([[...sim.dead], sim.said().includes('d')]).toEqual([[], false])
    sim.reaches = () => true
    await sim.pass(5000)
    expect(sim.said()).toBe('uu')
  })

  test('when the API server went with them nothing is known until it is back', async () => {
    sim.powerOff('n1', 'n2')
    sim.reaches = (from, to) => from !== 'api' && to !== 'api'
    await sim.pass(20_000)
    expect(sim.said()).toBe('--')
    sim.reaches = () => true
    await sim.pass(2000)
    expect(sim.said()).toBe('dd')
  })
})

test('agents that notice before the controller does speak up once more after it has', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    sim?.stop()
    sim = await simulate(2, seed)
    // Right after a renewal that would have come anyway.
    await sim.pass(5100)
    sim.reaches = (from, to) => from !== own || to === 'api'
    await sim.pass(500)
    sim.reaches = (from, to) => [from, to].includes('api') || (from !== own && to !== own)
    await sim.pass(10_000)
    expect([seed, [...sim.dead]]).toEqual([seed, []])
  }
})

test('of five nodes of which most are silent, those are dead that the API server has not heard of', async () => {
  sim = await simulate(5)
  sim.powerOff('n1', 'n2', 'n3')
  sim.reaches = (from, to) => [from, to].every((name) => name !== 'n4') || [from, to].includes('api')
  await sim.pass(7000)
  expect(sim.said()).toBe('ddd-u')
})

describe('a node whose agent took its leave', () => {
  beforeEach(async () => {
    sim = await simulate(3)
    expect(sim.said()).toBe('uuu')
  })

  test.each(['goodbye', 'kill'] as const)('(%s) and that goes down then, is dead within seconds', async (how) => {
    sim.endAgent('n1', how)
    await sim.pass(8000)
    expect([sim.said(), [...sim.dead]]).toEqual(['-uu', []])
    sim.powerOff('n1')
    await sim.pass(8000)
    expect(sim.said()).toBe('duu')
    sim.startAgent('n1')
    await sim.pass(5000)
    expect(sim.said()).toBe('uuu')
  })

  test('for an update is called dead by nobody', async () => {
    for (const name of sim.names) {
      sim.endAgent(name, 'goodbye')
      await sim.pass(15_000)
      sim.startAgent(name)
      await sim.pass(5000)
    }
    expect([sim.said(), [...sim.dead]]).toEqual(['uuu', []])
  })

  test('is not dead when it is we who hear nobody', async () => {
    for (const name of sim.names) sim.endAgent(name, 'goodbye')
    await sim.pass(5000)
    sim.reaches = within(own)
    await sim.pass(unmovedMs)
    expect([...sim.dead]).toEqual([])
  })

  test('and that nobody could ever ask is left to its condition', async () => {
    sim.reaches = (from, to) => from !== 'n1' && to !== 'n1'
    sim.endAgent('n1', 'goodbye')
    await sim.pass(100)
    sim.reaches = (from, to) => ![from, to].includes('n1') || [from, to].includes('api')
    await sim.pass(unmovedMs)
    expect(sim.said()).not.toContain('ud')
  })
})

test('whatever is cut off from what, nobody is called dead who lives and is heard by the API server, where several fell silent', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 6 }), fc.nat(1000), fc.nat(), async (agents, seed, numbers) => {
      sim = await simulate(agents, seed)
      const dice = randomFrom(numbers + 1)
      // The controller hears none of them; some of them are dead, some do not reach the API server, in one direction or in both.
      const gone = sim.names.filter(() => dice() < 0.4)
      const mute = new Set(sim.names.filter(() => dice() < 0.2))
      const toAgents = dice() < 0.5
      sim.reaches = (from, to) => {
        if (to === 'api') return !mute.has(from)
        if (from === own) return to === 'api' || toAgents
        return to !== own || from === 'api'
      }
      sim.powerOff(...gone)
      await sim.pass(20_000)
      const out = new Set([...gone, ...mute])
      expect([...sim.dead].filter((name) => !out.has(name))).toEqual([])
      expect(gone.every((name) => sim.dead.has(name))).toBe(true)
      sim.stop()
    }),
    { numRuns: 25 },
  )
})
