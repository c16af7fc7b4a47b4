// A cluster that is not the lab's, here the embedded API server in its place: what the lab makes on it, what it does not touch, and
// that nothing is left.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parse } from 'yaml'
import { stringAt } from '../../../src/lab/apiserver/json.ts'
import { type ApiServerHandle, startApiServer } from '../../../src/lab/apiserver/server.ts'
import type { ControlPlane } from '../../../src/lab/control-plane/control-plane.ts'
import {
  flattenedKubeconfig,
  type KubeconfigCluster,
  labScheduler,
  NamedClusterError,
  nodeKubeconfig,
  takeNamedCluster,
} from '../../../src/lab/control-plane/named-cluster.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { systemClock } from '../../../src/runtime/system-clock.ts'
import { describeWith } from '../../support/privileges.ts'

const node = (name: string) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name },
  status: { conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: '' }] },
})
const pod = (name: string, schedulerName: string, namespace = 'lab-ns') => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace },
  spec: { schedulerName, containers: [{ name: 'main', image: 'whoami' }] },
})

describeWith({ programs: ['kubectl'] }, 'A named cluster', () => {
  let server: ApiServerHandle
  let directory = ''
  let plane: ControlPlane | undefined
  const take = async (kubeconfig = server.kubeconfig()): Promise<ControlPlane> => {
    plane = await takeNamedCluster({
      ...{ kubeconfig, namespace: 'lab-ns', nodeNames: ['node1', 'node2'], directory },
      ...{ clock: systemClock, log: silentLog },
    })
    return plane
  }
  const names = (apiVersion: string, kind: string): readonly string[] =>
    server.objects.list(apiVersion, kind).map((object) => stringAt(object, 'metadata', 'name') ?? '')

  beforeEach(async () => {
    server = await startApiServer({ podDeletion: 'graceful' })
    directory = mkdtempSync(path.join(tmpdir(), 'bellhop-named-'))
    plane = undefined
  })
  afterEach(async () => {
    await plane?.stop()
    await server.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  test.each([
    ['Node', node('node2'), 'node/node2'],
    ['installation', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bellhop-system' } }, 'bellhop-system'],
  ])('with a %s that has a name of the lab’s is refused, and nothing is made there', async (_, object, named) => {
    server.objects.put(object)
    const before = names('v1', 'Namespace')
    await expect(take()).rejects.toThrow(named)
    expect(names('v1', 'Namespace')).toEqual(before)
  })

  test('whose administrator somebody is not is refused, and nothing is made there', async () => {
    await server.stop()
    server = await startApiServer({ podDeletion: 'graceful', authorization: 'RBAC' })
    const before = names('v1', 'Namespace')
    server.objects.put({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'viewer', namespace: 'default' } })
    const refused = take(server.kubeconfig(server.serviceAccountToken('default', 'viewer')))
    await expect(refused).rejects.toThrow('needs an administrator')
    await expect(refused).rejects.toBeInstanceOf(NamedClusterError)
    expect(names('v1', 'Namespace')).toEqual(before)
  })

  test('that cannot be reached is refused in kubectl’s last words, without what it logs', async () => {
    const kubeconfig = server.kubeconfig()
    await server.stop()
    await expect(take(kubeconfig)).rejects.toThrow(
      /^the cluster at http:\S+ cannot be used: The connection to the server [^\n]+$/,
    )
  })

  test('that takes no Service of two families is refused, and nothing is made there', async () => {
    const before = names('v1', 'Namespace')
    server.faults.inject(
      { kind: 'status', code: 403 },
      { matches: ({ resource }) => resource?.verb === 'create' && resource.resource === 'services' },
    )
    await expect(take()).rejects.toThrow('an IPv4 and an IPv6 address')
    expect(names('v1', 'Namespace')).toEqual(before)
  })

  test('of which something cannot be removed is said to have it, after everything else is gone', async () => {
    const taken = await take()
    for (const name of ['node1', 'node2']) server.objects.put(node(name))
    server.faults.inject(
      { kind: 'status', code: 403 },
      { matches: ({ resource }) => resource?.verb === 'delete' && resource.name === 'lab-ns' },
    )
    plane = undefined
    await expect(taken.stop()).rejects.toThrow(/^something of the lab is left .*\n {2}kubectl delete namespaces /s)
    expect(names('v1', 'Node')).toEqual([])
  })

  test.each([
    ['that does not exist', 'nowhere', /^there is no file .*nowhere$/],
    ['that names no cluster', 'empty', /empty is no kubeconfig to go by: /],
  ])('is not taken from a kubeconfig %s', async (_, name, words) => {
    writeFileSync(path.join(directory, 'empty'), '')
    await expect(flattenedKubeconfig(path.join(directory, name))).rejects.toThrow(words)
  })

  test('has its pods bound to the lab’s nodes: those of the lab, and by turns', async () => {
    server.objects.put(node('theirs'))
    await take()
    for (const name of ['node1', 'node2']) server.objects.put(node(name))
    for (const name of ['a', 'b']) server.objects.put(pod(name, labScheduler))
    for (const other of [pod('c', 'default-scheduler'), pod('d', labScheduler, 'default')]) server.objects.put(other)
    const placeOf = (name: string, namespace = 'lab-ns'): string | undefined =>
      stringAt(server.objects.get({ apiVersion: 'v1', kind: 'Pod', namespace, name }), 'spec', 'nodeName')
    await waitFor(() => placeOf('a') !== undefined && placeOf('b') !== undefined, { what: 'both pods to have a node' })
    expect([placeOf('a'), placeOf('b')].sort()).toEqual(['node1', 'node2'])
    expect([placeOf('c'), placeOf('d', 'default')]).toEqual([undefined, undefined])
  })

  test('has nothing left of the lab in the end, and what was there before', async () => {
    server.objects.put(node('theirs'))
    const service = (name: string, namespace: string) => ({
      ...{ apiVersion: 'v1', kind: 'Service' },
      metadata: { name, namespace, finalizers: ['service.kubernetes.io/load-balancer-cleanup'] },
      spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
    })
    server.objects.put(service('theirs', 'default'))
    const taken = await take()
    server.objects.put(node('node1'))
    server.objects.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bellhop-system' } })
    server.objects.put(service('whoami', 'lab-ns'))
    server.objects.put({ ...pod('a', labScheduler), spec: { ...pod('a', '').spec, nodeName: 'node1' } })
    await taken.stop()
    plane = undefined
    const gone = (): boolean => !names('v1', 'Namespace').some((name) => ['lab-ns', 'bellhop-system'].includes(name))
    await waitFor(gone, { what: 'the namespaces to be gone' })
    expect(names('v1', 'Node')).toEqual(['theirs'])
    expect(names('v1', 'Pod')).toEqual([])
    expect([...names('v1', 'Service')].sort()).toEqual(['kubernetes', 'theirs'])
  })

  test('sees Services of the lab’s class and pods of its scheduler, whatever the manifest says', async () => {
    const { adapt, programArgs, namespace } = await take()
    const adapted = adapt('kind: Service\nspec: {type: LoadBalancer}\n---\nkind: Deployment\nspec: {replicas: 3}\n')
    const [service = '', deployment = ''] = adapted.split('---\n')
    expect(programArgs).toEqual(['--class', `bellhop.io/${namespace}`, '--default-class', 'false'])
    expect(parse(service).spec).toEqual({ type: 'LoadBalancer', loadBalancerClass: `bellhop.io/${namespace}` })
    const list = parse(
      adapt('kind: List\nitems: [{kind: Service, spec: {type: LoadBalancer}}, {kind: VipPool, spec: {}}]\n'),
    )
    expect(list.items).toMatchObject([{ spec: { loadBalancerClass: `bellhop.io/${namespace}` } }, { spec: {} }])
    expect(parse(deployment).spec).toMatchObject({ replicas: 3, template: { spec: { schedulerName: labScheduler } } })
  })
})

// The relay's address is in no certificate.
test.each<[string, KubeconfigCluster, Readonly<Record<string, unknown>>]>([
  ['an address', { server: 'https://127.0.0.1:6443' }, { 'tls-server-name': 'kubernetes.default.svc' }],
  ['an address of IPv6', { server: 'https://[::1]:6443' }, { 'tls-server-name': 'kubernetes.default.svc' }],
  ['a name', { server: 'https://api.example' }, { 'tls-server-name': 'api.example' }],
  ['a name of its own for TLS', { server: 'https://[::1]:1', 'tls-server-name': 'a' }, { 'tls-server-name': 'a' }],
  ['no verification', { server: 'https://127.0.0.1', 'insecure-skip-tls-verify': true }, {}],
])('a cluster that is named by %s is verified from the nodes as from here', (_, cluster, tls) => {
  expect(nodeKubeconfig(cluster, { host: '192.0.2.1', port: 6443 }, 'secret')).toMatchObject({
    clusters: [{ cluster: { ...cluster, server: 'https://192.0.2.1:6443/', ...tls } }],
    users: [{ user: { token: 'secret' } }],
  })
})
