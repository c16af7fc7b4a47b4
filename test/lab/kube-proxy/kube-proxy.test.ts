// The stand-in for kube-proxy by what it does to packets, together with the agent's FORWARD rules: the pair that a user's
// request meets on a node whose FORWARD chain is closed.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { detectBackend } from '../../../src/iptables/backend.ts'
import { reconcile, removeAll } from '../../../src/iptables/reconcile.ts'
import { policyChains } from '../../../src/iptables/render.ts'
import { asList, asObject, type RawObject } from '../../../src/k8s/json.ts'
import { type KubeProxy, startKubeProxy } from '../../../src/lab/kube-proxy/kube-proxy.ts'
import { listNamespaces } from '../../../src/lab/netns/leftovers.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { clusterPodPrefixes } from '../../../src/lab/topology/addresses.ts'
import type { Answers } from '../../../src/lab/topology/client.ts'
import { type Ip, type IpFamily, parseIp } from '../../../src/net/ip.ts'
import { hostPrefix } from '../../../src/net/prefix.ts'
import { type Exec, systemExec } from '../../../src/runtime/exec.ts'
import { must } from '../../../src/runtime/result.ts'
import { describeWith } from '../../support/privileges.ts'
import { addPod, createLabCluster, deps, type LabCluster, readyPod } from '../kubelet/lab-cluster.ts'

const ip = (text: string): Ip => must(parseIp(text))
const vips: Readonly<Record<IpFamily, Ip>> = { IPv4: ip('203.0.113.10'), IPv6: ip('2001:db8:1::10') }
const both = ['IPv4', 'IPv6'] as const
const services = '/api/v1/namespaces/default/services'
const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'

describeWith({ netns: true, programs: ['curl', 'iptables-restore', 'ip6tables-restore'] }, 'the lab kube-proxy', () => {
  let cluster: LabCluster
  let proxies: readonly KubeProxy[]
  const pods = new Map<string, readonly string[]>()

  const request = (family: IpFamily, count = 1): Promise<Answers> =>
    cluster.topology.client.request(vips[family], { count, timeoutMs: 400 })
  // All traffic for the VIP goes to one node, as if it were the only next hop.
  const routeTo = async (number: number): Promise<void> => {
    const { ipv4, ipv6 } = cluster.node(number).address
    for (const { namespace } of cluster.topology.leaves) {
      await namespace.setRoute(hostPrefix(vips.IPv4), { via: [{ via: ipv4 }] })
      await namespace.setRoute(hostPrefix(vips.IPv6), { via: [{ via: ipv6 }] })
    }
  }
  const policy = (externalTrafficPolicy: 'Cluster' | 'Local'): Promise<RawObject> =>
    cluster.patch(`${services}/web`, { spec: { externalTrafficPolicy } })
  const endpointsOn = async (nodes: Readonly<Record<string, number>>): Promise<void> => {
    for (const family of both) {
      const endpoints = Object.entries(nodes).map(([pod, node]) => ({
        addresses: [pods.get(pod)?.[family === 'IPv4' ? 0 : 1]],
        nodeName: cluster.node(node).name,
        conditions: { ready: true, serving: true, terminating: false },
      }))
      await cluster.patch(`${slices}/web-${family.toLowerCase()}`, { endpoints })
    }
  }
  const nodeExec =
    (number: number): Exec =>
    (file, args, options) =>
      cluster.node(number).namespace.exec([file, ...args], options)
  const openForward = async (number: number): Promise<void> => {
    const exec = nodeExec(number)
    const backend = must(await detectBackend(exec))
    for (const family of both)
      must(await reconcile({ backend, family, vips: [vips[family]], stayBehind: policyChains }, { ...deps, exec }))
  }
  const closeForward = async (number: number): Promise<void> => {
    must(await removeAll({ ...deps, exec: nodeExec(number) }))
  }
  const eventually = (family: IpFamily, holds: (answers: Answers) => boolean, what: string): Promise<Answers> =>
    waitFor(
      async () => {
        const answers = await request(family, 12)
        return holds(answers) ? answers : undefined
      },
      { what },
    )

  beforeAll(async () => {
    cluster = await createLabCluster('kprx', 2)
    proxies = cluster.topology.nodes.map((node) =>
      startKubeProxy({ ...deps, node, client: cluster.client, podPrefixes: clusterPodPrefixes }),
    )
    await cluster.post(services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: {
        type: 'LoadBalancer',
        ipFamilyPolicy: 'RequireDualStack',
        ipFamilies: ['IPv4', 'IPv6'],
        ports: [{ port: 80, targetPort: 8080 }],
      },
    })
    await cluster.patch(`${services}/web/status`, {
      status: { loadBalancer: { ingress: both.map((family) => ({ ip: vips[family] })) } },
    })
    for (const family of both)
      await cluster.post(slices, {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: `web-${family.toLowerCase()}`, labels: { 'kubernetes.io/service-name': 'web' } },
        addressType: family,
        ports: [{ name: '', port: 8080, protocol: 'TCP' }],
        endpoints: [],
      })
    for (const [name, node] of [
      ['web-1', 1],
      ['web-2', 2],
    ] as const) {
      await addPod(cluster, name, cluster.node(node))
      pods.set(name, await readyPod(cluster, name))
    }
    await routeTo(1)
    await Promise.all(proxies.map(({ synced }) => synced))
  })
  afterAll(async () => {
    await Promise.all(proxies?.map((proxy) => proxy.stop()) ?? [])
    await cluster?.[Symbol.asyncDispose]()
  })

  describe.each(both)('%s', (family) => {
    const clientAddress = family === 'IPv4' ? '198.51.100.10' : '2001:db8:c::10'
    const nodeOne = family === 'IPv4' ? '10.0.0.11' : 'fd00:10::11'

    test('without endpoints the node refuses', async () => {
      await endpointsOn({})
      const save = family === 'IPv4' ? 'iptables-save' : 'ip6tables-save'
      const refused = new RegExp(`\\[[1-9]\\d*:\\d+\\] -A KUBE-EXTERNAL-SERVICES -d ${vips[family]}\\S* .*-j REJECT`)
      await waitFor(
        async () => {
          await request(family)
          return refused.test(await cluster.node(1).namespace.run([save, '-c', '-t', 'filter']))
        },
        { what: 'a refusal' },
      )
    })

    test("Cluster: any pod, with the node's address as source, whatever FORWARD's policy is", async () => {
      await policy('Cluster')
      await endpointsOn({ 'web-1': 1, 'web-2': 2 })
      const answers = await eventually(family, ({ failed, byPod }) => failed === 0 && byPod.size === 2, 'both pods')
      expect([...answers.bySource.keys()]).toEqual([nodeOne])
    })

    test("Local: closed by FORWARD's policy, open with the agent's rules, and the client's address is kept", async () => {
      await policy('Local')
      await eventually(family, ({ failed }) => failed === 12, 'a closed FORWARD chain')
      await openForward(1)
      const answers = await eventually(family, ({ failed }) => failed === 0, 'answers')
      expect([[...answers.byPod.keys()], [...answers.bySource.keys()]]).toEqual([['web-1'], [clientAddress]])
    })

    test('Local: a node without endpoints drops, even with the rules', async () => {
      await openForward(2)
      await endpointsOn({ 'web-1': 1 })
      await routeTo(2)
      const answers = await eventually(family, ({ failed }) => failed === 12, 'nothing at all')
      expect([...answers.errors.keys()].join()).toMatch(/timed out/)
      await routeTo(1)
      await closeForward(1)
      await closeForward(2)
    })

    test('a pod reaches the Service by its cluster IP, itself included', async () => {
      await policy('Cluster')
      await endpointsOn({ 'web-1': 1 })
      const spec = asObject((await cluster.get(`${services}/web`))['spec'])
      const clusterIP = asList(spec?.['clusterIPs'])?.[family === 'IPv4' ? 0 : 1]
      const host = family === 'IPv4' ? clusterIP : `[${clusterIP}]`
      const podNamespace =
        (await listNamespaces(systemExec)).find(
          (name) => name.startsWith(`kprx-${process.pid}.`) && name.endsWith('node1-pod-0'),
        ) ?? ''
      await waitFor(
        async () => {
          const curl = ['curl', '-gs', '-m', '1', `http://${host}/`]
          const { stdout } = await systemExec('ip', ['netns', 'exec', podNamespace, ...curl])
          return stdout.includes('web-1')
        },
        { what: 'an answer to the pod itself' },
      )
    })
  })

  test('a Service that is gone leaves no chain of its own, and the chains of others are untouched', async () => {
    const save = (): Promise<string> => cluster.node(1).namespace.run(['iptables-save'])
    expect(await save()).toMatch(/KUBE-SVC-/)
    await cluster.remove(`${services}/web`)
    await waitFor(async () => !/KUBE-(SVC|SVL|EXT|SEP)-/.test(await save()), { what: 'the chains to go' })
    expect(await save()).toMatch(/LAB-CNI-FORWARD/)
    expect(await save()).toMatch(/:KUBE-FORWARD /)
  })
})
