// The world that chaos is let loose on: the lab with a BIRD and a FRR leaf, two controllers, four nodes with agents, Services that come
// and go, and one Service that nothing touches. It keeps account of who is disturbed and since when, because what is promised to the
// untouched Service holds only while one undisturbed controller and both leaves are left.

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { JsonObject } from '../../../src/lab/apiserver/json.ts'
import type { ObjectRef, Objects } from '../../../src/lab/apiserver/objects.ts'
import type { ApiServerHandle } from '../../../src/lab/apiserver/server.ts'
import { agentPort, controllerPort, type Lab, startLab } from '../../../src/lab/lab.ts'
import { nodeProgram } from '../../../src/lab/netns/node-program.ts'
import type { LabProcess, ProcessEnd } from '../../../src/lab/netns/process.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import type { Router } from '../../../src/lab/routers/router.ts'
import { urlOf } from '../../../src/lab/topology/client.ts'
import type { LabNode } from '../../../src/lab/topology/topology.ts'
import { parseIp } from '../../../src/net/ip.ts'
import { hostPrefix } from '../../../src/net/prefix.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { must } from '../../../src/runtime/result.ts'
import { systemClock } from '../../../src/runtime/system-clock.ts'
import { sharedAddresses } from './expected.ts'
import { calmVips, manifests } from './manifests.ts'
import { toldTables } from './observed.ts'

export interface ChaosWorld {
  readonly lab: Lab
  readonly api: ApiServerHandle
  readonly objects: () => Objects
  readonly nodes: readonly LabNode[]
  /** Those that chaos may touch: all but the last. */
  readonly restless: readonly LabNode[]
  /** Nodes with a controller. */
  readonly homes: readonly LabNode[]
  readonly programs: Programs
  /** What was wrong at any time, in words with a time. */
  readonly findings: string[]
  readonly find: (problem: string) => void
  readonly log: (line: string) => void
  /** The controller on this node is about to be disturbed; what is returned ends that once it announces again. */
  readonly disturb: (node: LabNode) => Promise<() => void>
  /** What the untouched Service needs is about to be touched; what is returned ends that once both leaves forward to it again. */
  readonly excuse: (because: string) => () => void
  /** Both leaves ask for this password from now on, of all neighbours. */
  readonly setPassword: (password: string | undefined) => Promise<void>
  readonly restartLeaf: (router: Router, signal: 'SIGTERM' | 'SIGKILL', downMs: number) => Promise<void>
  /** Requests to the untouched Service so far. */
  readonly calmRequests: () => number
  readonly destroy: () => Promise<void>
}

export type Role = 'controller' | 'agent'

export interface Programs {
  readonly start: (role: Role, node: LabNode) => void
  readonly signal: (role: Role, node: LabNode, name: NodeJS.Signals) => void
  /** Ends a program, and complains when it does not end, or not well. */
  readonly end: (role: Role, node: LabNode, name: 'SIGTERM' | 'SIGKILL') => Promise<void>
  readonly isRunning: (role: Role, node: LabNode) => boolean
  readonly untilReady: (role: Role, node: LabNode) => Promise<void>
}

/** Longer than a busy machine needs for anything. */
const patienceMs = 180_000

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Builds it, and waits until the untouched Service is served through both leaves. */
export async function createWorld(log: (line: string) => void): Promise<ChaosWorld> {
  const lab = await startLab({
    ...{ prefix: 'chaos', leaves: ['bird', 'frr'] as const, nodes: 4, clock: systemClock, log: silentLog },
  })
  try {
    return await furnish(lab, log)
  } catch (error) {
    await lab.destroy()
    throw error
  }
}

async function furnish(lab: Lab, log: (line: string) => void): Promise<ChaosWorld> {
  const { api } = lab
  if (api === undefined) throw new Error('chaos needs the embedded API server')
  const { nodes } = lab.topology
  const findings: string[] = []
  const find = (problem: string): void => {
    findings.push(problem)
    log(`PROBLEM ${problem}`)
  }
  const homes = nodes.slice(0, 2)
  const stalls = watchStalls(log)
  const programs = createPrograms(lab, find, stalls.since)
  await lab.install()
  // The last node is for the untouched Service alone.
  await lab.mustKubectl(['taint', 'node', nodes.at(-1)?.name ?? '', 'chaos=none:NoSchedule'])
  for (const manifest of manifests()) api.objects.put(manifest)
  for (const node of nodes) programs.start('agent', node)
  for (const node of homes) programs.start('controller', node)
  await Promise.all([
    ...nodes.map((node) => programs.untilReady('agent', node)),
    ...homes.map((node) => programs.untilReady('controller', node)),
  ])
  await waitFor(() => calmIsRouted(lab), { what: 'the untouched Service at both leaves', timeoutMs: patienceMs })
  const account = createAccount(lab, homes, programs, log, stalls.since)
  const calm = await startCalmLoads(lab, account, find)
  const stopWatching = watchSharing(api, find)
  const leaves = createLeaves(lab)
  return {
    ...{ lab, api, nodes, restless: nodes.slice(0, -1), homes, programs, findings, find, log },
    objects: () => api.objects,
    ...{ disturb: account.disturb, excuse: account.excuse, setPassword: leaves.setPassword },
    restartLeaf: leaves.restart,
    calmRequests: calm.requests,
    destroy: async () => {
      stopWatching()
      stalls.stop()
      await calm.stop()
      programs.expectEnds()
      await lab.destroy()
    },
  }
}

// ------------------------------------------------------------------------------------------------- Bellhop's programs

function createPrograms(
  lab: Lab,
  find: (problem: string) => void,
  stalledSince: Stalls['since'],
): Programs & { readonly expectEnds: () => void } {
  const running = new Map<string, LabProcess>()
  const expected = new WeakSet<LabProcess>()
  const keyOf = (role: Role, node: LabNode): string => `${role} on ${node.name}`
  const get = (role: Role, node: LabNode): LabProcess | undefined => running.get(keyOf(role, node))
  return {
    start: (role, node) => {
      const program = role === 'controller' ? lab.startController(node) : lab.startAgent(node)
      running.set(keyOf(role, node), program)
      void program.end.then(({ status, signal }) => {
        if (expected.has(program)) return
        find(
          `${keyOf(role, node)} ended by itself (${status ?? signal}): ${program.output().split('\n').slice(-5).join('\n')}`,
        )
      })
    },
    signal: (role, node, name) => get(role, node)?.kill(name),
    end: async (role, node, name) => {
      const program = get(role, node)
      if (program === undefined) return
      const beganMs = Date.now()
      expected.add(program)
      running.delete(keyOf(role, node))
      program.kill(name)
      // It must not hold up the end of the run.
      const impatience = new Promise<undefined>((resolve) => {
        setTimeout(() => resolve(undefined), patienceMs).unref()
      })
      const end = await Promise.race([program.end, impatience])
      if (end === undefined) {
        find(
          `${keyOf(role, node)} did not end within ${patienceMs} ms of ${name}: ${program.output().split('\n').slice(-3).join('\n')}`,
        )
        program.kill('SIGKILL')
        await program.end
      } else if (name === 'SIGTERM' && !isClean(end, program) && !stalledSince(beganMs))
        find(
          `${keyOf(role, node)} ended with ${end.status ?? end.signal} after SIGTERM: ${program.output().split('\n').slice(-3).join('\n')}`,
        )
    },
    isRunning: (role, node) => get(role, node) !== undefined,
    untilReady: async (role, node) => {
      const port = role === 'controller' ? controllerPort : agentPort
      const isReady = async (): Promise<boolean> =>
        (await node.namespace.exec(['curl', '-sf', '-m', '2', `http://127.0.0.1:${port}/readyz`])).status === 0
      const evidence = (): string => get(role, node)?.output().split('\n').slice(-20).join('\n') ?? ''
      const what = `${keyOf(role, node)} to be ready`
      await waitFor(isReady, { what, timeoutMs: patienceMs, intervalMs: 1000, evidence })
    },
    expectEnds: () => {
      for (const program of running.values()) expected.add(program)
    },
  }
}

/** One that was ended before its first line had no time to listen for the signal, and nothing to put in order. */
const isClean = ({ status, signal }: ProcessEnd, program: LabProcess): boolean =>
  status === 0 || (signal === 'SIGTERM' && program.output() === '')

// ------------------------------------------------------------------------------------- what the untouched Service may cost

interface Stalls {
  /** Whether the machine kept this process waiting for a second or more at any time since then, by the wall clock. */
  readonly since: (ms: number) => boolean
  readonly stop: () => void
}

const stallMs = 1000
/** What a machine that stalls has done to BFD and BGP sessions takes so long to mend. */
const aftermathMs = 20_000

// A machine that runs nobody for a second cannot tell living nodes from dead ones: what follows from that is no fault of Bellhop's.
function watchStalls(log: (line: string) => void): Stalls {
  let lastMs = Date.now()
  let stalledMs = 0
  const timer = setInterval(() => {
    const nowMs = Date.now()
    if (nowMs - lastMs > stallMs) {
      stalledMs = nowMs
      log(`  (the machine stalled for ${nowMs - lastMs} ms)`)
    }
    lastMs = nowMs
  }, stallMs / 5)
  return { since: (ms) => stalledMs >= ms, stop: () => clearInterval(timer) }
}

interface Account {
  readonly disturb: ChaosWorld['disturb']
  readonly excuse: ChaosWorld['excuse']
  /** Whether a request that was under way between these wall-clock times may have failed. */
  readonly isExcused: (fromMs: number, toMs: number) => boolean
}

/** After both leaves forward again: what was under way, and neighbour tables. */
const afterglowMs = 3_000

function createAccount(
  lab: Lab,
  homes: readonly LabNode[],
  programs: Programs,
  log: (line: string) => void,
  stalledSince: Stalls['since'],
): Account {
  const windows: { readonly fromMs: number; toMs: number }[] = []
  const disturbed = new Map<LabNode, number>()

  const excuse = (because: string): (() => void) => {
    const window = { fromMs: Date.now(), toMs: Number.POSITIVE_INFINITY }
    windows.push(window)
    log(`  (the untouched Service may fail: ${because})`)
    return () => void close(window)
  }
  const close = async (window: { toMs: number }): Promise<void> => {
    const routed = { what: 'the untouched Service at both leaves', timeoutMs: patienceMs, intervalMs: 250 }
    // Where it never is, the oracle says so in the end.
    await waitFor(() => calmIsRouted(lab), routed).catch(() => {})
    window.toMs = Date.now() + afterglowMs
  }
  const recovered = async (node: LabNode): Promise<boolean> => {
    if (disturbed.get(node) !== 0) return true
    const isUp = programs.isRunning('controller', node) && (await announces(lab, node))
    if (isUp && disturbed.get(node) === 0) disturbed.delete(node)
    return isUp
  }
  const disturb = async (node: LabNode): Promise<() => void> => {
    const others = homes.filter((home) => home !== node)
    const before = disturbed.get(node)
    disturbed.set(node, (before ?? 0) + 1)
    const areWell = await Promise.all(
      others.map(async (other) => !disturbed.has(other) && (await announces(lab, other))),
    )
    const forgive = areWell.includes(true) ? undefined : excuse('no undisturbed controller is left')
    return () => {
      disturbed.set(node, (disturbed.get(node) ?? 1) - 1)
      const wait = { what: `the controller on ${node.name} to announce`, timeoutMs: patienceMs, intervalMs: 250 }
      void waitFor(() => recovered(node), wait)
        .catch(() => {})
        .then(() => forgive?.())
    }
  }
  return {
    disturb,
    excuse,
    isExcused: (fromMs, toMs) =>
      windows.some((window) => fromMs <= window.toMs && toMs >= window.fromMs) || stalledSince(fromMs - aftermathMs),
  }
}

/** Both leaves have heard of the untouched Service from this controller. */
async function announces(lab: Lab, node: LabNode): Promise<boolean> {
  const tables = await Promise.all(lab.routers.map((router) => toldTables(lab, router).catch(() => undefined)))
  return tables.every((told) => {
    const table = told?.get(node.address.ipv4)
    return table !== undefined && calmVips.every((vip) => (table.get(vip) ?? []).length > 0)
  })
}

async function calmIsRouted(lab: Lab): Promise<boolean> {
  for (const router of lab.routers)
    for (const vip of calmVips)
      if ((await router.kernelNextHops(hostPrefix(must(parseIp(vip))))).length !== 1) return false
  return true
}

interface LoadLine {
  readonly atMs: number
  readonly tookMs: number
  readonly error?: string
}

const requestTimeoutMs = 10_000

async function startCalmLoads(
  lab: Lab,
  account: Account,
  find: (problem: string) => void,
): Promise<{ readonly requests: () => number; readonly stop: () => Promise<void> }> {
  let requests = 0
  let begun = 0
  const programs = calmVips.flatMap((vip) =>
    ['new', 'kept'].map((connections) => {
      const args = [urlOf(must(parseIp(vip)), 80), '100', connections, String(requestTimeoutMs), '1']
      const program = lab.topology.client.namespace.spawn(nodeProgram('src/lab/topology/load-program.ts', args))
      let answered = false
      program.onLine((text) => {
        const { atMs, tookMs, error } = JSON.parse(text) as LoadLine
        requests++
        // Until the first answer the agent of the node may not have opened the way.
        if (!answered && error === undefined) begun++
        answered ||= error === undefined
        if (error === undefined || !answered) return
        // A route that is lost is noticed a moment later than the requests that fell into the hole.
        setTimeout(() => {
          if (!account.isExcused(atMs, atMs + tookMs))
            find(
              `a request to the untouched ${vip} (${connections} connections) failed after ${tookMs} ms at ${new Date(atMs).toISOString()}: ${error}`,
            )
        }, 1000)
      })
      return program
    }),
  )
  await waitFor(() => begun === programs.length, { what: 'the untouched Service to answer', timeoutMs: patienceMs })
  return {
    requests: () => requests,
    stop: async () => void (await Promise.all(programs.map((program) => program.stop()))),
  }
}

/** No two Services ever show one address, not for a moment. */
function watchSharing(api: ApiServerHandle, find: (problem: string) => void): () => void {
  const said = new Set<string>()
  return api.store.listen('/services', () => {
    for (const problem of sharedAddresses(api.objects.list('v1', 'Service')))
      if (!said.has(problem)) {
        said.add(problem)
        find(problem)
      }
  })
}

// ------------------------------------------------------------------------------------------------------------- leaves

function createLeaves(lab: Lab): Pick<ChaosWorld, 'setPassword'> & { readonly restart: ChaosWorld['restartLeaf'] } {
  let password: string | undefined
  const apply = async (router: Router): Promise<void> => {
    const directory = path.join(lab.topology.network.directory, router.name)
    if (router.kind === 'bird') {
      const file = path.join(directory, 'bird.conf')
      const plain = readFileSync(file, 'utf8').replace(/^ {2}password ".*";\n/gm, '')
      const line = password === undefined ? '' : `  password "${password}";\n`
      writeFileSync(file, plain.replace(/^ {2}hold time /gm, `${line}$&`), { mode: 0o600 })
      await router.namespace.run(['birdc', '-s', path.join(directory, 'bird.ctl'), 'configure'])
      return
    }
    const neighbors = lab.topology.nodes.map(({ address }) => address.ipv4)
    const lines = neighbors.map((address) =>
      password === undefined ? `no neighbor ${address} password` : `neighbor ${address} password ${password}`,
    )
    const commands = ['configure terminal', 'router bgp 64514', ...lines].flatMap((line) => ['-c', line])
    await router.namespace.run(['vtysh', '--vty_socket', directory, '--config_dir', directory, ...commands])
  }
  return {
    setPassword: async (next) => {
      password = next
      await Promise.all(lab.routers.map(apply))
    },
    restart: async (router, signal, downMs) => {
      await router.stop(signal)
      if (signal === 'SIGKILL') await losePower(router)
      await pause(downMs)
      await router.start()
      if (password !== undefined) await apply(router)
    },
  }
}

// A router without power forgets what its kernel knew. What a daemon that is killed leaves there and does not find again when it
// starts is a matter of that daemon: FRR 8.4 leaves host routes behind whose next hop groups it cannot find.
async function losePower({ namespace, kind }: Router): Promise<void> {
  const protocol = kind === 'bird' ? 'bird' : 'bgp'
  for (const family of ['-4', '-6']) await namespace.exec(['ip', family, 'route', 'flush', 'proto', protocol])
  if (kind === 'frr') await namespace.exec(['ip', 'nexthop', 'flush', 'proto', 'zebra'])
}

/** A change of an object that may have gone meanwhile, or that the API server refuses; what it said then. */
export function attempt(world: ChaosWorld, what: string, change: (objects: Objects) => unknown): void {
  try {
    change(world.objects())
  } catch (error) {
    world.log(`  refused: ${what}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

export const serviceRef = (name: string): ObjectRef => ({
  apiVersion: 'v1',
  kind: 'Service',
  namespace: 'default',
  name,
})
export const nodeRef = (name: string): ObjectRef => ({ apiVersion: 'v1', kind: 'Node', name })

export type Change = (object: JsonObject) => JsonObject
