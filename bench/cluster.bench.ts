// The whole controller against a large cluster: the embedded API server in this process, routers in another thread, and the bundle as
// a child process that is watched from outside. Prints one line a figure; nothing here is a test, but a scenario whose outcome is
// wrong ends the run.
//
//   node bench/cluster.bench.ts                   1,000 Services x 10 endpoints on 500 nodes, 4 routers: a minute
//   BENCH_LARGE=1 node bench/cluster.bench.ts     10,000 Services on 1,000 nodes: some minutes, 3 GB
//   BENCH_SERVICES, BENCH_NODES, BENCH_CHANGES, BENCH_CREATED    other sizes
//   BENCH_ONLY=changes,rolling                   only these of the scenarios below; the cold start is always there
//   BENCH_NODE_OPTIONS='--max-semi-space-size=4' other settings of Node for the controller than deploy/ has
//   BENCH_CPU_PROFILE=<directory>                 a CPU profile of each process, written when it ends

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseAllDocuments } from 'yaml'
import type { RequestInfo } from '../src/lab/apiserver/http/request-info.ts'
import { type JsonObject, objectsAt, stringAt } from '../src/lab/apiserver/json.ts'
import { type ApiServerHandle, startApiServer } from '../src/lab/apiserver/server.ts'
import { freePort } from '../src/lab/loopback/programs.ts'
import {
  bellhopNamespace,
  configurationObjects,
  type EndpointState,
  endpointsOf,
  nodeName,
  nodeObject,
  serviceName,
  serviceObject,
  sliceObject,
  vipObject,
  vipOf,
} from './cluster-objects.ts'
import {
  buildBundle,
  deployedEnvironment,
  deployedWorkload,
  type Running,
  renderMemory,
  start,
} from './cluster-process.ts'
import { nowMs, type RouterEvent, type Routers, startRouters } from './cluster-routers.ts'
import { settle } from './cluster-settle.ts'

const large = process.env['BENCH_LARGE'] === '1'
const numberOf = (name: string, small: number, big: number): number =>
  Number(process.env[name] ?? (large ? big : small))
const size = {
  services: numberOf('BENCH_SERVICES', 1_000, 10_000),
  nodes: numberOf('BENCH_NODES', 500, 1_000),
  changes: numberOf('BENCH_CHANGES', 200, 500),
  created: numberOf('BENCH_CREATED', 500, 5_000),
  endpointsEach: 10,
  routers: 4,
}
/** Half as many pods as nodes, so that each new pod can go to a node that had none. */
const rollingPods = Math.min(500, Math.floor(size.nodes / 100) * 50)
const replica = { name: 'bellhop-controller-0', node: nodeName(0) }

interface Bench {
  readonly directory: string
  readonly bundle: string
  readonly kubeconfig: string
  readonly server: ApiServerHandle
  readonly routers: Routers
  readonly requests: Requests
}

// -------------------------------------------------------------------------------------------------------- reporting

function line(what: string, figure: string, target = ''): void {
  console.log(`${what.padEnd(66)} ${figure.padStart(34)}${target === '' ? '' : `   target ${target}`}`)
}

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

function spread(samples: readonly number[]): string {
  const sorted = [...samples].sort((a, b) => a - b)
  const at = (share: number): string => percentile(sorted, share).toFixed(2)
  return `p50 ${at(0.5)}  p99 ${at(0.99)}  max ${at(1)} ms`
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`
const megabytes = ({ memory }: Running): string => renderMemory(memory())

/** Processor time of the controller during `run`. */
async function withCpu<T>(controller: Running, what: string, run: () => Promise<T>): Promise<T> {
  const before = controller.cpuSeconds()
  const result = await run()
  line(`  ${what}: processor time of the controller`, `${(controller.cpuSeconds() - before).toFixed(2)} s`)
  return result
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

// --------------------------------------------------------------------------------------------------- counting writes

interface Requests {
  /** Writes since the last call, by verb, resource and subresource; Leases apart, which are signs of life. */
  readonly take: () => ReadonlyMap<string, number>
  /** Time of the last write but to Leases. */
  readonly lastWriteMs: () => number
}

// A fault that matches nothing sees every request.
function countRequests(server: ApiServerHandle): Requests {
  let counts = new Map<string, number>()
  let lastWriteMs = 0
  const matches = ({ resource }: RequestInfo): boolean => {
    if (resource === undefined || ['get', 'list', 'watch'].includes(resource.verb)) return false
    if (resource.resource === 'leases') return false
    lastWriteMs = nowMs()
    const key = `${resource.verb} ${resource.resource}${resource.subresource === '' ? '' : `/${resource.subresource}`}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
    return false
  }
  server.faults.inject({ kind: 'delay', milliseconds: 0 }, { matches })
  return {
    lastWriteMs: () => lastWriteMs,
    take: () => {
      const taken = counts
      counts = new Map()
      return taken
    },
  }
}

const renderCounts = (counts: ReadonlyMap<string, number>): string =>
  counts.size === 0 ? 'none' : [...counts].map(([key, count]) => `${count} ${key}`).join(', ')

/** Resolves when nothing was written for `quietMs`, or after `limitMs`. */
async function whenQuiet(requests: Requests, quietMs: number, limitMs: number): Promise<void> {
  const endMs = nowMs() + limitMs
  const beginMs = nowMs()
  while (nowMs() < endMs) {
    if (nowMs() - Math.max(beginMs, requests.lastWriteMs()) > quietMs) return
    await pause(100)
  }
}

// --------------------------------------------------------------------------------------------------------- the world

function fill(server: ApiServerHandle, routers: Routers): void {
  const crds = path.resolve(import.meta.dirname, '../crds')
  for (const file of readdirSync(crds).filter((name) => name !== 'kustomization.yaml'))
    for (const document of parseAllDocuments(readFileSync(path.join(crds, file), 'utf8')))
      server.objects.put(document.toJS() as JsonObject)
  const addresses = routers.ports.map((port, i) => ({ address: `127.0.0.${i + 2}`, port, asn: 64_600 + i }))
  for (const object of configurationObjects(addresses)) server.objects.put(object)
  for (let i = 0; i < size.nodes; i++) server.objects.put(nodeObject(i, { ready: true }))
  for (let i = 0; i < size.services; i++) {
    const service = server.objects.put(serviceObject(i, { settled: true }))
    server.objects.put(vipObject(i, stringAt(service, 'metadata', 'uid') ?? ''))
    server.objects.put(slice(i, endpoints(i)))
  }
  settle(server, replica)
}

const endpoints = (index: number): readonly EndpointState[] => endpointsOf(index, size.endpointsEach, size.nodes)
const slice = (index: number, of: readonly EndpointState[]): JsonObject => sliceObject(serviceName(index), 'k8s', of)

/** The same endpoints, the first of them in another state. */
const withFirst = (of: readonly EndpointState[], state: EndpointState['state']): readonly EndpointState[] =>
  of.map((endpoint, k) => (k === 0 ? { ...endpoint, state } : endpoint))

async function startController(bench: Bench, name: string): Promise<Running> {
  const httpPort = await freePort()
  const flags = {
    '--kubeconfig': bench.kubeconfig,
    '--namespace': bellhopNamespace,
    '--name': name,
    '--node': replica.node,
    '--http-port': String(httpPort),
    '--log-format': 'json',
  }
  return start({
    argv: [process.execPath, ...profiling(), bench.bundle, 'controller', ...Object.entries(flags).flat()],
    env: { ...deployedEnvironment(deployedWorkload('base/controller.yaml', 'Deployment')), ...nodeOptions() },
    logPath: path.join(bench.directory, 'controller.log'),
    ...{ httpPort, nowMs },
  })
}

/** To try others than those that deploy/ sets. */
function nodeOptions(): Readonly<Record<string, string>> {
  const options = process.env['BENCH_NODE_OPTIONS']
  return options === undefined ? {} : { NODE_OPTIONS: options }
}

function profiling(): readonly string[] {
  const directory = process.env['BENCH_CPU_PROFILE']
  return directory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${directory}`]
}

// --------------------------------------------------------------------------------------------------------- scenarios

const listed = [
  '/api/v1/services',
  '/apis/discovery.k8s.io/v1/endpointslices',
  '/api/v1/nodes',
  '/api/v1/namespaces',
  '/apis/bellhop.io/v1alpha1/vips',
]

async function coldStart(bench: Bench): Promise<Running> {
  const { server, routers, requests } = bench
  routers.send({ type: 'list', urls: listed.map((url) => `${server.url}${url}`) })
  const list = await routers.next((event) => (event.type === 'listed' ? event : undefined), 'the lists')
  line(
    `the API server lists it all to a client that ignores it (${(list.bytes / 1e6).toFixed(0)} MB)`,
    seconds(list.ms),
  )

  const ends = new Map<number, number>()
  const held = new Map<number, number>()
  let bytes = 0
  const whole = routers.next((event) => {
    if (event.type === 'changes') held.set(event.peer, event.paths)
    if (event.type === 'end-of-rib') {
      ends.set(event.peer, event.atMs)
      bytes = event.bytes
    }
    return ends.size === size.routers ? true : undefined
  }, 'End-of-RIB at every router')
  requests.take()
  const controller = await startController(bench, replica.name)
  await whole
  const elapsedMs = Math.max(...ends.values()) - controller.startedAtMs
  const paths = size.services * size.endpointsEach
  for (const count of held.values()) if (count !== paths) throw new Error(`a router holds ${count} of ${paths} paths`)
  line(`cold start: process start to End-of-RIB at ${size.routers} routers (${paths} paths each)`, seconds(elapsedMs))
  line('  beyond what the API server needs to list', seconds(elapsedMs - list.ms), '1.5 s')
  line('  processor time of the controller', `${controller.cpuSeconds().toFixed(2)} s`)
  line('  octets on the wire a path', (bytes / paths).toFixed(2), 'at most 10')
  line('  memory then', megabytes(controller))
  await whenQuiet(requests, 3_000, 60_000)
  line('  writes to the API server in its first minute', renderCounts(requests.take()), 'own status only')
  line('  memory when all is quiet', megabytes(controller), '250 MB')
  return controller
}

/** Follows one change at a time: when a bystander saw the slice, and when each router had the VIP with so many paths. */
async function follow(
  routers: Routers,
  change: () => void,
  expected: { readonly slice: string; readonly vip: string; readonly paths: number },
): Promise<{ readonly fromWriteMs: number; readonly fromWatchMs: number }> {
  const at = new Map<number, number>()
  let seenMs: number | undefined
  const done = routers.next((event) => {
    if (event.type === 'slice-seen' && event.name === expected.slice) seenMs ??= event.atMs
    if (event.type === 'changes')
      for (const [vip, paths] of event.touched)
        if (vip === expected.vip && paths === expected.paths) at.set(event.peer, event.atMs)
    return at.size === size.routers && seenMs !== undefined ? seenMs : undefined
  }, `${expected.vip} with ${expected.paths} paths`)
  const startMs = nowMs()
  change()
  const watchedMs = await done
  const lastMs = Math.max(...at.values())
  return { fromWriteMs: lastMs - startMs, fromWatchMs: lastMs - watchedMs }
}

async function singleChanges({ server, routers }: Bench, controller: Running): Promise<void> {
  const fromWrite: number[] = []
  const fromWatch: number[] = []
  const before = await controller.metrics()
  await withCpu(controller, `${size.changes} changes`, async () => {
    for (let i = 0; i < size.changes; i++) {
      const index = ((i >> 1) * 37) % size.services
      const unready = i % 2 === 0
      const of = unready ? withFirst(endpoints(index), 'unready') : endpoints(index)
      const took = await follow(routers, () => void server.objects.put(slice(index, of)), {
        slice: `${serviceName(index)}-k8s`,
        vip: vipOf(index),
        paths: size.endpointsEach - (unready ? 1 : 0),
      })
      fromWrite.push(took.fromWriteMs)
      fromWatch.push(took.fromWatchMs)
      await pause(15)
    }
  })
  line('one endpoint changes: written to the API -> UPDATE at the last router', spread(fromWrite))
  line('  from the moment another watcher has the event', spread(fromWatch), 'p50 1, p99 5 ms')
  const after = await controller.metrics()
  line('  inside the process: planned within (bellhop_plan_seconds)', planQuantiles(before, after))
}

function planQuantiles(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): string {
  const at = (key: string): number => (after.get(key) ?? 0) - (before.get(key) ?? 0)
  const count = at('bellhop_plan_seconds_count')
  const bound = (share: number): string => {
    for (const key of after.keys()) {
      const le = /^bellhop_plan_seconds_bucket\{le="(.+)"\}$/.exec(key)?.[1]
      if (le !== undefined && at(key) >= count * share) return `<= ${Number(le) * 1000}`
    }
    return 'more'
  }
  return `p50 ${bound(0.5)}  p99 ${bound(0.99)} ms of ${count}`
}

async function flapping({ server, requests }: Bench, controller: Running): Promise<void> {
  const index = 3
  const flaps = 200
  await whenQuiet(requests, 3_000, 60_000)
  requests.take()
  for (let i = 0; i < flaps; i++) {
    server.objects.put(slice(index, i % 2 === 0 ? withFirst(endpoints(index), 'unready') : endpoints(index)))
    await pause(50)
  }
  line(
    `an endpoint flaps ${flaps} times in ${(flaps * 0.05).toFixed(0)} s: writes to the API server`,
    renderCounts(requests.take()),
  )
  await whenQuiet(requests, 3_000, 40_000)
  line('  and after the last flap', renderCounts(requests.take()))
  line('  memory', megabytes(controller), '250 MB')
}

async function nodesLost({ server, routers }: Bench, controller: Running): Promise<void> {
  const lost = 10
  const share = (size.services * size.endpointsEach) / size.nodes
  const total = size.services * size.endpointsEach
  const all: number[] = []
  const first: number[] = []
  await withCpu(controller, `${lost} nodes and back`, async () => {
    for (let i = 0; i < lost; i++)
      for (const ready of [false, true]) {
        const at = new Map<number, number>()
        let firstMs = Number.POSITIVE_INFINITY
        const done = routers.next(
          (event) => {
            if (event.type !== 'changes') return undefined
            firstMs = Math.min(firstMs, event.atMs)
            if (event.paths === total - (ready ? 0 : share)) at.set(event.peer, event.atMs)
            return at.size === size.routers ? true : undefined
          },
          `node ${i} to be ${ready ? 'back' : 'withdrawn'}`,
        )
        const startMs = nowMs()
        server.objects.put(nodeObject(i * 7, { ready }))
        await done
        if (!ready) {
          all.push(Math.max(...at.values()) - startMs)
          first.push(firstMs - startMs)
        }
        await pause(50)
      }
  })
  line(`a node is NotReady: the first of its ${share} paths is withdrawn`, spread(first))
  line('  the last of them, at the last router', spread(all))
}

interface Tally {
  updates: number
  announced: number
  withdrawn: number
}

/** What the first router hears during `run`. */
async function tally(routers: Routers, run: () => Promise<void>): Promise<Tally> {
  const sum: Tally = { updates: 0, announced: 0, withdrawn: 0 }
  const stop = routers.onEvent((event: RouterEvent) => {
    if (event.type !== 'changes' || event.peer !== 0) return
    sum.updates += event.updates
    sum.announced += event.announced
    sum.withdrawn += event.withdrawn
  })
  await run()
  stop()
  return sum
}

/** Pods are replaced one by one, each in three writes of its slice, as kubelets and the slice controller would. */
async function rollingRestart({ server, routers, requests }: Bench, controller: Running): Promise<void> {
  const index = size.services
  const perSlice = 50
  const service = serviceName(index)
  const node = (pod: number): string => nodeName((pod * 13) % size.nodes)
  const slices: EndpointState[][] = Array.from({ length: rollingPods / perSlice }, (_, s) =>
    Array.from({ length: perSlice }, (__, k) => {
      const pod = s * perSlice + k
      return { pod: 900_000 + pod, node: node(pod), state: 'ready' as const }
    }),
  )
  const write = (s: number): void => void server.objects.put(sliceObject(service, `k8s-${s}`, slices[s] ?? []))
  const legs = (): number => new Set(slices.flat().flatMap((e) => (e.state === 'ready' ? [e.node] : []))).size
  const holds = (paths: number): Promise<true> =>
    routers.next(
      (event) =>
        event.type === 'changes' && event.touched.some(([vip, has]) => vip === vipOf(index) && has === paths)
          ? true
          : undefined,
      `the rolled VIP with ${paths} paths`,
    )
  const object = server.objects.put(serviceObject(index, { settled: true }))
  server.objects.put(vipObject(index, stringAt(object, 'metadata', 'uid') ?? ''))
  const begun = holds(legs())
  for (const s of slices.keys()) write(s)
  await begun
  await whenQuiet(requests, 3_000, 60_000)
  requests.take()

  let least = legs()
  const startMs = nowMs()
  const heard = await withCpu(controller, 'rolling restart', () =>
    tally(routers, async () => {
      for (let pod = 0; pod < rollingPods; pod++) {
        const s = Math.floor(pod / perSlice)
        const mine = slices[s] ?? []
        const old = mine.findIndex((endpoint) => endpoint.pod === 900_000 + pod)
        const fresh = 950_000 + pod
        mine.push({ pod: fresh, node: node(pod + rollingPods), state: 'unready' })
        write(s)
        await pause(3)
        mine[mine.length - 1] = { pod: fresh, node: node(pod + rollingPods), state: 'ready' }
        const before = mine[old]
        if (before !== undefined) mine[old] = { ...before, state: 'terminating' }
        write(s)
        await pause(3)
        mine.splice(old, 1)
        least = Math.min(least, legs())
        write(s)
        await pause(3)
      }
      await pause(500)
    }),
  )
  line(
    `rolling restart of ${rollingPods} pods in ${seconds(nowMs() - startMs)}: UPDATEs a router hears`,
    String(heard.updates),
  )
  line('  paths announced, withdrawn', `${heard.announced}, ${heard.withdrawn}`)
  line('  writes to the API server', renderCounts(requests.take()))
}

/** Services created at once: until each has an address and every router its routes. */
async function createdAtOnce(bench: Bench, controller: Running): Promise<void> {
  const { server, routers, requests } = bench
  const from = size.services + 1
  for (let i = from; i < from + size.created; i++) server.objects.put(slice(i, endpoints(i)))
  await whenQuiet(requests, 3_000, 60_000)
  requests.take()
  const known = new Map<number, number>()
  const total = server.objects.list('bellhop.io/v1alpha1', 'Vip').length + size.created
  const done = routers.next(
    (event) => {
      if (event.type === 'changes') known.set(event.peer, event.prefixes)
      return known.size === size.routers && [...known.values()].every((count) => count === total) ? true : undefined
    },
    'the new Services to be announced',
    300_000,
  )
  const startMs = nowMs()
  await withCpu(controller, `${size.created} Services created`, async () => {
    for (let i = from; i < from + size.created; i++) {
      server.objects.put(serviceObject(i, { settled: false }))
      // A client creates them one after the other: the server gets its turn in between.
      if (i % 20 === 0) await pause(0)
    }
    line(`${size.created} Services are created in`, seconds(nowMs() - startMs))
    await done
  })
  line('  from the first creation until the last is announced everywhere', seconds(nowMs() - startMs))
  line('  writes to the API server so far', renderCounts(requests.take()))
  line('  memory', megabytes(controller))
  await beneathStatuses(bench, () => unsaid(server) === 0)
  line('  from the first creation until each Service and each Vip says so', seconds(nowMs() - startMs))
  line('  writes to the API server since then', renderCounts(requests.take()))
}

const announcedConditions: ReadonlySet<string> = new Set(['Announced', 'bellhop.io/Announced'])

/** Services and Vips that do not say yet that they are announced. */
function unsaid(server: ApiServerHandle): number {
  const services = server.objects
    .list('v1', 'Service')
    .filter((service) => stringAt(service, 'spec', 'type') === 'LoadBalancer')
  const objects = [...services, ...server.objects.list('bellhop.io/v1alpha1', 'Vip')]
  const says = (condition: JsonObject): boolean =>
    announcedConditions.has(stringAt(condition, 'type') ?? '') && stringAt(condition, 'status') === 'True'
  return objects.filter((object) => !objectsAt(object, 'status', 'conditions').some(says)).length
}

/** What a change of an endpoint waits for while statuses are written. */
async function beneathStatuses({ server, routers }: Bench, areWritten: () => boolean): Promise<void> {
  const fromWatch: number[] = []
  for (let i = 0; !areWritten() && i < 600; i++) {
    // Each Service twice, unready and ready again, and no other status of theirs is waited for.
    const index = ((i >> 1) * 37) % size.services
    const unready = i % 2 === 0
    const took = await follow(
      routers,
      () => void server.objects.put(slice(index, unready ? withFirst(endpoints(index), 'unready') : endpoints(index))),
      {
        slice: `${serviceName(index)}-k8s`,
        vip: vipOf(index),
        paths: size.endpointsEach - (unready ? 1 : 0),
      },
    )
    fromWatch.push(took.fromWatchMs)
    await pause(100)
  }
  line('  an endpoint changes while statuses are written: -> UPDATE at the last router', spread(fromWatch))
}

// -------------------------------------------------------------------------------------------------------------- main

const only = process.env['BENCH_ONLY']?.split(',')

const scenarios: Readonly<Record<string, (bench: Bench, controller: Running) => Promise<void>>> = {
  changes: singleChanges,
  flapping,
  nodes: nodesLost,
  rolling: rollingRestart,
  created: createdAtOnce,
}

async function main(): Promise<void> {
  const directory = mkdtempSync(path.join(tmpdir(), 'bellhop-bench-'))
  const profiles = process.env['BENCH_CPU_PROFILE']
  if (profiles !== undefined) mkdirSync(profiles, { recursive: true })
  console.log(
    `${size.services} Services x ${size.endpointsEach} endpoints on ${size.nodes} nodes, ${size.routers} routers; node ${process.version}`,
  )
  const bundle = await buildBundle(path.join(directory, 'dist'))
  const routers = await startRouters({
    addresses: Array.from({ length: size.routers }, (_, i) => `127.0.0.${i + 2}`),
    asns: Array.from({ length: size.routers }, (_, i) => 64_600 + i),
  })
  const server = await startApiServer({ podDeletion: 'immediate', watchHistory: 100_000 })
  try {
    const beganMs = nowMs()
    fill(server, routers)
    line('the API server is filled in', seconds(nowMs() - beganMs))
    const kubeconfig = path.join(directory, 'kubeconfig')
    writeFileSync(kubeconfig, server.kubeconfig(), { mode: 0o600 })
    const bench: Bench = { directory, bundle, kubeconfig, server, routers, requests: countRequests(server) }
    const controller = await coldStart(bench)
    routers.send({
      type: 'watch',
      url: `${server.url}/apis/discovery.k8s.io/v1/endpointslices?watch=1&resourceVersion=${server.store.revision}`,
    })
    await pause(500)
    for (const [name, scenario] of Object.entries(scenarios))
      if (only === undefined || only.includes(name)) await scenario(bench, controller)
    await controller.stop()
    rmSync(directory, { recursive: true, force: true })
  } finally {
    await routers.stop()
    await server.stop()
  }
}

await main()
