// Bellhop beside MetalLB in its native mode: the same objects on the same kind of API server, the same router in another thread, both
// programs watched from outside. MetalLB is no Debian package, so its programs are named by the environment; without them this file
// says that nothing was measured. Services are of policy Local with one endpoint, on the node of the one MetalLB speaker, so that
// both have the same routes to send.
//
// It opens sockets on every interface it finds, so this runs in a network namespace that has only loopback.
//
//   BENCH_METALLB=<folder with controller and speaker> BENCH_METALLB_CRDS=<folder of its CRDs>
//     unshare --net sh -c 'ip link set lo up && node bench/metallb.bench.ts'
//   BENCH_API_SERVER=<program>    instead of the embedded API server: starts an empty one, writes a kubeconfig to the file it is given,
//                                 prints the URL of a plain HTTP proxy to it, and ends it when told to end
//   BENCH_SERVICES=1000 BENCH_CHANGES=100 BENCH_ROUNDS=2       other sizes; rounds are taken in turn

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { parseAllDocuments } from 'yaml'
import { isObject, type JsonObject, objectAt, stringAt } from '../src/lab/apiserver/json.ts'
import { startApiServer } from '../src/lab/apiserver/server.ts'
import { freePort } from '../src/lab/loopback/programs.ts'
import {
  bellhopNamespace,
  clusterAsn,
  configurationObjects,
  type EndpointState,
  namespaceName,
  nodeName,
  nodeObject,
  serviceName,
  serviceObject,
  sliceObject,
  vipCidr,
} from './cluster-objects.ts'
import { buildBundle, deployedEnvironment, deployedWorkload, type Running, start } from './cluster-process.ts'
import { nowMs, type Routers, startRouters } from './cluster-routers.ts'

const size = {
  services: Number(process.env['BENCH_SERVICES'] ?? 1_000),
  changes: Number(process.env['BENCH_CHANGES'] ?? 100),
  rounds: Number(process.env['BENCH_ROUNDS'] ?? 2),
}
const metallbNamespace = 'metallb-system'
const node = nodeName(0)
/** MetalLB takes no port above 16,384. */
const router = { address: '127.0.0.2', port: 1_790, asn: 64_600 }

/** What is measured of one product in one round; times in milliseconds. */
interface Figures {
  readonly created: readonly number[]
  readonly withdrawn: readonly number[]
  readonly announced: readonly number[]
  readonly allCreatedMs: number
  readonly restartMs: number
  /** Resident memory of all its processes, in MB, when all is announced. */
  readonly residentMb: number
  /** Messages that the whole table takes after the restart. */
  readonly updates: number
}

interface World {
  readonly directory: string
  readonly api: Api
  readonly kubeconfig: string
  readonly routers: Routers
}

interface Product {
  readonly name: string
  readonly configure: (world: World) => Promise<void>
  /** Starts the process that holds the BGP session. */
  readonly announcer: (world: World) => Promise<Running>
  /** And what else it consists of. */
  readonly others: (world: World) => Promise<readonly Running[]>
}

// ------------------------------------------------------------------------------------------------------ the API server

interface Api {
  readonly create: (object: JsonObject) => Promise<void>
  /** Sets the named fields of an object that exists, by a merge patch. */
  readonly patch: (object: JsonObject, fields: readonly string[], subresource?: 'status') => Promise<void>
}

const plurals: Readonly<Record<string, string>> = {
  EndpointSlice: 'endpointslices',
  BgpConf: 'bgpconfs',
  BgpPeer: 'bgppeers',
  VipPool: 'vippools',
  IPAddressPool: 'ipaddresspools',
  BGPAdvertisement: 'bgpadvertisements',
  BGPPeer: 'bgppeers',
  CustomResourceDefinition: 'customresourcedefinitions',
}

/** Objects by plain HTTP, as any client would; one that exists already is left as it is. */
function createApi(url: string): Api {
  const collectionOf = (object: JsonObject): string => {
    const apiVersion = stringAt(object, 'apiVersion') ?? ''
    const kind = stringAt(object, 'kind') ?? ''
    const namespace = stringAt(object, 'metadata', 'namespace')
    const group = apiVersion.includes('/') ? `apis/${apiVersion}` : `api/${apiVersion}`
    return `${url}/${group}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${plurals[kind] ?? `${kind.toLowerCase()}s`}`
  }
  const send = async (method: string, target: string, body: JsonObject, type: string): Promise<void> => {
    const answer = await fetch(target, { method, headers: { 'content-type': type }, body: JSON.stringify(body) })
    const text = await answer.text()
    if (!answer.ok && answer.status !== 409) throw new Error(`${method} ${target}: ${answer.status} ${text}`)
  }
  return {
    create: (object) => send('POST', collectionOf(object), object, 'application/json'),
    patch: (object, fields, subresource) => {
      const name = stringAt(object, 'metadata', 'name') ?? ''
      const target = [collectionOf(object), name, ...(subresource === undefined ? [] : [subresource])].join('/')
      const changed = Object.fromEntries(Object.entries(object).filter(([field]) => fields.includes(field)))
      return send('PATCH', target, changed, 'application/merge-patch+json')
    },
  }
}

interface Server {
  readonly url: string
  readonly stop: () => Promise<void>
}

async function startServer(kubeconfig: string): Promise<Server> {
  const program = process.env['BENCH_API_SERVER']
  if (program === undefined) {
    const server = await startApiServer({ watchHistory: 100_000 })
    writeFileSync(kubeconfig, server.kubeconfig(), { mode: 0o600 })
    return server
  }
  const child = spawn(program, [kubeconfig], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const url = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line').then(([line]) => String(line)),
    ended.then(() => Promise.reject(new Error(`${program} ended before it said where its server is`))),
  ])
  return {
    url,
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** A CustomResourceDefinition is served a moment after it is made. */
async function createEach(api: Api, objects: readonly JsonObject[]): Promise<void> {
  const endMs = nowMs() + 30_000
  for (const object of objects)
    for (;;)
      try {
        await api.create(object)
        break
      } catch (error) {
        if (nowMs() > endMs) throw error
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
}

const manifestsIn = (folder: string): readonly JsonObject[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
    .flatMap((name) => parseAllDocuments(readFileSync(path.join(folder, name), 'utf8')))
    .map((document): unknown => document.toJS())
    .filter(isObject)

// ------------------------------------------------------------------------------------------------------- the products

function bellhop(bundle: string): Product {
  const run = async ({ directory, kubeconfig }: World): Promise<Running> => {
    const httpPort = await freePort()
    const flags = {
      '--kubeconfig': kubeconfig,
      '--namespace': bellhopNamespace,
      '--name': 'bellhop-controller-0',
      '--node': node,
      '--http-port': String(httpPort),
      '--log-format': 'json',
    }
    return start({
      argv: [process.execPath, bundle, 'controller', ...Object.entries(flags).flat()],
      env: deployedEnvironment(deployedWorkload('base/controller.yaml', 'Deployment')),
      logPath: path.join(directory, 'bellhop.log'),
      ...{ httpPort, nowMs },
    })
  }
  return {
    name: 'Bellhop',
    configure: async ({ api }) => {
      await createEach(api, manifestsIn(path.resolve(import.meta.dirname, '../crds')))
      await createEach(api, configurationObjects([router]))
    },
    announcer: run,
    others: () => Promise.resolve([]),
  }
}

/** Each program of MetalLB looks for the Pod that it runs in. */
const podOf = (program: string): JsonObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: `${program}-0`, namespace: metallbNamespace },
  spec: { nodeName: node, containers: [{ name: program, image: `metallb-${program}` }] },
})

function metallb(programs: string, crds: string): Product {
  const run = (program: string, { directory, kubeconfig }: World, args: readonly string[]): Promise<Running> =>
    Promise.resolve(
      start({
        argv: [path.join(programs, program), ...args, `--namespace=${metallbNamespace}`],
        env: {
          KUBECONFIG: kubeconfig,
          METALLB_BGP_TYPE: 'native',
          METALLB_NODE_NAME: node,
          METALLB_POD_NAME: `${program}-0`,
        },
        logPath: path.join(directory, `metallb-${program}.log`),
        ...{ httpPort: 0, nowMs },
      }),
    )
  const named = (kind: string, spec: JsonObject, apiVersion = 'metallb.io/v1beta1'): JsonObject => ({
    ...{ apiVersion, kind },
    metadata: { name: 'bench', namespace: metallbNamespace },
    spec,
  })
  return {
    name: 'MetalLB',
    configure: async ({ api }) => {
      await createEach(api, manifestsIn(crds))
      await createEach(api, [
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: metallbNamespace } },
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespaceName } },
        { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: metallbNamespace } },
        ...['controller', 'speaker'].map(podOf),
        named('IPAddressPool', { addresses: [vipCidr], avoidBuggyIPs: false }),
        named('BGPAdvertisement', {}),
        named(
          'BGPPeer',
          { myASN: clusterAsn, peerASN: router.asn, peerAddress: router.address, peerPort: router.port },
          'metallb.io/v1beta2',
        ),
      ])
    },
    announcer: (world) => run('speaker', world, ['--port=0']),
    others: async (world) => [
      await run('controller', world, ['--port=0', '--webhook-mode=disabled', '--disable-cert-rotation']),
    ],
  }
}

// ------------------------------------------------------------------------------------------------------- the scenario

const endpoint = (index: number, state: EndpointState['state']): readonly EndpointState[] => [
  { pod: index, node, state },
]
const slice = (index: number, state: EndpointState['state']): JsonObject =>
  sliceObject(serviceName(index), 'k8s', endpoint(index, state))
const localService = (index: number): JsonObject => {
  const service = serviceObject(index, { settled: false })
  return { ...service, spec: { ...objectAt(service, 'spec'), externalTrafficPolicy: 'Local' } }
}

/** Resolves with the moment at which the router holds so many prefixes. */
const prefixesAre = (routers: Routers, count: number, what: string): Promise<number> =>
  routers.next((event) => (event.type === 'changes' && event.prefixes === count ? event.atMs : undefined), what)

/** Milliseconds from before `change` is sent to the UPDATE that brings the router to `prefixes`. */
async function timed(world: World, prefixes: number, change: () => Promise<void>): Promise<number> {
  const arrived = prefixesAre(world.routers, prefixes, `${prefixes} prefixes at the router`)
  const beganMs = nowMs()
  await change()
  return (await arrived) - beganMs
}

async function measure(product: Product, world: World): Promise<Figures> {
  const { api, routers } = world
  const nodeOfAll = nodeObject(0, { ready: true })
  await createEach(api, [nodeOfAll])
  await api.patch(nodeOfAll, ['status'], 'status')
  await product.configure(world)
  for (let i = 0; i < size.services; i++) await api.create(slice(i, 'ready'))
  const others = await product.others(world)
  let announcer = await product.announcer(world)
  try {
    // The first Service is the sign that everything is up.
    await timed(world, 1, () => api.create(localService(0)))
    const created: number[] = []
    for (let i = 1; i <= size.changes; i++) created.push(await timed(world, i + 1, () => api.create(localService(i))))
    const withdrawn: number[] = []
    const announced: number[] = []
    for (let i = 0; i < size.changes; i++) {
      withdrawn.push(await timed(world, size.changes, () => api.patch(slice(i, 'unready'), ['endpoints'])))
      announced.push(await timed(world, size.changes + 1, () => api.patch(slice(i, 'ready'), ['endpoints'])))
    }
    const allCreatedMs = await timed(world, size.services, async () => {
      for (let i = size.changes + 1; i < size.services; i++) await api.create(localService(i))
    })
    await announcer.stop()
    let updates = 0
    const unsubscribe = routers.onEvent((event) => {
      if (event.type === 'changes') updates += event.updates
    })
    const restartMs = await timed(world, size.services, async () => {
      announcer = await product.announcer(world)
    })
    unsubscribe()
    const residentMb = [announcer, ...others].reduce((sum, process) => sum + process.memory().residentMb, 0)
    return { created, withdrawn, announced, allCreatedMs, restartMs, residentMb, updates }
  } finally {
    for (const process of [announcer, ...others]) await process.stop()
  }
}

async function round(product: Product, number: number): Promise<Figures> {
  const directory = mkdtempSync(path.join(tmpdir(), 'bellhop-bench-'))
  const routers = await startRouters({ addresses: [router.address], asns: [router.asn], port: router.port })
  const kubeconfig = path.join(directory, 'kubeconfig')
  const server = await startServer(kubeconfig)
  try {
    const figures = await measure(product, { directory, api: createApi(server.url), kubeconfig, routers })
    rmSync(directory, { recursive: true, force: true })
    return figures
  } catch (error) {
    throw new Error(`${product.name}, round ${number}: its logs are in ${directory}`, { cause: error })
  } finally {
    await routers.stop()
    await server.stop()
  }
}

// -------------------------------------------------------------------------------------------------------------- report

const median = (samples: readonly number[]): number =>
  [...samples].sort((a, b) => a - b)[Math.floor(samples.length / 2)] ?? Number.NaN

const rows: readonly (readonly [what: string, unit: string, of: (figures: Figures) => number])[] = [
  ['a Service is created -> UPDATE at the router', 'ms', ({ created }) => median(created)],
  ['its only endpoint becomes unready -> withdrawn', 'ms', ({ withdrawn }) => median(withdrawn)],
  ['and ready again -> announced', 'ms', ({ announced }) => median(announced)],
  [`${size.services} Services created, the last is announced after`, 'ms', ({ allCreatedMs }) => allCreatedMs],
  ['the announcing process starts -> whole table', 'ms', ({ restartMs }) => restartMs],
  ['UPDATE messages of that table', '', ({ updates }) => updates],
  ['resident memory of all its processes', 'MB', ({ residentMb }) => residentMb],
]

async function main(): Promise<void> {
  const programs = process.env['BENCH_METALLB']
  const crds = process.env['BENCH_METALLB_CRDS']
  if (programs === undefined || crds === undefined) {
    console.log('not measured: BENCH_METALLB and BENCH_METALLB_CRDS name no MetalLB')
    return
  }
  if (Object.keys(networkInterfaces()).join() !== 'lo')
    throw new Error('there are other interfaces than loopback: run this in a network namespace of its own')
  const directory = mkdtempSync(path.join(tmpdir(), 'bellhop-bench-'))
  const products = [bellhop(await buildBundle(directory)), metallb(programs, crds)]
  const figures = new Map<string, Figures[]>(products.map(({ name }) => [name, []]))
  for (let i = 1; i <= size.rounds; i++)
    for (const product of products) figures.get(product.name)?.push(await round(product, i))
  rmSync(directory, { recursive: true, force: true })
  const [ours = [], theirs = []] = products.map(({ name }) => figures.get(name) ?? [])
  console.log(`${''.padEnd(56)}${'Bellhop'.padStart(12)}${'MetalLB'.padStart(12)}${'ratio'.padStart(8)}`)
  for (const [what, unit, of] of rows) {
    const [a, b] = [median(ours.map(of)), median(theirs.map(of))]
    const shown = (value: number): string => `${value.toFixed(value < 100 ? 1 : 0)} ${unit}`.padStart(12)
    console.log(`${what.padEnd(56)}${shown(a)}${shown(b)}${(b / a).toFixed(2).padStart(8)}`)
  }
}

await main()
