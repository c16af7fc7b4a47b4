// Nodes that speak for themselves, in one process: the agents' BGP part against the lab's API server, with the rights that the
// manifests give it, and routers on loopback that take no ADD-PATH. No controller runs: Services and Vips are as one has left them.

import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { followNodePeers, type NodePeers } from '../../src/agent/node-peers.ts'
import type { JsonObject } from '../../src/lab/apiserver/json.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { type Receiver, startReceiver } from '../../src/lab/receiver/receiver.ts'
import { parseAsn, parseRouterId } from '../../src/net/asn.ts'
import { parseIp } from '../../src/net/ip.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { startTestCluster, type TestCluster } from '../k8s/support/api-server.ts'
import { slice } from '../k8s/support/manifests.ts'

const deploy = path.resolve(import.meta.dirname, '../../deploy')
const address = must(parseIp('203.0.113.10'))
const bellhop = 'bellhop.io/v1alpha1'

let cluster: TestCluster
let router: Receiver
const running: (() => Promise<unknown>)[] = []

/** Where the sessions of a node come from: all of 127.0.0.0/8 is this host. */
const sourceOf = (node: string): string => `127.0.0.1${node.slice(1)}`
/** What it announces, since no router accepts a loopback address. */
const addressOf = (node: string): string => `10.0.7.${node.slice(1)}`

const grant = (...files: readonly string[]): void => {
  for (const file of files)
    for (const document of parseAllDocuments(readFileSync(path.join(deploy, file), 'utf8')))
      cluster.server.objects.put(document.toJS())
}
const putNode = (
  name: string,
  annotations: Readonly<Record<string, string>> = {},
  labels: Readonly<Record<string, string>> = { rack: 'r1' },
): void =>
  void cluster.server.objects.put({
    ...{ apiVersion: 'v1', kind: 'Node' },
    metadata: {
      name,
      labels: { ...labels },
      annotations: {
        'bellhop.io/bgp-source-address': sourceOf(name),
        'bellhop.io/next-hop': addressOf(name),
        ...annotations,
      },
    },
    status: { addresses: [{ type: 'InternalIP', address: `10.0.0.${name.slice(1)}` }] },
  })
const putPeer = (name: string, spec: JsonObject = {}): void =>
  void cluster.server.objects.put({
    ...{ apiVersion: bellhop, kind: 'BgpPeer', metadata: { name } },
    spec: {
      ...{ address: '127.0.0.1', port: router.port, asn: 64513, speaker: 'node' },
      timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 1 },
      ...spec,
    },
  })
const putEndpoints = (...nodes: readonly string[]): void =>
  void cluster.server.objects.put(
    slice(
      'web-1',
      'web',
      nodes.map((nodeName, i) => ({ addresses: [`10.244.0.${i + 1}`], nodeName, conditions: { ready: true } })),
    ),
  )
const remove = (kind: string, name: string): unknown =>
  cluster.server.objects.delete({ apiVersion: bellhop, kind, name })

/** What the agents of this process say of their rules; empty = nothing, and then nobody is waited for. */
let attested: Readonly<Record<string, string>> = {}
const toldOfRules = new Set<() => void>()

async function start(node: string, account = 'bellhop-agent'): Promise<NodePeers> {
  const stopping = new AbortController()
  const token = cluster.server.serviceAccountToken('bellhop-system', account)
  const nodePeers = followNodePeers({
    ...{ client: await cluster.connect({ token }), namespace: 'bellhop-system', node },
    ...{ clock: systemClock, random: () => 0.5, log: silentLog, signal: stopping.signal, onChange: () => {} },
    serviceClass: { name: 'bellhop.io/bgp', handleDefault: true },
    rules: { annotations: () => attested, onChange: (listener) => void toldOfRules.add(listener) },
  })
  running.push(async () => {
    await nodePeers.stop()
    stopping.abort()
  })
  return nodePeers
}

const becomes = (what: string, condition: () => boolean, evidence: () => unknown = () => ''): Promise<unknown> =>
  waitFor(async () => condition(), {
    ...{ what, timeoutMs: 30_000, intervalMs: 20 },
    evidence: () => JSON.stringify(evidence()),
  })
const legs = (): string => router.nextHops(hostPrefix(address)).join(' ')
const legsBecome = (...nodes: readonly string[]): Promise<unknown> =>
  becomes(
    `legs over ${nodes.join(', ') || 'nobody'}`,
    () => legs() === nodes.map(addressOf).join(' '),
    () => ({
      legs: legs(),
      routers: router.sessions(),
      prefixes: router.prefixes(),
    }),
  )
const entries = (name: string): readonly Readonly<Record<string, unknown>>[] => {
  const status = cluster.server.objects.get({ apiVersion: bellhop, kind: 'BgpPeer', name })?.['status'] as
    | { readonly sessions?: readonly Readonly<Record<string, unknown>>[] }
    | undefined
  return status?.sessions ?? []
}
const entryOf = (name: string, node: string): Readonly<Record<string, unknown>> | undefined =>
  entries(name).find(({ speaker }) => speaker === node)

beforeAll(async () => {
  cluster = await startTestCluster({ authorization: 'RBAC' })
  grant('base/namespace.yaml', 'base/agent-rbac.yaml')
  router = await startReceiver({
    ...{ asn: must(parseAsn(64513)), routerId: must(parseRouterId('10.9.9.9')), addPath: false },
  })
  for (const name of ['n1', 'n2']) putNode(name)
  const web = cluster.server.objects.put({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'default' } },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
    status: { loadBalancer: { ingress: [{ ip: address }] } },
  })
  const { uid } = web['metadata'] as { readonly uid: string }
  const claim = { namespace: 'default', name: 'web', uid, ports: [{ protocol: 'TCP', port: 80 }], shareKey: '' }
  for (const object of [
    { kind: 'BgpConf', metadata: { name: 'default' }, spec: { asn: 64512 } },
    { kind: 'VipPool', metadata: { name: 'default' }, spec: { addresses: ['203.0.113.0/24'] } },
    { kind: 'Vip', metadata: { name: address }, spec: { address, pool: 'default', services: [claim] } },
  ])
    cluster.server.objects.put({ apiVersion: bellhop, ...object })
  putEndpoints('n1', 'n2')
})
afterEach(async () => {
  for (const stop of running.splice(0)) await stop()
  for (const { metadata } of cluster.server.objects.list(bellhop, 'BgpPeer'))
    remove('BgpPeer', String((metadata as JsonObject)['name']))
})
afterAll(async () => {
  await router?.close()
  await cluster?.stop()
})

test('without the rights of deploy/node-speakers an agent says what it lacks, and where to find it', async () => {
  putPeer('tor')
  const agent = await start('n1')
  await becomes('the reason', () => agent.facts().problem?.includes('forbidden') === true, agent.facts)
  expect(agent.facts().problem).toContain('(deploy/node-speakers gives the agents the rights)')
  expect(agent.notReady()).toContain('BGP is waiting for the first list of')
  expect(router.sessions()).toEqual([])
  grant('node-speakers/rbac.yaml')
})

test('an agent that may not even look for such peers says so', async () => {
  const metadata = { name: 'stranger', namespace: 'bellhop-system' }
  cluster.server.objects.put({ apiVersion: 'v1', kind: 'ServiceAccount', metadata })
  const agent = await start('n1', 'stranger')
  await becomes('the reason', () => agent.facts().problem?.includes('forbidden') === true, agent.facts)
  expect(agent.facts().problem).toMatch(/^waiting for the first list of BgpPeers: /)
  expect(agent.notReady()).toBe(undefined)
})

test('an agent that no peer selects has no speaker', async () => {
  putPeer('leaf', { speaker: 'controller' })
  putPeer('rack2', { nodeSelector: { matchLabels: { rack: 'r2' } } })
  const [watching, speaking] = [await start('n1'), await start('n2')]
  putNode('n2', {}, { rack: 'r2' })
  await becomes('the session of the other', () => speaking.facts().sessions?.established === 1, speaking.facts)
  expect(watching.facts()).toEqual({})
  expect(watching.notReady()).toBe(undefined)
  putNode('n2')
  await becomes('the end of it', () => speaking.facts().sessions === undefined, speaking.facts)
  expect([router.sessions(), entries('rack2')]).toEqual([[], []])
})

test('each node announces itself as the only next hop, for as long as it hosts an endpoint that counts', async () => {
  putPeer('tor')
  const agents = [await start('n1'), await start('n2')]
  await legsBecome('n1', 'n2')
  putEndpoints('n2')
  await legsBecome('n2')
  expect(agents.map(({ facts }) => facts().sessions)).toEqual([
    { peers: 1, established: 1 },
    { peers: 1, established: 1 },
  ])
  expect(agents.map(({ notReady }) => notReady())).toEqual([undefined, undefined])
  putEndpoints()
  await legsBecome()
  putEndpoints('n1', 'n2')
  await legsBecome('n1', 'n2')
  expect(router.complaints()).toEqual([])
})

test('each node has its entry in the status of the peer, under its own name, and takes it away with the session', async () => {
  putPeer('tor')
  await start('n1')
  await start('n2')
  for (const node of ['n1', 'n2'])
    await becomes(
      `the entry of ${node}`,
      () => entryOf('tor', node)?.['state'] === 'Established' && entryOf('tor', node)?.['announced'] === 1,
      () => entries('tor'),
    )
  const object = cluster.server.objects.get({ apiVersion: bellhop, kind: 'BgpPeer', name: 'tor' })
  expect(object).toMatchObject({
    metadata: {
      managedFields: expect.arrayContaining(
        ['n1', 'n2'].map((node) => expect.objectContaining({ manager: `bellhop-agent-${node}` })),
      ),
    },
  })
  putPeer('tor', { nodeSelector: { matchExpressions: [{ key: 'rack', operator: 'DoesNotExist' }] } })
  await becomes(
    'no entry',
    () => entries('tor').length === 0,
    () => entries('tor'),
  )
})

test('a node that leaves the rack ends its session in words, even where the router would wait for its return', async () => {
  putPeer('tor', {
    nodeSelector: { matchLabels: { rack: 'r1' } },
    gracefulRestart: { enabled: true, restartSeconds: 120 },
  })
  await start('n1')
  await legsBecome('n1')
  putNode('n1', {}, { rack: 'r2' })
  await legsBecome()
  // RFC 4486: Cease, Peer De-configured.
  expect(router.endedSessions().at(-1)?.ended?.notification).toMatchObject({ code: 6, subcode: 3 })
  putNode('n1')
  await legsBecome('n1')
})

test('an agent that ends says so, and its routes are gone at once', async () => {
  putPeer('tor')
  await start('n1')
  await start('n2')
  await legsBecome('n1', 'n2')
  await running.shift()?.()
  expect(legs()).toBe(addressOf('n2'))
  // RFC 4486: Cease, Administrative Shutdown.
  expect(router.endedSessions().at(-1)?.ended?.notification).toMatchObject({ code: 6, subcode: 2 })
})

test('annotations of a Node are its identity; nonsense in one ends no session, and keeps the next agent from having one', async () => {
  putPeer('tor')
  const agent = await start('n1')
  await legsBecome('n1')
  putNode('n1', { 'bellhop.io/bgp-asn': '65011', 'bellhop.io/router-id': '192.0.2.7' })
  await becomes(
    'another identity',
    () => router.sessions().some((s) => s.state === 'Established' && s.asn === 65011 && s.routerId === '192.0.2.7'),
    router.sessions,
  )
  putNode('n1', { 'bellhop.io/bgp-asn': 'mine' })
  const words = 'node n1: annotation bellhop.io/bgp-asn is "mine", which is no AS number'
  await becomes(
    'the entry',
    () => String(entryOf('tor', 'n1')?.['lastError']).startsWith(`${words}; what it said before counts`),
    () => entries('tor'),
  )
  expect(router.sessions()).toMatchObject([{ state: 'Established', asn: 65011, routerId: '192.0.2.7' }])
  expect(agent.facts().sessions).toEqual({ peers: 1, established: 1 })
  const events = (): readonly JsonObject[] =>
    cluster.server.objects
      .list('v1', 'Event', 'default')
      .filter((event) => (event['involvedObject'] as JsonObject)['name'] === 'n1')
  await becomes('the Event', () => events().some(({ message }) => message === words), events)
  await running.pop()?.()
  await start('n1')
  await becomes(
    'the entry of the next agent',
    () => entryOf('tor', 'n1')?.['lastError'] === words,
    () => entries('tor'),
  )
  expect(entryOf('tor', 'n1')).toMatchObject({ state: 'Idle' })
  await legsBecome()
  putNode('n1')
  await legsBecome('n1')
})

test('of Secrets an agent reads the one that the manifests name, and waits for no other', async () => {
  putPeer('other', { passwordSecretRef: { name: 'leaf1-md5' }, address: '127.0.0.2' })
  putPeer('ours', { passwordSecretRef: { name: 'bgp-node-peers', key: 'tor' }, address: '127.0.0.3' })
  putPeer('tor')
  cluster.server.objects.put({
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'bgp-node-peers', namespace: 'bellhop-system' } },
    data: { tor: btoa('a password') },
  })
  await start('n1')
  await legsBecome('n1')
  const refusal = "there is no Secret leaf1-md5 in Bellhop's namespace"
  await becomes(
    'the entry',
    () => entryOf('other', 'n1')?.['lastError'] === refusal,
    () => entries('other'),
  )
  await becomes(
    'a session that is tried',
    () => ![undefined, refusal].includes(entryOf('ours', 'n1')?.['lastError'] as string),
    () => entries('ours'),
  )
  expect(JSON.stringify(entries('ours'))).not.toContain('password in Secret')
})

test('a Node that is drained withdraws, and keeps its session', async () => {
  putPeer('tor')
  cluster.server.objects.put({
    ...{ apiVersion: bellhop, kind: 'BgpConf', metadata: { name: 'default' } },
    spec: { asn: 64512, drainGraceSeconds: 0 },
  })
  const agent = await start('n1')
  await legsBecome('n1')
  putNode('n1', { 'bellhop.io/drain': 'true' })
  await legsBecome()
  expect(agent.facts().sessions).toEqual({ peers: 1, established: 1 })
  putNode('n1')
  await legsBecome('n1')
})

test('a route waits until the node has the rules for its VIP', async () => {
  putPeer('tor')
  attested = { 'bellhop.io/boot': 'first', 'bellhop.io/in-place': '0' }
  const agent = await start('n1')
  await becomes('the session', () => agent.facts().sessions?.established === 1, agent.facts)
  await becomes('an End-of-RIB', () => router.sessions().some(({ endOfRib }) => endOfRib.length > 0), router.sessions)
  expect(legs()).toBe('')
  attested = { ...attested, 'bellhop.io/in-place': '9'.repeat(12) }
  for (const tell of toldOfRules) tell()
  await legsBecome('n1')
  attested = {}
})
