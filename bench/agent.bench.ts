// What an agent costs its node: memory with few and with many VIPs, processor time when nothing happens, and how soon the rules
// stand. The bundle runs as deploy/ has it, in a container's place with a service account's credentials, in a network namespace with
// three controllers that it has BFD sessions with. Prints one line a figure.
//
//   node bench/agent.bench.ts                     0, 100, 1,000 and 10,000 VIPs, and a minute of rest: four minutes, as root
//   BENCH_VIPS=1000 BENCH_REST_SECONDS=20         other sizes
//   BENCH_SPEAKER=node                            an agent of deploy/node-speakers, with a router that it tells every VIP
//   BENCH_ARGS='--refuse-unused-ports true'       further flags for the agent
//   BENCH_STALLS=only                             the stalls alone
//   BENCH_NODE_OPTIONS='--max-semi-space-size=1'  other settings of Node than deploy/ has

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createUdpTransport } from '../src/bfd/udp-transport.ts'
import { type JsonObject, objectAt, stringAt } from '../src/lab/apiserver/json.ts'
import { type ApiServerHandle, startApiServer } from '../src/lab/apiserver/server.ts'
import type { Namespace } from '../src/lab/netns/namespace.ts'
import { type Bridge, createNetwork, type Network } from '../src/lab/netns/network.ts'
import { nodeProgram } from '../src/lab/netns/node-program.ts'
import type { LabProcess } from '../src/lab/netns/process.ts'
import { missingForLab } from '../src/lab/requirements.ts'
import { startRelay } from '../src/lab/topology/relay.ts'
import { createBfdCore } from '../src/liveness/bfd-core.ts'
import { livenessPorts, livenessTimers } from '../src/liveness/watched-sessions.ts'
import { type Ip, parseIp } from '../src/net/ip.ts'
import { must } from '../src/runtime/result.ts'
import { systemClock } from '../src/runtime/system-clock.ts'
import { nameOf, renderBase, renderNodeSpeakers } from '../test/deploy/rendered.ts'
import { containerArgv } from '../test/support/container.ts'
import { startTlsFront, type TlsFront } from '../test/support/tls-front.ts'
import {
  bellhopNamespace,
  configurationObjects,
  type EndpointState,
  nodeName,
  nodeObject,
  serviceName,
  serviceObject,
  sliceObject,
  vipObject,
} from './cluster-objects.ts'
import { buildBundle, deployedEnvironment } from './cluster-process.ts'
import { startRouters } from './cluster-routers.ts'

const sizes = (process.env['BENCH_VIPS'] ?? '0,100,1000,10000').split(',').map(Number)
const restSeconds = Number(process.env['BENCH_REST_SECONDS'] ?? 60)
const speaks = process.env['BENCH_SPEAKER'] === 'node'
const onlyStalls = process.env['BENCH_STALLS'] === 'only'
const furtherFlags = (process.env['BENCH_ARGS'] ?? '').split(' ').filter((flag) => flag !== '')
const manifest = speaks ? renderNodeSpeakers() : renderBase()
const workload = manifest.find((object) => nameOf(object) === 'DaemonSet/bellhop-agent') as JsonObject
/** Node lets the heap grow to half of a container's memory limit; here is no such limit, so it is told. */
const nodeOptions = process.env['BENCH_NODE_OPTIONS'] ?? deployedEnvironment(workload)['NODE_OPTIONS'] ?? ''
const loopback = must(parseIp('127.0.0.1'))
const agentAddress = must(parseIp('10.78.0.1'))
const routerAddress = must(parseIp('10.78.0.21'))
const routerAsn = 64_601
const controllers = ['10.78.0.11', '10.78.0.12', '10.78.0.13'].map((text) => must(parseIp(text)))
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function line(what: string, figure: string, target = ''): void {
  console.log(`${what.padEnd(66)} ${figure.padStart(34)}${target === '' ? '' : `   target ${target}`}`)
}

/** BFD as a controller has it. */
function speak(localAddress: Ip): void {
  const { random } = Math
  const ports = { local: livenessPorts.controller, remote: livenessPorts.agent }
  const core = createBfdCore({
    ...{ clock: systemClock, random, transport: createUdpTransport({ random, ports }) },
    onTidings: ({ changes }) => {
      for (const { to } of changes) console.log(`session ${to}`)
    },
  })
  const session = { key: 'agent', remoteAddress: agentAddress, localAddress, multihop: { ttlMin: 255 } }
  core.setSessions([{ ...session, ...livenessTimers, adminDown: false }])
}

/** A router as a program: prints how many prefixes it holds whenever that changed. */
async function route(address: Ip): Promise<void> {
  const routers = await startRouters({ addresses: [address], asns: [routerAsn], port: 179 })
  routers.onEvent((event) => {
    if (event.type === 'changes') console.log(`holds ${event.prefixes}`)
    if (event.type === 'closed') console.log('session lost')
  })
}

interface World {
  readonly folder: string
  readonly network: Network
  readonly node: Namespace
  readonly server: ApiServerHandle
  readonly front: TlsFront
  /** The folder that scripts/build.ts wrote. */
  readonly bundle: string
  readonly sessions: readonly LabProcess[]
  /** Present where the agent speaks BGP. */
  readonly router: LabProcess | undefined
}

async function bench(): Promise<void> {
  const missing = await missingForLab([])
  if (missing.length > 0) {
    console.log(`not measured: ${missing.join(', ')}`)
    return
  }
  const folder = mkdtempSync(path.join(tmpdir(), 'bellhop-bench-'))
  await using network = await createNetwork({ prefix: 'bhsize' })
  const bundle = path.dirname(await buildBundle(path.join(folder, 'dist')))
  const node = await network.addNamespace('node', { forwarding: true })
  const link = await network.addBridge('link')
  await network.connect({ at: node, addresses: [`${agentAddress}/24`] }, { at: link })
  const server = await startApiServer({ authorization: 'RBAC', watchHistory: 30_000 })
  const front = await startTlsFront(loopback, server.port)
  const relay = await startRelay({
    ...{ namespace: node, address: loopback, port: 6443, target: { host: loopback, port: front.port } },
    socketPath: path.join(network.directory, 'api.sock'),
  })
  for (const object of manifest) server.objects.put(object)
  if (speaks) for (const object of bgpObjects()) server.objects.put(object)
  putLeases(server)
  const renewal = setInterval(() => putLeases(server), 10_000)
  try {
    const sessions = await Promise.all(
      controllers.map((address, i) => spawnAt({ network, link, name: `c${i}`, address, role: 'controller' })),
    )
    const router = speaks
      ? await spawnAt({ network, link, name: 'tor', address: routerAddress, role: 'router' })
      : undefined
    const world: World = { folder, network, node, server, front, bundle, sessions, router }
    let stored = 0
    for (const vips of onlyStalls ? sizes.slice(-1) : sizes) {
      for (; stored < vips; stored++) putVip(server, stored)
      if (!onlyStalls) await measureMemory(world, vips, vips === sizes.at(-1) ? restSeconds : 0)
    }
    await measureStalls(world, stored)
  } finally {
    clearInterval(renewal)
    await relay.close()
    await front.close()
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** This very file in another role, on a host of its own. */
async function spawnAt(at: {
  readonly network: Network
  readonly link: Bridge
  readonly name: string
  readonly address: Ip
  readonly role: string
}): Promise<LabProcess> {
  const namespace = await at.network.addNamespace(at.name)
  await at.network.connect({ at: namespace, addresses: [`${at.address}/24`] }, { at: at.link })
  return namespace.spawn(nodeProgram('bench/agent.bench.ts', [at.role, at.address]))
}

/** The agent's node is the first of the invented ones, and each Service has one of its endpoints there. */
const endpoints = (index: number, state: EndpointState['state']): readonly EndpointState[] =>
  Array.from({ length: 10 }, (_, k) => ({ pod: index * 10 + k, node: nodeName(k), state: k === 0 ? state : 'ready' }))

function putVip(server: ApiServerHandle, index: number): void {
  if (!speaks) {
    server.objects.put(vipObject(index, `uid-${index}`))
    return
  }
  const service = server.objects.put(serviceObject(index, { settled: true }))
  server.objects.put(vipObject(index, stringAt(service, 'metadata', 'uid') ?? ''))
  putEndpoints(server, index, 'ready')
}

const putEndpoints = (server: ApiServerHandle, index: number, state: EndpointState['state']): void =>
  void server.objects.put(sliceObject(serviceName(index), 'k8s', endpoints(index, state)))

function bgpObjects(): readonly JsonObject[] {
  const router = { address: routerAddress, port: 179, asn: routerAsn }
  const node = nodeObject(0, { ready: true })
  const status = { ...objectAt(node, 'status'), addresses: [{ type: 'InternalIP', address: agentAddress }] }
  return [
    { ...node, status },
    ...configurationObjects([router]).map((object) =>
      object['kind'] === 'BgpPeer' ? { ...object, spec: { ...objectAt(object, 'spec'), speaker: 'node' } } : object,
    ),
  ]
}

/** The controllers' signs of life, as they are renewed. */
function putLeases(server: ApiServerHandle): void {
  for (const [i, address] of controllers.entries())
    server.objects.put({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name: `bellhop-replica-${i}`,
        namespace: bellhopNamespace,
        labels: { 'bellhop.io/role': 'controller' },
        annotations: { 'bellhop.io/liveness-address': address },
      },
      spec: {
        holderIdentity: `c${i}`,
        leaseDurationSeconds: 40,
        renewTime: new Date().toISOString().replace('Z', '000Z'),
      },
    })
}

interface StartedAgent {
  readonly process: LabProcess
  /** From the start of the process until the rules for all VIPs stood. */
  readonly seconds: number
}

/** Starts an agent and waits until its rules stand and all controllers have a session with it. */
async function startAgent(world: World, vips: number, options: string): Promise<StartedAgent> {
  const { node, server, front, bundle, sessions } = world
  const token = server.serviceAccountToken(bellhopNamespace, 'bellhop-agent')
  const argv = containerArgv({
    ...{ workload, namespace: node, bundle, folder: mkdtempSync(path.join(world.folder, 'agent-')) },
    fields: {
      ...{ 'metadata.name': 'bellhop-agent-x', 'metadata.namespace': bellhopNamespace },
      'spec.nodeName': nodeName(0),
    },
    serviceAccount: {
      ...{ token, ca: front.ca, namespace: bellhopNamespace },
      server: { host: loopback, port: 6443 },
    },
    args: ['--log-format', 'json', ...furtherFlags],
    env: { NODE_OPTIONS: options },
  })
  const upBefore = sessions.map(ups)
  const begunMs = performance.now()
  const agent = node.spawn(argv)
  await agent.waitUntil(() => attestedVips(server) === String(vips), {
    what: `the rules for ${vips} VIPs`,
    intervalMs: 10,
  })
  const seconds = (performance.now() - begunMs) / 1000
  await agent.waitUntil(() => sessions.every((session, i) => ups(session) > (upBefore[i] ?? 0)), {
    what: 'sessions with all controllers',
  })
  return { process: agent, seconds }
}

/** How many VIPs the node's Lease says are in place; nothing while there is no Lease. */
function attestedVips(server: ApiServerHandle): string | undefined {
  const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', namespace: bellhopNamespace }
  const annotations = server.objects.get({ ...lease, name: `bellhop-agent-${nodeName(0)}` })
  const inPlace = stringAt(annotations, 'metadata', 'annotations', 'bellhop.io/in-place')
  return inPlace === undefined || inPlace === '0'
    ? undefined
    : stringAt(annotations, 'metadata', 'annotations', 'bellhop.io/vips')
}

const ups = (session: LabProcess): number => session.output().split('session Up').length

async function measureMemory(world: World, vips: number, rest: number): Promise<void> {
  const { process: agent, seconds } = await startAgent(world, vips, nodeOptions)
  try {
    // Two of its rounds.
    await pause(22_000)
    const { resident, proportional, own, peak } = memoryOf(agent.pid)
    line(`${vips} VIPs: resident`, `${resident} MB (own ${own}, proportional ${proportional}, peak ${peak})`, '80 MB')
    line('  process start until the rules stand', `${seconds.toFixed(2)} s`)
    line('  processor time until now', `${cpuSecondsOf(agent.pid).toFixed(2)} s`)
    if (rest === 0) return
    const before = cpuSecondsOf(agent.pid)
    await pause(rest * 1000)
    const share = ((cpuSecondsOf(agent.pid) - before) / rest) * 100
    line(`  at rest for ${rest} s: share of a core`, `${share.toFixed(2)} %`, '0.5 %')
    line('  resident then', `${memoryOf(agent.pid).resident} MB`, '80 MB')
  } finally {
    await agent.stop({ graceMs: 10_000 })
  }
}

/** How long the one thread that also answers BFD is held up by what happens to an agent, and whether a controller gave it up. */
async function measureStalls(world: World, vips: number): Promise<void> {
  const { server, node, sessions } = world
  const probe = `--import=${path.resolve(import.meta.dirname, 'agent-stalls.ts')}`
  const { process: agent } = await startAgent(world, vips, `${nodeOptions} ${probe}`)
  let told = 0
  const phase = async (what: string, happens: () => Promise<void>, restMs = 5_000): Promise<void> => {
    const lostBefore = sessions.map(downs)
    await happens()
    await pause(restMs)
    const lost = sessions.reduce((sum, session, i) => sum + downs(session) - (lostBefore[i] ?? 0), 0)
    const all = [...agent.output().matchAll(/held up for (\d+) ms/g)].map(([, ms]) => Number(ms))
    const stalls = all.slice(told)
    told = all.length
    const frequent = stalls.filter((ms) => ms >= 50).length
    line(
      `${vips} VIPs, ${what}: held up for at most`,
      `${Math.max(0, ...stalls)} ms (${frequent} of 50 or more)`,
      '900 ms is a dead node',
    )
    if (lost > 0) line('  sessions that controllers lost meanwhile', String(lost), '0')
  }
  const relist = async (): Promise<void> => {
    server.compact()
    await server.restart({ keepData: true })
    for (let i = 0; i < Math.min(vips, 500); i++) change(server, i, '8443')
  }
  try {
    await phase('the start', () => whenTold(world, vips))
    await phase('1,000 changes a second', () => changeFast(server, vips))
    await phase('everything listed anew', relist, 12_000)
    await phase('all rules of the node gone', () => loseRules(node), 15_000)
    const busy = [0, 1].map(() => node.spawn([process.execPath, '-e', 'for (;;);']))
    await phase('1,000 changes a second beside two busy programs', () => changeFast(server, vips))
    await phase('everything listed anew beside two busy programs', relist, 12_000)
    await Promise.all(busy.map((program) => program.stop()))
  } finally {
    await agent.stop({ graceMs: 10_000 })
  }
}

const downs = (session: LabProcess): number => session.output().split('session Down').length

/** Until the router has every VIP, where there is one. */
async function whenTold({ router }: World, vips: number): Promise<void> {
  await router?.waitUntil(() => router.output().endsWith(`holds ${vips}`), {
    what: `${vips} routes`,
    timeoutMs: 60_000,
  })
}

function change(server: ApiServerHandle, index: number, port: string): void {
  if (speaks) putEndpoints(server, index, port === '443' ? 'ready' : 'unready')
  else server.objects.put(JSON.parse(JSON.stringify(vipObject(index, `uid-${index}`)).replace('443', port)))
}

/** For five seconds. */
async function changeFast(server: ApiServerHandle, vips: number): Promise<void> {
  const beganMs = performance.now()
  for (let done = 0; done < 5_000; ) {
    const due = Math.min(5_000, performance.now() - beganMs)
    for (; done < due; done++) change(server, (done * 7) % vips, (done & 1) === 0 ? '8443' : '443')
    await pause(5)
  }
}

/** As an administrator who starts anew would do it. */
async function loseRules(node: Namespace): Promise<void> {
  await node.run(['nft', 'flush', 'ruleset'])
}

/** Megabytes, from smaps_rollup. */
interface MemoryUse {
  readonly resident: number
  /** Pages that several processes have count in part. */
  readonly proportional: number
  /** Pages of no file: what the process has made itself. */
  readonly own: number
  readonly peak: number
}

function memoryOf(pid: number): MemoryUse {
  const text = `${readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')}${readFileSync(`/proc/${pid}/status`, 'utf8')}`
  const field = (name: string): number =>
    Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / 102.4) / 10
  return { resident: field('Rss'), proportional: field('Pss'), own: field('Anonymous'), peak: field('VmHWM') }
}

/** proc(5): utime and stime are the 14th and 15th field, in ticks of 10 ms; the 2nd may hold blanks. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

const [role, ...roleArguments] = process.argv.slice(2)
const own = parseIp(roleArguments[0] ?? '')
if (role === 'controller') speak(must(own))
else if (role === 'router') await route(must(own))
else await bench()
