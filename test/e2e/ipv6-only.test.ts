// A cluster without a trace of IPv4: nodes, pods, Services, the API server's address in the kubeconfigs, BGP sessions and BFD with the
// routers, liveness between controllers and agents, and both ways to announce a VIP.

import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import type { Probe } from '../../src/lab/demo/story.ts'
import { agentPort, clusterAsn, controllerPort, type Lab, leafAsns, startLab } from '../../src/lab/lab.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import { clientAddress } from '../../src/lab/topology/addresses.ts'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import { parseIp } from '../../src/net/ip.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'
import { becomes } from './support-replicas.ts'

const programs = ['ip6tables', 'curl', 'kubectl', ...programsOf('bird'), ...programsOf('frr')]
const timeout = 120_000

const vip = must(parseIp('2001:db8:1::10'))
const linkVip = must(parseIp('fd00:10::100'))

const ours = (kind: string, name: string, spec: object): object => ({
  ...{ apiVersion: 'bellhop.io/v1alpha1', kind, metadata: { name } },
  spec,
})
const service = (name: string, pool: string, spec: object): object => ({
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, annotations: { 'bellhop.io/pool': pool } } },
  spec: { type: 'LoadBalancer', selector: { app: 'whoami' }, ports: [{ port: 80, targetPort: 8080 }], ...spec },
})

describeWith({ netns: true, programs }, 'A cluster of IPv6 alone', () => {
  let lab: Lab

  const isReady =
    ({ name, address, namespace }: LabNode, port: number): Probe =>
    async () => {
      const { stdout } = await namespace.exec(['curl', '-s', `http://[${address.ipv6}]:${port}/readyz`])
      return stdout.startsWith('ok') ? undefined : `port ${port} of ${name} says: ${stdout.trim()}`
    }
  const says =
    (args: string, expected: RegExp): Probe =>
    async () => {
      const { stdout, stderr } = await lab.kubectl(args.split(' '))
      return expected.test(stdout) ? undefined : stdout || stderr
    }
  /** Both leaves forward the VIP to these nodes and no others. */
  const leavesForward =
    (nodes: readonly LabNode[]): Probe =>
    async () => {
      const wanted = nodes.map(({ address }) => address.ipv6).sort()
      for (const router of lab.routers) {
        const found = [...(await router.kernelNextHops(hostPrefix(vip)))].sort()
        if (found.join() !== wanted.join()) return `${router.name} forwards to ${found.join(', ') || 'nobody'}`
      }
      return undefined
    }

  beforeAll(async () => {
    lab = await startLab({
      ...{ prefix: 'six', leaves: ['bird', 'frr'], families: ['ipv6'], neighbor: { bfd: true } },
      ...{ clock: systemClock, log: silentLog },
    })
    await lab.install()
    const timers = { holdSeconds: 9, connectRetrySeconds: 1 }
    // Its Service is for two families.
    const [deployment] = parseAllDocuments(readFileSync(lab.manifest('whoami'), 'utf8'))
    const objects = [
      deployment,
      ours('BgpConf', 'default', { asn: clusterAsn }),
      ...lab.topology.leaves.map(({ name, address }, index) =>
        ours('BgpPeer', name, { address: address.ipv6, asn: leafAsns[index], timers, bfd: { multiplier: 5 } }),
      ),
      ours('VipPool', 'routed', { addresses: ['2001:db8:1::10-2001:db8:1::99'] }),
      ours('VipPool', 'link', { addresses: [`${linkVip}/128`], mode: 'layer2' }),
      // Whoever prefers two families gets the one that there is.
      service('routed', 'routed', { externalTrafficPolicy: 'Local', ipFamilyPolicy: 'PreferDualStack' }),
      service('link', 'link', {}),
    ]
    const items = { apiVersion: 'v1', kind: 'List', items: objects }
    await lab.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(items) })
    const [first, second] = lab.topology.nodes
    for (const node of lab.topology.nodes) lab.startAgent(node)
    for (const node of [first, second]) if (node !== undefined) lab.startController(node)
    for (const node of lab.topology.nodes) await becomes('the agents', isReady(node, agentPort))
    for (const node of [first, second])
      if (node !== undefined) await becomes('the controllers', isReady(node, controllerPort))
  }, timeout)
  afterAll(() => lab?.destroy(), timeout)

  test('has no address of IPv4 on its nodes', async () => {
    for (const { namespace } of lab.topology.nodes)
      expect(await namespace.run(['ip', '-4', '-o', 'addr', 'show'])).not.toMatch(/ (?!127\.)\d+\.\d+\.\d+\.\d+\//)
  })

  test('has sessions watched by BFD, from replicas with identifiers of their own', { timeout }, async () => {
    for (const { name } of lab.topology.leaves)
      await becomes(
        `BgpPeer ${name}`,
        says(`get bgppeer ${name} -o wide`, new RegExp(`^${name} .* Established +2/2 +1 .* True +True `, 'm')),
      )
    const ids = await lab.mustKubectl(['get', 'bgpconf', 'default', '-o', 'jsonpath={.status.speakers[*].routerId}'])
    expect(new Set(ids.split(' ')).size).toBe(2)
  })

  test('serves clients at a VIP that both leaves know by every node', { timeout }, async () => {
    const { nodes, client } = lab.topology
    await becomes('all next hops', leavesForward(nodes))
    await becomes('the Service', says('get service routed', new RegExp(` ${vip} `)))
    const { failed, byNode, bySource } = await client.request(vip, { count: 60 })
    expect([failed, [...bySource.keys()]]).toEqual([0, [clientAddress.ipv6]])
    expect([...byNode.keys()].sort()).toEqual(nodes.map(({ name }) => name))
  })

  test('serves a VIP of the nodes’ own link by neighbour discovery', { timeout }, async () => {
    const [, leaf2] = lab.topology.leaves
    await becomes('the Vip', says('get vips -o wide', new RegExp(`${linkVip} +link .* True +node`)))
    await becomes('an answer', async () => {
      const { status, stdout } = await leaf2.namespace.exec(['curl', '-s', '-m', '5', `http://[${linkVip}]/`])
      return status === 0 && stdout.includes('"pod":"whoami-') ? undefined : `status ${status}: ${stdout}`
    })
  })

  test('does without a node that dies, by liveness between controllers and agents', { timeout }, async () => {
    const { nodes } = lab.topology
    const dead = nodes.at(-1)
    if (dead === undefined) throw new Error('the lab has no nodes')
    const answering = 'get bgpconf default -o jsonpath={.status.speakers[*].liveness.up}'
    await becomes('all agents to answer', says(answering, /^2 2$/))
    await lab.cutOff(dead)
    await becomes('the others', leavesForward(nodes.slice(0, -1)))
    await becomes('the reason', says('get vips -o json', new RegExp(`node ${dead.name} does not answer: its BFD`)))
    await lab.reconnect(dead)
  })
})
