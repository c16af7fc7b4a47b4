// What runs, runs with what the manifests give it and nothing else: agent and controller as bundles in a container's place (see
// test/support/container.ts), with the capabilities, the read-only root file system, the mounts, the user and the service account of
// deploy/, and the programs that docker/Dockerfile installs.

import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundle } from '../../scripts/build.ts'
import type { JsonObject } from '../../src/lab/apiserver/json.ts'
import { type ApiServerHandle, startApiServer } from '../../src/lab/apiserver/server.ts'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { createNetwork, type Network } from '../../src/lab/netns/network.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { type Relay, startRelay } from '../../src/lab/topology/relay.ts'
import { parseIp } from '../../src/net/ip.ts'
import { must } from '../../src/runtime/result.ts'
import { capabilitiesOf, capabilityMask, containerArgv, imagePackages } from '../support/container.ts'
import { describeWith } from '../support/privileges.ts'
import { startTlsFront, type TlsFront } from '../support/tls-front.ts'
import { at, nameOf, renderNodeSpeakers } from './rendered.ts'

const root = path.resolve(import.meta.dirname, '../..')
const namespace = 'bellhop-system'
const bellhop = 'bellhop.io/v1alpha1'
const vip = '203.0.113.10'
const onLink = '10.79.0.100'
const routers = { agent: '10.79.0.3', controller: '10.79.0.4' } as const
const addresses = { agent: '10.79.0.1', controller: '10.79.0.2' } as const
const none = '0000000000000000'

const birdConfiguration = `
router id 10.79.0.3;
protocol device { scan time 1; }
protocol kernel { ipv4 { export none; }; }
${Object.entries(routers)
  .map(
    ([name, local]) => `protocol bgp from_${name} {
  local ${local} as 64513; neighbor ${addresses[name as 'agent' | 'controller']} as 64512; passive;
  ipv4 { import all; export none; add paths rx; };
}`,
  )
  .join('\n')}
`

const programs = [
  'kubectl',
  'openssl',
  'setpriv',
  'dpkg',
  'nft',
  'iptables-nft-save',
  'iptables-legacy-save',
  'bird',
  'curl',
]

describeWith({ netns: true, programs }, 'the containers of deploy/', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'bellhop-containers-'))
  const manifests = renderNodeSpeakers()
  let network: Network
  let server: ApiServerHandle
  let front: TlsFront
  const relays: Relay[] = []
  const nodes = new Map<'agent' | 'controller', Namespace>()
  let birdSocket = ''
  let agent: LabProcess
  let controller: LabProcess
  const running = { agent: () => agent, controller: () => controller } as const
  const hosts = (name: 'agent' | 'controller'): Namespace => nodes.get(name) as Namespace

  const workload = (name: 'agent' | 'controller'): JsonObject => {
    const kind = name === 'agent' ? 'DaemonSet' : 'Deployment'
    return manifests.find((object) => nameOf(object) === `${kind}/bellhop-${name}`) as JsonObject
  }
  const start = (name: 'agent' | 'controller', args: readonly string[] = []): LabProcess =>
    hosts(name).spawn(
      containerArgv({
        ...{ workload: workload(name), namespace: hosts(name), bundle: path.join(folder, 'dist') },
        ...{ folder: mkdtempSync(path.join(folder, `${name}-`)), args },
        fields: { 'metadata.name': `bellhop-${name}-0`, 'metadata.namespace': namespace, 'spec.nodeName': name },
        serviceAccount: {
          ...{ token: server.serviceAccountToken(namespace, `bellhop-${name}`), ca: front.ca, namespace },
          server: { host: '127.0.0.1', port: 6443 },
        },
      }),
    )
  const put = (kind: string, name: string, spec: JsonObject): JsonObject =>
    server.objects.put({ apiVersion: bellhop, kind, metadata: { name }, spec })
  const leaseOf = (name: string): JsonObject | undefined =>
    server.objects.get({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', namespace, name })
  const putService = (name: string, annotations: Readonly<Record<string, string>>): void => {
    const ports = [{ name: 'http', protocol: 'TCP', port: 80 }]
    server.objects.put({
      ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, annotations }, spec: { type: 'LoadBalancer', ports } },
    })
    server.objects.put({
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4', ports },
      metadata: { name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
      endpoints: [{ addresses: ['10.244.0.1'], nodeName: 'agent', conditions: { ready: true } }],
    })
  }
  const evidence = (): string => `${agent.output()}\n${controller.output()}`
  const becomes = (what: string, look: () => boolean | Promise<boolean>): Promise<unknown> =>
    waitFor(look, { what, timeoutMs: 60_000, evidence })
  // The shell before it has prepared the mounts by then, and is gone.
  const hasBegun = (name: 'agent' | 'controller'): Promise<unknown> =>
    becomes(`the ${name} to begin`, () => running[name]().output().includes(`"event":"${name}-started"`))
  const bird = (command: string): Promise<string> =>
    hosts('agent').run(['birdc', '-s', birdSocket, ...command.split(' ')])
  const annotation = (name: string): string =>
    String(at(leaseOf('bellhop-agent-agent'), 'metadata', 'annotations', `bellhop.io/${name}`))

  beforeAll(async () => {
    await bundle({ root, entry: 'src/cli/main.ts', outputFolder: path.join(folder, 'dist') })
    network = await createNetwork({ prefix: 'bhcont' })
    server = await startApiServer({ authorization: 'RBAC' })
    front = await startTlsFront('127.0.0.1', server.port)
    const link = await network.addBridge('link')
    for (const name of ['agent', 'controller'] as const) {
      const host = await network.addNamespace(name, { forwarding: true })
      await network.connect({ at: host, interface: 'eth0', addresses: [`${addresses[name]}/24`] }, { at: link })
      nodes.set(name, host)
      const target = { host: '127.0.0.1', port: front.port }
      const socketPath = path.join(network.directory, `${name}.sock`)
      relays.push(
        await startRelay({ namespace: host, address: must(parseIp('127.0.0.1')), port: 6443, socketPath, target }),
      )
    }
    for (const object of manifests) server.objects.put(object)
    for (const name of ['agent', 'controller'] as const)
      server.objects.put({
        ...{ apiVersion: 'v1', kind: 'Node', metadata: { name, labels: { rack: name } } },
        status: {
          addresses: [{ type: 'InternalIP', address: addresses[name] }],
          conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'ready' }],
        },
      })
    put('BgpConf', 'default', { asn: 64512 })
    put('BgpPeer', 'of-nodes', { address: routers.agent, asn: 64513, speaker: 'node' })
    put('BgpPeer', 'of-controllers', { address: routers.controller, asn: 64513 })
    put('VipPool', 'default', { addresses: [`${vip}/32`] })
    put('VipPool', 'link', {
      addresses: [`${onLink}/32`],
      autoAssign: false,
      mode: 'layer2',
      layer2: { interfaces: ['eth0'] },
    })
    putService('web', {})
    putService('office', { 'bellhop.io/pool': 'link' })
    const router = await network.addNamespace('router')
    const own = Object.values(routers).map((address) => `${address}/24` as const)
    await network.connect({ at: router, addresses: own }, { at: link })
    const configuration = path.join(network.directory, 'bird.conf')
    writeFileSync(configuration, birdConfiguration)
    birdSocket = path.join(network.directory, 'bird.ctl')
    router.spawn(['bird', '-f', '-c', configuration, '-s', birdSocket])
    agent = start('agent')
    controller = start('controller')
  }, 60_000)
  afterAll(async () => {
    for (const relay of relays) await relay.close()
    await front?.close()
    await server?.stop()
    await network?.destroy()
    rmSync(folder, { recursive: true, force: true })
  })

  test.each(['agent', 'controller'] as const)(
    'the %s is root with the capabilities of its manifest alone',
    async (name) => {
      await hasBegun(name)
      const status = readFileSync(`/proc/${running[name]().pid}/status`, 'utf8')
      const field = (key: string): string | undefined => new RegExp(`^${key}:\\s+(.+)$`, 'm').exec(status)?.[1]
      const given = capabilityMask(capabilitiesOf(workload(name)))
      expect(
        Object.fromEntries(
          ['Uid', 'CapPrm', 'CapEff', 'CapBnd', 'CapInh', 'CapAmb', 'NoNewPrivs'].map((key) => [key, field(key)]),
        ),
      ).toEqual({
        ...{
          Uid: '0\t0\t0\t0',
          CapPrm: given,
          CapEff: given,
          CapBnd: given,
          CapInh: none,
          CapAmb: none,
          NoNewPrivs: '1',
        },
      })
    },
  )

  test.each([
    ['agent', ['/run/xtables.lock']],
    ['controller', []],
  ] as const)('the %s can write nothing but %j', async (name, writable) => {
    await hasBegun(name)
    // Places as the process sees them.
    const mounts = readFileSync(`/proc/${running[name]().pid}/mountinfo`, 'utf8').trim().split('\n')
    const seen = mounts.flatMap((line) => {
      const [, , , , place = '', options = ''] = line.split(' ')
      // Every container can write its devices, and of /proc what is not /proc/sys.
      const isEverybodys = place === '/proc' || place.startsWith('/dev/')
      return options.split(',').includes('rw') && !isEverybodys ? [place] : []
    })
    expect(mounts.length).toBeGreaterThan(writable.length)
    expect(seen).toEqual([...writable])
  })

  test('the agent opens the node, says so, answers BFD, speaks BGP and answers on the link', async () => {
    await becomes('rules for both VIPs', () => annotation('vips') === '2' && BigInt(annotation('in-place')) > 0n)
    const chains = await hosts('agent').run(['iptables-nft-save', '-t', 'filter'])
    expect(chains).toContain('-A FORWARD')
    expect(chains).toContain(vip)
    await becomes('its session', () => annotation('bgp-sessions') === '1/1')
    await becomes('its route', async () => (await bird('show route all protocol from_agent')).includes(`${vip}/32`))
    await becomes('the VIP on its link', async () =>
      (await hosts('agent').run(['ip', '-4', 'address', 'show', 'dev', 'eth0'])).includes(`${onLink}/32`),
    )
    const metrics = (): Promise<string> => hosts('agent').run(['curl', '-s', 'http://127.0.0.1:7475/metrics'])
    await becomes('its liveness session', async () => (await metrics()).includes('liveness_sessions{state="Up"} 1'))
    expect(annotation('problem')).toBe('undefined')
    expect((await hosts('agent').run(['curl', '-s', 'http://127.0.0.1:7475/readyz'])).trim()).toBe('ok')
  })

  test('the controller allocates, listens on port 179, and announces with the node as next hop', async () => {
    const { agent: nextHop } = addresses
    await becomes('the route', async () =>
      new RegExp(`${vip}/32[^]*BGP.next_hop: ${nextHop}`).test(await bird('show route all protocol from_controller')),
    )
    expect(await hosts('controller').run(['ss', '-Hltn', 'sport', '=', ':179'])).toContain('LISTEN')
    expect((await hosts('controller').run(['curl', '-s', 'http://127.0.0.1:7474/readyz'])).trim()).toBe('ok')
  })

  test.each([
    ['legacy', ['--backend', 'legacy']],
    ['nftables', ['--backend', 'nftables', '--enforce-source-ranges', 'true', '--refuse-unused-ports', 'true']],
  ])('the agent has what it needs for %s, too, and leaves nothing behind', async (backend, args) => {
    await agent.stop({ graceMs: 10_000 })
    agent = start('agent', args)
    await becomes(`rules by ${backend}`, () => annotation('backend') === backend && annotation('vips') === '2')
    expect(annotation('problem')).toBe('undefined')
    await agent.stop({ graceMs: 10_000 })
    const { status } = await start('agent', ['--cleanup']).end
    expect(status).toBe(0)
    const left = await hosts('agent').run(['sh', '-c', 'nft list ruleset; iptables-legacy-save; ip address'])
    expect(left).not.toMatch(/bellhop/i)
    expect(left).not.toContain(onLink)
  })
})

describe('docker/Dockerfile', () => {
  test('installs each program that the agent and the controller run', () => {
    const asked = globSync('src/{iptables,nftables,datapath,layer2,agent,controller}/**/*.ts', { cwd: root })
      .map((file) => readFileSync(path.join(root, file), 'utf8'))
      .flatMap((text) => [...text.matchAll(/exec\('([a-z0-9-]+)'/g)].map(([, program = '']) => program))
    expect(new Set(asked)).toEqual(new Set(['ip', 'iptables', 'nft']))
    expect(imagePackages()).toEqual(['iptables', 'nftables', 'iproute2'])
  })
})
