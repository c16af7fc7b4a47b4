// Three controller replicas before real routers, and the instruments that the tests of their deaths read: what each leaf forwards
// by at every moment, what each neighbour told it, who wrote what to the API server, and what users are told about it all.

import path from 'node:path'
import type { ApiServerHandle } from '../../src/lab/apiserver/server.ts'
import { type Stage, setStage, vip4, vip6 } from '../../src/lab/demo/stage.ts'
import { createStory, type Probe } from '../../src/lab/demo/story.ts'
import { type Lab, startLab } from '../../src/lab/lab.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { asList, asNumber, asObject, asText, isObject, parseJson } from '../../src/lab/routers/json.ts'
import type { Router } from '../../src/lab/routers/router.ts'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'

export const replicaName = (node: LabNode): string => `bellhop-controller-${node.name}`

/** What every router and BgpPeer of the lab has for a hold time: a silent neighbour is gone after it. */
export const holdTimeMs = 9_000

/** Waits until nothing is wrong any more; fails with the last thing that was. */
export async function becomes(what: string, probe: Probe, timeoutMs = 60_000): Promise<void> {
  let wrong: string | undefined
  await waitFor(
    async () => {
      wrong = await probe()
      return wrong === undefined
    },
    { what, timeoutMs, intervalMs: 200, evidence: () => `still: ${wrong}` },
  )
}

export interface ReplicaLab {
  readonly lab: Lab
  readonly stage: Stage
  readonly watch: RouterWatch
  readonly writes: WriteLog
  /** The node whose replica holds the lease; undefined while nobody does. */
  readonly leader: () => Promise<LabNode | undefined>
  /** The same, once it is another node's than `previous`. */
  readonly nextLeader: (previous: LabNode) => Promise<LabNode>
  /** Ends a replica at once and waits for its end. */
  readonly kill: (node: LabNode, signal: 'SIGKILL' | 'SIGTERM') => Promise<void>
  readonly json: (args: string) => Promise<readonly KubernetesObject[]>
  readonly destroy: () => Promise<void>
}

/** As much of an object as the tests look at. */
export interface KubernetesObject {
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly uid: string
    readonly managedFields?: readonly { readonly manager: string; readonly fieldsV1: unknown }[]
  }
  readonly spec?: Readonly<Record<string, unknown>>
  readonly status?: Readonly<Record<string, unknown>>
  readonly [key: string]: unknown
}

/** A cluster with three replicas, three agents, and a Service that all three nodes serve. */
export async function startReplicaLab(): Promise<ReplicaLab> {
  const lab = await startLab({ prefix: 'replicas', leaves: ['bird', 'frr'], clock: systemClock, log: silentLog })
  try {
    const stage = setStage(lab, createStory({ write: () => {}, clock: systemClock, terminal: false }))
    const writes = logWrites(lab)
    await lab.install()
    for (const manifest of ['bgp', 'whoami'] as const) await lab.mustKubectl(['apply', '-f', lab.manifest(manifest)])
    await Promise.all([stage.startAgents(), ...stage.nodes.map((node) => stage.startController(node))])
    await becomes('all sessions', stage.sessionsAreUp)
    await becomes('all next hops', stage.leavesHold(stage.nodes))
    const watch = await watchRouters(lab, stage.nodes)
    const leader = async (): Promise<LabNode | undefined> => {
      const [lease] = await json('lease bellhop-controller -n bellhop-system')
      const holder = String(lease?.spec?.['holderIdentity'] ?? '')
      return stage.nodes.find((node) => holder.startsWith(`${replicaName(node)}_`))
    }
    const json = async (args: string): Promise<readonly KubernetesObject[]> => {
      const parsed = JSON.parse(await lab.mustKubectl(['get', ...args.split(' '), '-o', 'json'])) as
        | { readonly kind: 'List'; readonly items: readonly KubernetesObject[] }
        | KubernetesObject
      return 'items' in parsed ? (parsed.items as readonly KubernetesObject[]) : [parsed]
    }
    return {
      ...{ lab, stage, watch, writes, leader, json },
      nextLeader: (previous) =>
        waitFor(
          async () => {
            const node = await leader()
            return node !== undefined && node !== previous ? node : undefined
          },
          { what: `another leader than ${previous.name}`, timeoutMs: 60_000, intervalMs: 200 },
        ),
      kill: async (node, signal) => {
        const controller = stage.controllers.get(node.name)
        if (controller === undefined) throw new Error(`no controller runs on ${node.name}`)
        controller.kill(signal)
        stage.controllers.delete(node.name)
        await controller.end
      },
      destroy: async () => {
        await watch.stop()
        await lab.destroy()
      },
    }
  } catch (error) {
    await lab.destroy()
    throw error
  }
}

// ------------------------------------------------------------------------------------------------- who writes what

/** A change that a controller asked the API server for. */
export interface LoggedWrite {
  readonly replica: string
  readonly verb: string
  /** `services/status`, `vips`, ... */
  readonly resource: string
  readonly name: string
  readonly fieldManager: string
}

export interface WriteLog {
  /** Everything so far. */
  readonly all: () => readonly LoggedWrite[]
  /** Calls once, at the moment a write arrives that matches, before it is carried out. */
  readonly once: (matches: (write: LoggedWrite) => boolean, then: () => void) => void
}

function logWrites(lab: Lab): WriteLog {
  const all: LoggedWrite[] = []
  const waiting = new Set<{ readonly matches: (write: LoggedWrite) => boolean; readonly then: () => void }>()
  // A fault that never applies sees every request.
  const matches: Parameters<ApiServerHandle['faults']['inject']>[1] = {
    matches: ({ userAgent, resource, query }) => {
      const replica = /\(controller (\S+)\)/.exec(userAgent)?.[1]
      if (replica === undefined || resource === undefined || readVerbs.has(resource.verb)) return false
      const { verb, name, subresource } = resource
      const write: LoggedWrite = {
        ...{ replica, verb, name },
        resource: subresource === '' ? resource.resource : `${resource.resource}/${subresource}`,
        fieldManager: query.get('fieldManager') ?? '',
      }
      all.push(write)
      for (const each of [...waiting])
        if (each.matches(write)) {
          waiting.delete(each)
          each.then()
        }
      return false
    },
  }
  if (lab.api === undefined) throw new Error('the writes of replicas are seen at the embedded API server alone')
  lab.api.faults.inject({ kind: 'drop' }, matches)
  return { all: () => [...all], once: (matching, then) => void waiting.add({ matches: matching, then }) }
}

const readVerbs = new Set(['get', 'list', 'watch'])

/** Whether only a leader may write this. Leases are not among it: the API server refuses what a replica did not see coming. */
export const isLeadersWrite = ({ replica, resource, fieldManager }: LoggedWrite): boolean =>
  resource !== 'leases' && fieldManager !== `bellhop-${replica}`

// ------------------------------------------------------------------------------------------------ what routers do

/** A path as one neighbour told it. */
export interface ToldPath {
  readonly neighbor: string
  readonly nextHop: string
  /** FRR shows it, BIRD 2 does not. */
  readonly pathId?: number
}

export interface RouterWatch {
  /** From now on the VIPs belong to these nodes. */
  readonly expect: (nodes: readonly LabNode[]) => void
  /** The longest that a leaf's kernel forwarded by anything else, and what that was. */
  readonly wrong: () => Longest
  /** The longest that two neighbours told a leaf different next hops for one VIP. */
  readonly disagreement: () => Longest
  /** Path ids that changed their next hop, or differ between neighbours: there must never be one. */
  readonly pathIdProblems: () => readonly string[]
  /** Neighbours seen telling path ids. */
  readonly tellers: () => number
  /** Routes of VIPs that a leaf's kernel lost, also for less than the time between two looks. */
  readonly deletions: () => readonly string[]
  readonly looks: () => number
  readonly reset: () => void
  readonly stop: () => Promise<void>
}

export interface Longest {
  readonly ms: number
  readonly what: string
}

/** Looks at both leaves again and again, from now on. */
async function watchRouters(lab: Lab, nodes: readonly LabNode[]): Promise<RouterWatch> {
  let expected = nodes
  let looks = 0
  const wrong = createStopwatch()
  const disagreement = createStopwatch()
  const idOf = new Map<string, number>()
  const tellers = new Set<string>()
  const pathIdProblems = new Set<string>()
  let deletions: string[] = []
  const stopping = new AbortController()

  const followDeletions = async ({ namespace }: Router): Promise<void> => {
    const monitor = namespace.spawn(['ip', 'monitor', 'route'])
    const seen: string[] = []
    monitor.onLine((line) => {
      if (line.startsWith('Deleted')) seen.push(line)
      if (line.startsWith('Deleted') && [vip4, vip6].some((vip) => line.includes(`${vip} `)))
        deletions.push(`${namespace.name}: ${line}`)
    })
    // It has begun once it has seen a deletion of ours, which also shows that deletions look like this.
    await monitor.waitUntil(
      async () => {
        await namespace.ip(['route replace blackhole 192.0.2.1/32', 'route del blackhole 192.0.2.1/32'])
        return seen.some((line) => line.includes('192.0.2.1 '))
      },
      { what: `the monitor of ${namespace.name}` },
    )
  }
  await Promise.all(lab.routers.map(followDeletions))

  const look = async (router: Router): Promise<void> => {
    for (const vip of [vip4, vip6]) {
      const family = vip === vip4 ? 'ipv4' : 'ipv6'
      const what = `${router.name} ${vip}`
      const kernel = sorted(await router.kernelNextHops(hostPrefix(vip)))
      const wanted = sorted(expected.map(({ address }) => address[family]))
      wrong.note(what, kernel === wanted ? undefined : `${what} via ${kernel || 'nothing'} instead of ${wanted}`)
      const told = Map.groupBy(await toldPaths(lab, router, vip), ({ neighbor }) => neighbor)
      const sets = [...told].map(
        ([neighbor, paths]) => [neighbor, sorted(paths.map(({ nextHop }) => nextHop))] as const,
      )
      const differ = new Set(sets.map(([, hops]) => hops)).size > 1
      const words = sets.map(([neighbor, hops]) => `${neighbor} says ${hops}`).join('; ')
      disagreement.note(what, differ ? `${what}: ${words}` : undefined)
      for (const { neighbor, nextHop, pathId } of [...told.values()].flat()) {
        if (pathId === undefined) continue
        tellers.add(neighbor)
        const known = idOf.get(nextHop)
        idOf.set(nextHop, pathId)
        if (known !== undefined && known !== pathId)
          pathIdProblems.add(`${what}: ${neighbor} says ${nextHop} with id ${pathId}, others ${known}`)
      }
    }
  }
  const lookOn = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await Promise.all(lab.routers.map(look))
      looks++
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  const looking = lookOn()

  return {
    expect: (next) => {
      expected = next
    },
    wrong: wrong.longest,
    disagreement: disagreement.longest,
    pathIdProblems: () => [...pathIdProblems],
    tellers: () => tellers.size,
    deletions: () => [...deletions],
    looks: () => looks,
    reset: () => {
      wrong.reset()
      disagreement.reset()
      tellers.clear()
      pathIdProblems.clear()
      deletions = []
      looks = 0
    },
    stop: async () => {
      stopping.abort()
      await looking
    },
  }
}

const sorted = (list: readonly string[]): string => [...new Set(list)].sort().join(', ')

interface Stopwatch {
  /** What is wrong with `subject` now; undefined when nothing is. */
  readonly note: (subject: string, problem: string | undefined) => void
  readonly longest: () => Longest
  readonly reset: () => void
}

/** From the first look that finds a problem to the first that does not. */
function createStopwatch(): Stopwatch {
  const sinceMs = new Map<string, number>()
  let longest: Longest = { ms: 0, what: '' }
  return {
    note: (subject, problem) => {
      const nowMs = performance.now()
      const began = sinceMs.get(subject)
      if (began !== undefined) longest = { what: longest.what, ms: Math.max(longest.ms, nowMs - began) }
      if (problem === undefined) {
        sinceMs.delete(subject)
        return
      }
      if (began !== undefined) return
      sinceMs.set(subject, nowMs)
      // A single look counts.
      longest = { what: `${longest.what}\n${problem}`.trim(), ms: Math.max(longest.ms, 1) }
    },
    longest: () => longest,
    reset: () => {
      longest = { ms: 0, what: '' }
      sinceMs.clear()
    },
  }
}

/** What a leaf was told about a VIP, neighbour by neighbour. */
export async function toldPaths(lab: Lab, router: Router, vip: typeof vip4): Promise<readonly ToldPath[]> {
  const directory = path.join(lab.topology.network.directory, router.name)
  const prefix = hostPrefix(vip)
  if (router.kind === 'bird') {
    const command = ['birdc', '-r', '-s', path.join(directory, 'bird.ctl'), 'show', 'route', prefix, 'all']
    return parseBirdTold((await router.namespace.exec(command)).stdout, lab.topology.nodes)
  }
  const family = vip === vip4 ? 'ipv4' : 'ipv6'
  const show = `show bgp ${family} unicast ${prefix} json`
  const command = ['vtysh', '--vty_socket', directory, '--config_dir', directory, '-c', show]
  return parseFrrTold(parseJson(await router.namespace.run(command)))
}

/** Protocol n0 is the session with the first node, and so on. */
function parseBirdTold(text: string, nodes: readonly LabNode[]): readonly ToldPath[] {
  return text.split(/^(?=\S*\s+unicast \[)/m).flatMap((entry) => {
    const index = /unicast \[n(\d+) /.exec(entry)?.[1]
    const nextHop = /BGP\.next_hop: (\S+)/.exec(entry)?.[1]
    const neighbor = nodes[Number(index)]?.address.ipv4
    return neighbor === undefined || nextHop === undefined ? [] : [{ neighbor, nextHop }]
  })
}

function parseFrrTold(answer: unknown): readonly ToldPath[] {
  return asList(asObject(answer)['paths'])
    .filter(isObject)
    .flatMap((entry) => {
      const neighbor = asText(asObject(entry['peer'])['peerId'])
      const nextHop = asList(entry['nexthops'])
        .map((hop) => asText(asObject(hop)['ip']))
        .find((ip) => ip !== undefined && !ip.startsWith('fe80:'))
      const pathId = asNumber(entry['addpathRxId'])
      if (neighbor === undefined || nextHop === undefined) return []
      return [{ neighbor, nextHop, ...(pathId === undefined ? {} : { pathId }) }]
    })
}

// --------------------------------------------------------------------------------------------- what users are told

/** Every status says that exactly the replicas on these nodes run and have their sessions. */
export const statusesName =
  ({ json, lab }: ReplicaLab, nodes: readonly LabNode[]): Probe =>
  async () => {
    const names = nodes.map(replicaName).sort()
    const wanted = names.map((name) => `${name} Established`).join(', ')
    for (const { metadata, status = {} } of await json('bgppeers')) {
      const found = asList(status['sessions'])
        .map((entry) => `${asObject(entry)['speaker']} ${asObject(entry)['state']}`)
        .sort()
      if (found.join(', ') !== wanted) return `BgpPeer ${metadata.name} has sessions ${found.join(', ')}`
    }
    const speakers = (await json('bgpconf default')).flatMap(({ status = {} }) =>
      asList(status['speakers']).map((entry) => asText(asObject(entry)['name'])),
    )
    if (speakers.sort().join() !== names.join()) return `BgpConf has speakers ${speakers.join()}`
    const leases = await json('leases -n bellhop-system -l bellhop.io/role=controller')
    const held = leases.map(({ metadata }) => metadata.name).sort()
    if (held.join() !== names.map((name) => `bellhop-replica-${name}`).join()) return `there are Leases ${held.join()}`
    const table = await lab.mustKubectl(['get', 'bgppeers'])
    const rows = table.trim().split('\n').slice(1)
    const n = nodes.length
    const right = rows.filter((row) => new RegExp(`\\bEstablished +${n}/${n}\\b`).test(row))
    return right.length === 2 ? undefined : `kubectl get bgppeers:\n${table}`
  }

/** Everything of the API that must hold whoever leads: who holds which address, and what Events were recorded. */
export async function bookkeepingProblems({ json }: ReplicaLab): Promise<readonly string[]> {
  const problems: string[] = []
  const services = (await json('services -A')).filter(({ spec }) => spec?.['type'] === 'LoadBalancer')
  const holders = new Map<string, string>()
  for (const { metadata, status } of services)
    for (const entry of asList(asObject(asObject(status)['loadBalancer'])['ingress'])) {
      const ip = asText(asObject(entry)['ip']) ?? ''
      const other = holders.get(ip)
      if (other !== undefined) problems.push(`${ip} was given to ${other} and ${metadata.name}`)
      holders.set(ip, metadata.name)
    }
  for (const { metadata, spec } of await json('vips')) {
    const named = asList(spec?.['services']).map((claim) => asText(asObject(claim)['name']))
    const holder = holders.get(asText(spec?.['address']) ?? '')
    if (named.length !== 1 || named[0] !== holder)
      problems.push(`Vip ${metadata.name} names ${named.join() || 'nobody'}; the Service that has it: ${holder}`)
  }
  // What was done under one leader is not said again by the next.
  const said = new Set<string>()
  for (const event of await json('events -A')) {
    const about = asObject(event['involvedObject'])
    const words = `${about['kind']}/${about['name']} ${about['uid']} ${event['reason']}: ${event['message']}`
    if (said.has(words) || event['count'] !== 1) problems.push(`Event repeated: ${words}`)
    said.add(words)
  }
  if (said.size < services.length) problems.push(`only ${said.size} Events about ${services.length} Services`)
  return problems
}
