// kube-proxy by what it does to packets, together with what the agent writes: the pair that a user's request meets on a node whose
// FORWARD chain is closed. The same claims hold for the lab's stand-in in both modes and, where BELLHOP_KUBE_PROXY names one, for the
// real kube-proxy.

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { removeEverything } from '../../../src/datapath/cleanup.ts'
import { type ForwardKeeper, keepForwardRules } from '../../../src/datapath/keeper.ts'
import { asList, asObject, type RawObject } from '../../../src/k8s/json.ts'
import { type KubeProxy, startKubeProxy } from '../../../src/lab/kube-proxy/kube-proxy.ts'
import { type ProxyChoice, proxyChoiceOf, startRealKubeProxy } from '../../../src/lab/kube-proxy/real-kube-proxy.ts'
import { listNamespaces } from '../../../src/lab/netns/leftovers.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { clusterPodPrefixes } from '../../../src/lab/topology/addresses.ts'
import type { Answers } from '../../../src/lab/topology/client.ts'
import { type Ip, type IpFamily, parseIp } from '../../../src/net/ip.ts'
import { hostPrefix } from '../../../src/net/prefix.ts'
import type { RefusalOptions } from '../../../src/nftables/table.ts'
import { type Exec, systemExec } from '../../../src/runtime/exec.ts'
import { must } from '../../../src/runtime/result.ts'
import { describeWith } from '../../support/privileges.ts'
import { addPod, createLabCluster, deps, type LabCluster, readyPod } from '../kubelet/lab-cluster.ts'

const ip = (text: string): Ip => must(parseIp(text))
const vips: Readonly<Record<IpFamily, Ip>> = { IPv4: ip('203.0.113.10'), IPv6: ip('2001:db8:1::10') }
const both = ['IPv4', 'IPv6'] as const
const curlRefused = 7
const ready = { ready: true, serving: true, terminating: false }
const draining = { ready: false, serving: true, terminating: true }
const services = '/api/v1/namespaces/default/services'
const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'

const { program } = proxyChoiceOf(process.env)
const choices: readonly ProxyChoice[] = (['iptables', 'nftables'] as const).flatMap((mode) => [
  { mode },
  ...(program === undefined ? [] : [{ mode, program }]),
])

for (const choice of choices)
  describeWith(
    { netns: true, programs: ['curl', 'iptables-restore', 'ip6tables-restore', 'nft'] },
    `${choice.program === undefined ? 'the lab kube-proxy' : 'the real kube-proxy'} in ${choice.mode} mode`,
    () => suite(choice),
  )

function suite({ mode, program }: ProxyChoice): void {
  const prefix = `kp${program === undefined ? 's' : 'r'}${mode.slice(0, 3)}`
  let cluster: LabCluster
  let proxies: readonly Pick<KubeProxy, 'synced' | 'stop'>[]
  const keepers = new Map<number, { readonly keeper: ForwardKeeper; readonly stop: AbortController }>()
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
  const endpointsOn = async (nodes: Readonly<Record<string, number>>, conditions = ready): Promise<void> => {
    for (const family of both) {
      const endpoints = Object.entries(nodes).map(([pod, node]) => ({
        addresses: [pods.get(pod)?.[family === 'IPv4' ? 0 : 1]],
        nodeName: cluster.node(node).name,
        conditions,
      }))
      await cluster.patch(`${slices}/web-${family.toLowerCase()}`, { endpoints })
    }
  }
  const nodeExec =
    (number: number): Exec =>
    (file, args, options) =>
      cluster.node(number).namespace.exec([file, ...args], options)
  const nothingArrives = (family: IpFamily, what: string): Promise<Answers> =>
    waitFor(
      async () => {
        const answers = await request(family, 2)
        return answers.failed === 2 ? answers : undefined
      },
      { what },
    )
  /** Its exit status. */
  const curl = async (family: IpFamily, port: number): Promise<number> => {
    const host = family === 'IPv4' ? vips.IPv4 : `[${vips.IPv6}]`
    const argv = ['curl', '-gs', '-m', '5', '-o', '/dev/null', `http://${host}:${port}/`]
    return (await cluster.topology.client.namespace.exec(argv)).status
  }
  /** As the agent does. */
  const openForward = async (number: number, options: Partial<RefusalOptions> = {}): Promise<void> => {
    await closeForward(number)
    const stop = new AbortController()
    const refusals = { sourceRanges: false, unusedPorts: false, ...options }
    const keeper = keepForwardRules(
      { backend: 'auto', checkIntervalMs: 200, refusals },
      { ...deps, exec: nodeExec(number), signal: stop.signal },
    )
    keepers.set(number, { keeper, stop })
    keeper.setVips(
      both.map((family) => ({ address: vips[family], ports: [{ protocol: 'TCP', port: 80, sourceRanges: [] }] })),
    )
    await waitFor(() => keeper.facts().lastSyncMs !== undefined, { what: 'the rules of the agent' })
  }
  const closeForward = async (number: number): Promise<void> => {
    const keeping = keepers.get(number)
    keepers.delete(number)
    keeping?.stop.abort()
    await keeping?.keeper.ended
    must(await removeEverything({ ...deps, exec: nodeExec(number) }))
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
    cluster = await createLabCluster(prefix, 2)
    const directory = cluster.topology.network.directory
    const kubeconfig = path.join(directory, 'kubeconfig')
    const { hostname, port } = new URL(cluster.api.url)
    const published = await cluster.topology.publishApi({ host: hostname, port: Number(port) })
    const fromNodes = cluster.api.kubeconfig().replaceAll(cluster.api.url, `http://${published.host}:${published.port}`)
    writeFileSync(kubeconfig, fromNodes, { mode: 0o600 })
    const podPrefixes = clusterPodPrefixes
    proxies = cluster.topology.nodes.map((node) =>
      program === undefined
        ? startKubeProxy({ ...deps, node, client: cluster.client, podPrefixes, mode })
        : startRealKubeProxy({ node, program, mode, kubeconfig, directory, podPrefixes }),
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
    for (const number of keepers.keys()) await closeForward(number)
    await Promise.all(proxies?.map((proxy) => proxy.stop()) ?? [])
    await cluster?.[Symbol.asyncDispose]()
  })

  describe.each(both)('%s', (family) => {
    const clientAddress = family === 'IPv4' ? '198.51.100.10' : '2001:db8:c::10'
    const nodeOne = family === 'IPv4' ? '10.0.0.11' : 'fd00:10::11'

    test('without endpoints the node refuses', async () => {
      await endpointsOn({})
      await waitFor(async () => (await curl(family, 80)) === curlRefused, { what: 'a refusal' })
    })

    test("Cluster: any pod, with the node's address as source", async () => {
      await policy('Cluster')
      await endpointsOn({ 'web-1': 1, 'web-2': 2 })
      // In iptables mode kube-proxy accepts what it masquerades; in nftables mode it accepts nothing.
      if (mode === 'nftables') {
        await nothingArrives(family, 'a closed FORWARD chain')
        await openForward(1)
      }
      const answers = await eventually(family, ({ failed, byPod }) => failed === 0 && byPod.size === 2, 'both pods')
      expect([...answers.bySource.keys()]).toEqual([nodeOne])
      await closeForward(1)
    })

    test("Local: closed by FORWARD's policy, open with the agent's rules, and the client's address is kept", async () => {
      await policy('Local')
      await nothingArrives(family, 'a closed FORWARD chain')
      await openForward(1)
      const answers = await eventually(family, ({ failed }) => failed === 0, 'answers')
      expect([[...answers.byPod.keys()], [...answers.bySource.keys()]]).toEqual([['web-1'], [clientAddress]])
    })

    test('Local: a node without endpoints drops, even with the rules', async () => {
      await openForward(2)
      await endpointsOn({ 'web-1': 1 })
      await routeTo(2)
      const answers = await nothingArrives(family, 'nothing at all')
      expect([...answers.errors.keys()].join()).toMatch(/timed out/)
      await routeTo(1)
      await closeForward(1)
      await closeForward(2)
    })

    test('Local: pods that terminate serve on while there is no other', async () => {
      await openForward(1)
      await endpointsOn({ 'web-1': 1 }, draining)
      const answers = await eventually(family, ({ failed, byPod }) => failed === 0 && byPod.size === 1, 'answers')
      expect([...answers.byPod.keys()]).toEqual(['web-1'])
      await endpointsOn({ 'web-1': 1 })
    })

    test('clients outside loadBalancerSourceRanges are refused by kube-proxy itself', async () => {
      const ranges = (loadBalancerSourceRanges: readonly string[]): Promise<RawObject> =>
        cluster.patch(`${services}/web`, { spec: { loadBalancerSourceRanges } })
      await ranges(['192.0.2.0/24', 'fd09::/64'])
      const answers = await nothingArrives(family, 'a refusal')
      expect([...answers.errors.keys()].join()).toMatch(/timed out/)
      await ranges(['198.51.100.0/24', '2001:db8:c::/64'])
      await eventually(family, ({ failed }) => failed === 0, 'answers')
      await ranges([])
    })

    test('a port that no Service has is refused when the agent is asked to, and the Service’s own is served', async () => {
      await openForward(1, { unusedPorts: true })
      await eventually(family, ({ failed }) => failed === 0, 'answers')
      expect(await curl(family, 81)).toBe(curlRefused)
    })

    test('an address of ipMode Proxy is not translated on the node', async () => {
      const ingress = (ipMode: 'VIP' | 'Proxy'): Promise<RawObject> =>
        cluster.patch(`${services}/web/status`, {
          status: { loadBalancer: { ingress: both.map((each) => ({ ip: vips[each], ipMode })) } },
        })
      await ingress('Proxy')
      await nothingArrives(family, 'nobody who translates')
      await ingress('VIP')
      await eventually(family, ({ failed }) => failed === 0, 'answers')
      await closeForward(1)
    })

    if (program !== undefined)
      test('its health check says whether there is a pod here', async () => {
        const port = asObject((await cluster.get(`${services}/web`))['spec'])?.['healthCheckNodePort']
        const address = cluster.node(1).address[family === 'IPv4' ? 'ipv4' : 'ipv6']
        const host = family === 'IPv4' ? address : `[${address}]`
        const says = async (): Promise<string> => {
          const curl = [
            'curl',
            '-gs',
            '-m',
            '2',
            '-o',
            '/dev/null',
            '-w',
            '%{http_code}',
            `http://${host}:${port}/healthz`,
          ]
          return (await cluster.node(2).namespace.exec(curl)).stdout
        }
        await waitFor(async () => (await says()) === '200', { what: 'a yes' })
        await endpointsOn({ 'web-1': 1 }, draining)
        await waitFor(async () => (await says()) === '503', { what: 'a no: what terminates does not count' })
        await endpointsOn({ 'web-1': 1 })
      })

    test('a pod reaches the Service by its cluster IP, itself included', async () => {
      await policy('Cluster')
      await endpointsOn({ 'web-1': 1 })
      const spec = asObject((await cluster.get(`${services}/web`))['spec'])
      const clusterIP = asList(spec?.['clusterIPs'])?.[family === 'IPv4' ? 0 : 1]
      const host = family === 'IPv4' ? clusterIP : `[${clusterIP}]`
      const podNamespace =
        (await listNamespaces(systemExec)).find(
          (name) => name.startsWith(`${prefix}-${process.pid}.`) && name.endsWith('node1-pod-0'),
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

  test('a Service that is gone leaves nothing of its own, and the chains of others are untouched', async () => {
    const ruleset = (): Promise<string> => cluster.node(1).namespace.run(['nft', 'list', 'ruleset'])
    expect(await ruleset()).toContain(vips.IPv4)
    await cluster.remove(`${services}/web`)
    await waitFor(async () => !/203\.0\.113\.10|2001:db8:1::10|KUBE-(SVC|SVL|EXT|SEP|FW)-/.test(await ruleset()), {
      what: 'the rules to go',
    })
    expect(await ruleset()).toMatch(/LAB-CNI-FORWARD/)
    expect(await ruleset()).toMatch(mode === 'nftables' ? /table ip6 kube-proxy/ : /KUBE-FORWARD/)
  })
}
