// Layer 2 with packets: a client on the nodes' link whose caches are full, and nodes that die, lose their agent or the control plane.
// Every address is carried by one node; the client goes on with the next one, and nobody who need not move does.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { defaultElectionTiming } from '../../src/k8s/election.ts'
import { nodeProgram } from '../../src/lab/netns/node-program.ts'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import type { Ip } from '../../src/net/ip.ts'
import { familyOf } from '../../src/net/ip.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'
import {
  clientOnLink,
  foreignAddress,
  foreignAddress6,
  holdSeconds,
  type Layer2Lab,
  namedPool,
  startLayer2Lab,
} from './support-layer2.ts'
import { becomes } from './support-replicas.ts'

const timeout = 120_000
const holdMs = holdSeconds * 1000
const names = ['web1', 'web2', 'web3', 'web4', 'web5']

describeWith({ netns: true, programs: ['iptables', 'curl', 'kubectl', 'bird', 'ip'] }, 'Layer 2', () => {
  let layer2: Layer2Lab
  let vips: readonly Ip[] = []

  /** Every VIP is carried by its owner alone, and the client reaches it there. */
  const isSettled = async (among: readonly Ip[] = vips): Promise<string | undefined> => {
    const [owners, holders] = await Promise.all([layer2.owners(), layer2.allHolders()])
    for (const vip of among) {
      const held = holders.get(vip) ?? []
      if (held.length !== 1 || held[0] !== owners.get(vip))
        return `${vip} is owned by ${owners.get(vip)} and carried by ${held.join(' and ') || 'nobody'}`
    }
    return undefined
  }
  const answers = async (among: readonly Ip[] = vips): Promise<string | undefined> => {
    for (const vip of among) {
      const { failed, errors } = await layer2.client.request(vip)
      if (failed > 0) return `${vip}: ${[...errors.keys()].join()}`
    }
    return undefined
  }
  const settles = async (): Promise<void> => {
    await becomes('one owner for each VIP', isSettled)
    await becomes('answers', answers)
  }
  const ownedBy = async (node: LabNode): Promise<{ readonly node: LabNode; readonly own: readonly Ip[] }> => {
    const owners = await layer2.owners()
    const own = vips.filter((vip) => owners.get(vip) === node.name)
    if (new Set(own.map(familyOf)).size < 2) throw new Error(`${node.name} owns ${own.join() || 'nothing'}`)
    return { node, own }
  }
  /** The nodes without a controller, each with VIPs of both families. */
  const theOwners = async () => Promise.all([ownedBy(layer2.nodeNamed('node3')), ownedBy(layer2.nodeNamed('node2'))])
  /** Takes every owner away, until the leader has chosen anew and both nodes without a controller have VIPs of both families. */
  const rebalance = async (): Promise<void> => {
    await becomes('a spread', async () => {
      await removeOwners()
      const owners = await layer2.owners()
      const shares = new Set([...owners].map(([vip, node]) => `${node} ${familyOf(vip)}`))
      const wanted = ['node2', 'node3'].flatMap((node) => [`${node} IPv4`, `${node} IPv6`])
      return wanted.every((share) => shares.has(share)) ? undefined : [...shares].join()
    })
    await settles()
  }
  const removeOwners = async (): Promise<void> => {
    const remove = ['--type=json', '-p', '[{"op":"remove","path":"/spec/layer2"}]']
    const { items } = JSON.parse(await layer2.lab.mustKubectl(['get', 'vips', '-o', 'json'])) as {
      readonly items: readonly { readonly metadata: { readonly name: string } }[]
    }
    await Promise.all(items.map(({ metadata }) => layer2.lab.mustKubectl(['patch', 'vip', metadata.name, ...remove])))
    await becomes('owners', async () => ((await layer2.owners()).size === items.length ? undefined : 'not all'))
  }
  const passes = (ms: number): Promise<void> => new Promise((resolve) => void systemClock.setTimer(ms, resolve))
  const ownersOf = async (among: readonly Ip[]): Promise<readonly string[]> => {
    const owners = await layer2.owners()
    return among.map((vip) => `${vip} ${owners.get(vip)}`)
  }
  const others = (own: readonly Ip[]): readonly Ip[] => vips.filter((vip) => !own.includes(vip))
  const isConnected =
    ({ namespace, name }: LabNode) =>
    async (): Promise<string | undefined> => {
      const { stdout } = await namespace.exec(['curl', '-s', 'http://127.0.0.1:7475/metrics'])
      return stdout.includes('bellhop_agent_api_connected 1') ? undefined : `${name} does not watch VIPs`
    }
  const moved = (own: readonly Ip[], from: LabNode) => async (): Promise<string | undefined> => {
    for (const vip of own) {
      const believed = await layer2.believed(vip)
      if (believed === undefined || believed === from.name) return `the client has ${vip} at ${believed}`
    }
    return answers(own)
  }

  beforeAll(async () => {
    layer2 = await startLayer2Lab({ prefix: 'link', nodes: 3, pods: 3 })
    await layer2.addServices(names)
    await becomes('owners', async () => {
      vips = [...(await layer2.owners()).keys()]
      return vips.length === 2 * names.length ? undefined : `${vips.length} VIPs have an owner`
    })
    await settles()
  }, timeout)
  afterAll(() => layer2?.destroy())

  test('the VIPs are spread over the nodes, and each is answered for by its owner', { timeout }, async () => {
    const owners = await layer2.owners()
    expect(new Set(owners.values())).toEqual(new Set(['node1', 'node2', 'node3']))
    for (const vip of vips) expect(await layer2.believed(vip)).toBe(owners.get(vip))
  })

  test('the owner loses its power: the client goes on elsewhere, and nobody else moves', { timeout }, async () => {
    const [{ node, own }] = await theOwners()
    const before = await ownersOf(others(own))
    await layer2.lab.cutOff(node)
    await becomes('the others', moved(own, node))
    expect(await ownersOf(others(own))).toEqual(before)
    await layer2.lab.reconnect(node)
    await settles()
    expect(await ownersOf(others(own))).toEqual(before)
  })

  test('the owner that loses its power is the leader, too: the other replica leads, and the client goes on', {
    timeout,
  }, async () => {
    const successor = await layer2.startController(layer2.nodeNamed('node3'))
    const { node, own } = await ownedBy(layer2.nodeNamed('node1'))
    expect(await layer2.leader()).toBe(node.name)
    const before = await ownersOf(others(own))
    await layer2.lab.cutOff(node)
    const offMs = performance.now()
    await becomes('the others', moved(own, node))
    // The lease that the leader left behind lasts longer.
    expect(performance.now() - offMs).toBeLessThan(defaultElectionTiming.leaseDurationMs - 5_000)
    expect(await layer2.leader()).toBe('node3')
    expect(await ownersOf(others(own))).toEqual(before)
    await layer2.lab.reconnect(node)
    await settles()
    expect(await layer2.leader()).toBe('node3')
    await successor.stop()
    await becomes('the first one to lead', async () => ((await layer2.leader()) === node.name ? undefined : 'not yet'))
  })

  test('the agent of an owner is killed, and another one loses the API server alone', { timeout }, async () => {
    await rebalance()
    const [{ node: killed, own: lost }, { node: blind, own: kept }] = await theOwners()
    await blind.setManagement('down')
    const blindMs = performance.now()
    await layer2.endAgent(killed, 'SIGKILL')
    await becomes('the others', moved(lost, killed))
    // A controller still hears the blind one, and nobody has a reason to move anything of its own.
    const before = await ownersOf(vips)
    expect(await ownersOf(kept)).toEqual(kept.map((vip) => `${vip} ${blind.name}`))
    await passes(Math.max(0, blindMs + holdMs + 3_000 - performance.now()))
    expect(await ownersOf(vips)).toEqual(before)
    expect(await answers(kept)).toBe(undefined)
    // Nobody but their lifetime took them away where the agent was killed.
    expect(await isSettled()).toBe(undefined)
    await blind.setManagement('up')
    await layer2.startAgent(killed)
    await becomes('the agent of the other', isConnected(blind))
    await settles()
    expect(await ownersOf(vips)).toEqual(before)
  })

  test('an owner is cut off from the control plane, and not from its clients', { timeout }, async () => {
    const { node, own } = await ownedBy(layer2.nodeNamed('node2'))
    await node.setManagement('down')
    const rules = ['INPUT', 'OUTPUT'].map((chain) => [chain, '-p', 'udp', '--dport', '7474:7475', '-j', 'DROP'])
    for (const rule of rules) await node.namespace.run(['iptables', '-I', ...rule])
    const cutMs = performance.now()
    await becomes('the others', moved(own, node))
    // It hears the others say that they have the addresses, and cannot show that they are its own.
    await becomes('one owner for each VIP', isSettled)
    expect(performance.now() - cutMs).toBeLessThan(30_000)
    const after = await ownersOf(vips)
    expect(after.filter((said) => said.endsWith(node.name))).toEqual([])
    for (const rule of rules) await node.namespace.run(['iptables', '-D', ...rule])
    await node.setManagement('up')
    await becomes('its agent', isConnected(node))
    await settles()
    expect(await ownersOf(vips)).toEqual(after)
  })

  test('the agent of an owner is updated: nothing moves, and nothing is missing meanwhile', { timeout }, async () => {
    await rebalance()
    const [{ node, own }] = await theOwners()
    const before = await ownersOf(vips)
    const monitor = node.namespace.spawn(['ip', 'monitor', 'address'])
    await layer2.endAgent(node, 'SIGTERM')
    const left = await layer2.allHolders()
    expect(own.map((vip) => left.get(vip)?.join())).toEqual(own.map(() => node.name))
    await layer2.startAgent(node)
    await becomes('the addresses to be renewed', async () => {
      const missing = own.filter((vip) => !monitor.output().includes(` ${vip}/`))
      return missing.length === 0 ? undefined : missing.join()
    })
    expect(monitor.output()).not.toContain('Deleted')
    await monitor.stop()
    expect(await ownersOf(vips)).toEqual(before)
  })

  test('an address that somebody else has is not taken, and taken when he is gone', { timeout }, async () => {
    const [stranger] = layer2.lab.topology.leaves
    const [ipv4, ipv6] = [foreignAddress, foreignAddress6]
    await stranger.namespace.addAddress('lan0', `${ipv4}/32`)
    await stranger.namespace.addAddress('lan0', `${ipv6}/128`)
    await layer2.addServices(['taken'], { metadata: { annotations: { 'bellhop.io/ips': `${ipv4},${ipv6}` } } })
    const condition = async (): Promise<string> =>
      layer2.lab.mustKubectl([
        ...['get', 'service', 'taken', '-o'],
        'jsonpath={.status.conditions[?(@.type=="bellhop.io/Announced")].reason}',
      ])
    await becomes('the refusal', async () => {
      const said = await condition()
      return said === 'AddressInUse' ? undefined : `the condition says "${said}"`
    })
    expect(await layer2.holders(ipv4)).toEqual([])
    expect(await layer2.holders(ipv6)).toEqual([])
    const vip = await layer2.lab.mustKubectl(['get', 'vip', ipv4, '-o', 'jsonpath={.status.conditions[*].message}'])
    expect(vip).toMatch(/^node node\d: [0-9a-f:]{17} answers for it on lan0$/)
    await stranger.namespace.removeAddress('lan0', `${ipv4}/32`)
    await stranger.namespace.removeAddress('lan0', `${ipv6}/128`)
    await becomes('the addresses', () => isSettled([ipv4, ipv6]))
    await becomes('the condition', async () => ((await condition()) === 'Announced' ? undefined : 'not yet'))
    expect(await answers([ipv4, ipv6])).toBe(undefined)
  })

  test('with externalTrafficPolicy Local the address follows the endpoints', { timeout }, async () => {
    await layer2.addServices(['local'], { spec: { externalTrafficPolicy: 'Local' } })
    await layer2.lab.mustKubectl(['scale', 'deployment', 'whoami', '--replicas=1'])
    const podNode = async (): Promise<string> =>
      layer2.lab.mustKubectl(['get', 'pods', '-l', 'app=whoami', '-o', 'jsonpath={.items[*].spec.nodeName}'])
    await becomes('one pod', async () => ((await podNode()).includes(' ') ? 'several pods' : undefined))
    let local: readonly Ip[] = []
    const isAtPod = async (): Promise<string | undefined> => {
      const [node, owners] = await Promise.all([podNode(), layer2.owners()])
      local = await layer2.addressesOf('local')
      const wrong = local.find((vip) => owners.get(vip) !== node)
      return local.length === 2 && wrong === undefined ? isSettled(local) : `${wrong} is not at ${node}`
    }
    await becomes('the address at the pod', isAtPod)
    const before = await podNode()
    const [ipv4] = local
    if (ipv4 === undefined) throw new Error('no address')
    const seen = await layer2.client.request(ipv4)
    // The client's own address, as Local promises.
    expect([...seen.bySource.keys()].join()).toContain(clientOnLink[0])
    await layer2.lab.mustKubectl(['cordon', before])
    await layer2.lab.mustKubectl(['delete', 'pods', '-l', 'app=whoami'])
    await becomes('a pod elsewhere', async () => {
      const now = await podNode()
      return now !== '' && now !== before && !now.includes(' ') ? undefined : `it is on ${now}`
    })
    await becomes('the address at the pod', isAtPod)
    await becomes('answers', () => answers(local))
  })

  test('another mode of the pool, a release and a clean-up leave no address behind', { timeout }, async () => {
    const isGone = (among: readonly Ip[]) => async (): Promise<string | undefined> => {
      const holders = await layer2.allHolders()
      const held = among.find((vip) => holders.has(vip))
      return held === undefined ? undefined : `${held} is carried by ${holders.get(held)?.join()}`
    }
    await layer2.lab.mustKubectl(['uncordon', ...layer2.lab.topology.nodes.map(({ name }) => name)])
    await layer2.lab.mustKubectl(['scale', 'deployment', 'whoami', '--replicas=3'])
    await layer2.lab.mustKubectl(['rollout', 'status', 'deployment', 'whoami', '--timeout=60s'])
    const setMode = async (mode: string): Promise<unknown> =>
      layer2.lab.mustKubectl(['patch', 'vippool', 'link', '--type=merge', '-p', JSON.stringify({ spec: { mode } })])
    await setMode('bgp')
    await becomes('no addresses', isGone(vips))
    await setMode('layer2')
    await settles()
    const released = await layer2.addressesOf('web1')
    await layer2.lab.mustKubectl(['delete', 'service', 'web1'])
    await becomes('no address of the Service', isGone(released))
    vips = vips.filter((vip) => !released.includes(vip))
    await rebalance()
    const [{ node, own }] = await theOwners()
    await layer2.endAgent(node, 'SIGTERM')
    expect((await layer2.allHolders()).get(own[0] ?? foreignAddress)).toContain(node.name)
    const cleaned = await node.namespace.exec(nodeProgram('src/cli/main.ts', ['agent', '--cleanup']))
    expect(cleaned).toMatchObject({ status: 0 })
    const holders = await layer2.allHolders()
    expect([...holders.values()].flat()).not.toContain(node.name)
  })

  test('a node that cannot take an address is replaced, and when none can each says why', { timeout }, async () => {
    await layer2.startAgent(layer2.nodeNamed('node3'))
    await layer2.lab.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(namedPool) })
    await layer2.addServices(['named'], {
      metadata: { annotations: { 'bellhop.io/pool': namedPool.metadata.name } },
      spec: { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] },
    })
    let vip: Ip | undefined
    await becomes('the address', async () => {
      vip = (await layer2.addressesOf('named'))[0]
      return vip === undefined ? 'none yet' : isSettled([vip])
    })
    const said = async (): Promise<string> =>
      layer2.lab.mustKubectl([
        'get',
        'vips',
        '-o',
        `jsonpath={.items[?(@.spec.address=="${vip}")].status.conditions[*]}`,
      ])
    const says =
      (...words: readonly string[]) =>
      async (): Promise<string | undefined> => {
        const text = await said()
        return words.every((word) => text.includes(word)) ? undefined : text
      }
    const owner = async (): Promise<string> => (await layer2.owners()).get(vip ?? foreignAddress) ?? ''
    await becomes('the condition', says('"status":"True"', await owner()))
    // The kernel refuses the address from now on, on an interface that is up.
    const refuse = (name: string): Promise<void> =>
      layer2.nodeNamed(name).namespace.setSysctls({ 'net.ipv6.conf.lan0.disable_ipv6': 1 })
    const first = await owner()
    await refuse(first)
    await becomes('another owner', async () =>
      (await owner()) === first ? `${first} has it` : isSettled(vip ? [vip] : []),
    )
    const second = await owner()
    await becomes('the condition', says('"status":"True"', second))
    const all = layer2.lab.topology.nodes.map(({ name }) => name)
    for (const name of all) await refuse(name)
    await becomes(
      'every reason',
      says('"NoEligibleNode"', ...all.map((name) => `node ${name}: it could not be put on lan0: `)),
    )
    expect(await layer2.holders(vip ?? foreignAddress)).toEqual([])
    const third = await owner()
    for (const name of all) await layer2.nodeNamed(name).namespace.setSysctls({ 'net.ipv6.conf.lan0.disable_ipv6': 0 })
    await becomes('an owner that can', () => isSettled(vip ? [vip] : []))
    // It went on trying, and nobody took it in turns.
    expect(await owner()).toBe(third)
    await becomes('the condition', says('"status":"True"', third))
    // The pool names its nodes from now on, and the owner is none of them.
    const elsewhere = all.find((name) => name !== third) ?? ''
    const nodeSelector = { matchLabels: { 'kubernetes.io/hostname': elsewhere } }
    const spec = JSON.stringify({ spec: { layer2: { nodeSelector } } })
    await layer2.lab.mustKubectl(['patch', 'vippool', namedPool.metadata.name, '--type=merge', '-p', spec])
    await becomes('an owner of those', async () =>
      (await owner()) === elsewhere ? isSettled(vip ? [vip] : []) : `${await owner()} has it`,
    )
  })
})
