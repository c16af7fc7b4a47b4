// The lab's world as a router or a user meets it: who reaches whom, what a pulled cable does, and that nothing is left.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listNamespaces } from '../../../src/lab/netns/leftovers.ts'
import { nodeProgram } from '../../../src/lab/netns/node-program.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { parseAnswers, summarise } from '../../../src/lab/topology/client.ts'
import { createTopology, type LabNode, type Topology } from '../../../src/lab/topology/topology.ts'
import { type Ip, parseIp } from '../../../src/net/ip.ts'
import { hostPrefix } from '../../../src/net/prefix.ts'
import { systemExec } from '../../../src/runtime/exec.ts'
import { must } from '../../../src/runtime/result.ts'
import { describeWith } from '../../support/privileges.ts'

const ip = (text: string): Ip => must(parseIp(text))
const vips = [ip('203.0.113.10'), ip('2001:db8:1::10')] as const

describeWith({ netns: true, programs: ['curl', 'iptables-restore', 'ip6tables-restore'] }, 'the topology', () => {
  let topology: Topology
  let interfacesBefore: string

  const interfaces = async (): Promise<string> => (await systemExec('ip', ['-o', 'link'])).stdout
  // What a routing daemon would do with an announcement; and a VIP that lives on the node itself.
  const announce = async (nodes: readonly LabNode[]): Promise<void> => {
    for (const leaf of topology.leaves) {
      await leaf.namespace.setRoute(hostPrefix(vips[0]), { via: nodes.map(({ address }) => ({ via: address.ipv4 })) })
      await leaf.namespace.setRoute(hostPrefix(vips[1]), { via: nodes.map(({ address }) => ({ via: address.ipv6 })) })
    }
  }

  beforeAll(async () => {
    interfacesBefore = await interfaces()
    topology = await createTopology({ prefix: 'topo' })
    for (const node of topology.nodes) {
      await node.namespace.ip(vips.map((vip) => `addr add ${hostPrefix(vip)} dev lo`))
      const server = node.namespace.spawn(
        nodeProgram('src/lab/kubelet/whoami-program.ts', [`on-${node.name}`, node.name, '80', '0']),
      )
      await server.waitUntil(() => server.output().includes('listening'), { what: 'a server on the node' })
    }
    await announce(topology.nodes)
  })
  afterAll(() => topology?.destroy())

  test.each(vips)(
    'requests to %s are spread over all nodes, through both leaves, with the source kept',
    async (vip) => {
      const answers = await topology.client.request(vip, { count: 60 })
      expect(answers.failed).toBe(0)
      expect([...answers.byNode.keys()]).toEqual(['node1', 'node2', 'node3'])
      expect([...answers.bySource.keys()]).toEqual([vip.includes(':') ? '2001:db8:c::10' : '198.51.100.10'])
    },
  )

  test.each(vips)('a VIP that is announced nowhere is unreachable at once: %s', async () => {
    const answers = await topology.client.request(ip('203.0.113.99'), { timeoutMs: 2000 })
    expect([...answers.errors.keys()].join()).toMatch(/No route to host|Couldn't connect|Failed to connect/)
  })

  test('a load notices a pulled cable, and that it is plugged in again', async () => {
    const node = topology.nodes[2]
    if (node === undefined) throw new Error('the lab has three nodes')
    await announce([node])
    const load = await topology.client.startLoad(vips[0], { intervalMs: 20, timeoutMs: 300 })
    await waitFor(() => load.report().requests > 5, { what: 'some answers' })
    expect(load.report().failed).toBe(0)
    await node.setLan('down')
    await waitFor(() => load.report().failed > 0, { what: 'a failed request' })
    await node.setLan('up')
    const answered = (): number => load.report().byPod.get('on-node3') ?? 0
    const before = answered()
    await waitFor(() => answered() > before + 3, { what: 'answers again' })
    const report = await load.stop()
    expect(report.longestGapMs).toBeGreaterThan(250)
    await announce(topology.nodes)
  })

  test('a load on one kept connection stays with its pod', async () => {
    const load = await topology.client.startLoad(vips[1], { intervalMs: 10, connections: 'kept' })
    await waitFor(() => load.report().requests >= 20, { what: 'twenty answers' })
    const report = await load.stop()
    expect([report.failed, report.byPod.size]).toEqual([0, 1])
  })

  test.each([0, 1] as const)('no traffic is lost for long when the uplink of leaf %d is pulled', async (index) => {
    const leaf = topology.leaves[index]
    await leaf.setUplink('down')
    for (const vip of vips)
      await waitFor(async () => (await topology.client.request(vip, { count: 20, timeoutMs: 300 })).failed === 0, {
        what: `twenty answers from ${vip} through the other leaf`,
      })
    await leaf.setUplink('up')
    for (const vip of vips) expect((await topology.client.request(vip, { count: 20 })).failed).toBe(0)
  })

  test('no traffic is lost for long when a leaf loses its power', async () => {
    await topology.leaves[0].setUplink('down')
    await topology.leaves[0].setLan('down')
    for (const vip of vips)
      await waitFor(async () => (await topology.client.request(vip, { count: 20, timeoutMs: 300 })).failed === 0, {
        what: `twenty answers from ${vip} through the other leaf`,
      })
  })

  test('the API server in this process is reached from every node, and not without the management cable', async () => {
    const server = createServer((request, response) => response.end(`you asked for ${request.url}`))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = server.address() as AddressInfo
      const published = await topology.publishApi({ host: '127.0.0.1', port })
      const url = `http://${published.host}:${published.port}`
      for (const { namespace } of topology.nodes)
        expect(await namespace.run(['curl', '-sS', '-m', '2', `${url}/api`])).toBe('you asked for /api')
      const [node] = topology.nodes
      await node?.setManagement('down')
      expect((await node?.namespace.exec(['curl', '-s', '-m', '0.5', `${url}/api`]))?.status).not.toBe(0)
    } finally {
      server.close()
    }
  })

  test("nothing is made in the machine's own namespace, and nothing is left", async () => {
    expect(await interfaces()).toBe(interfacesBefore)
    await topology.destroy()
    const left = (await listNamespaces(systemExec)).filter((name) => name.startsWith(`topo-${process.pid}.`))
    expect(left).toEqual([])
  })
})

test('answers of several transfers are told apart, and failures are counted by what curl said', () => {
  const answer = '{"pod":"web-1","node":"node1","client":"198.51.100.10"}'
  const text = `${answer}\n\n0 \n\n28 Connection timed out after 1001 milliseconds\n${answer}\n\n0 \n<html>\n0 \n`
  const { failed, byPod, byNode, bySource, errors } = summarise(parseAnswers(text))
  expect([failed, [...byPod], [...byNode], [...bySource], [...errors]]).toEqual([
    2,
    [['web-1', 2]],
    [['node1', 2]],
    [['198.51.100.10', 2]],
    [
      ['Connection timed out after 1001 milliseconds', 1],
      ['not an answer of a lab pod: <html>', 1],
    ],
  ])
})
