// The keeper on real interfaces and with real packets: what happens to a link, to an address and to a client whose caches are full when
// interfaces vanish and return, when somebody else has the address, and on bonds, bridges and VLANs.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { type Bridge, createNetwork, type Link, type Network } from '../../src/lab/netns/network.ts'
import { nodeProgram } from '../../src/lab/netns/node-program.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { describeWith } from '../support/privileges.ts'

const timeout = 60_000
/** By curl. */
const refused = 7

interface Told {
  readonly links: readonly { readonly name: string; readonly mac: string }[]
  readonly holds: readonly string[]
  readonly refusals: readonly (readonly [
    string,
    { readonly reason: string; readonly message: string; readonly scope: string },
  ])[]
  readonly answersForAll: boolean
}

interface Given {
  readonly address: string
  readonly interface: string
  readonly from?: string
}

/** A node with a keeper. */
interface Node {
  readonly namespace: Namespace
  readonly give: (...vips: readonly Given[]) => void
  readonly told: () => Told | undefined
  readonly refusal: (vip: string) => Told['refusals'][number][1] | undefined
}

describeWith({ netns: true, programs: ['ip', 'curl', 'setpriv'] }, 'The keeper on real links', () => {
  let network: Network
  let lan: Bridge
  let client: Namespace
  let serial = 0

  const until = (
    what: string,
    look: () => boolean | Promise<boolean>,
    evidence: () => string = () => '',
  ): Promise<boolean> =>
    waitFor(async () => (await look()) || undefined, { what, timeoutMs: 30_000, intervalMs: 100, evidence })
  const plug = (at: Namespace, name: string, host: number): Promise<Link> =>
    network.connect({ at, interface: name, addresses: [`10.0.0.${host}/24`, `fd00:10::${host}/64`] }, { at: lan })
  const addNode = async (argv: readonly string[] = []): Promise<Node> => {
    serial++
    const namespace = await network.addNamespace(`node${serial}`)
    return keepOn(namespace, argv)
  }
  const keepOn = (namespace: Namespace, argv: readonly string[] = []): Node => {
    const keeper: LabProcess = namespace.spawn([...argv, ...nodeProgram('test/layer2/keeper-program.ts')])
    let told: Told | undefined
    keeper.onLine((line) => {
      told = JSON.parse(line)
    })
    return {
      namespace,
      give: (...vips) => keeper.writeLine(JSON.stringify(vips)),
      told: () => told,
      refusal: (vip) => told?.refusals.find(([address]) => address === vip)?.[1],
    }
  }
  const holds = (node: Node, ...vips: readonly string[]): Promise<boolean> =>
    until(
      `${node.namespace.name} holds ${vips.join()}`,
      () => JSON.stringify([...(node.told()?.holds ?? [])].sort()) === JSON.stringify(vips.toSorted()),
      () => JSON.stringify(node.told()),
    )
  const refuses = (node: Node, vip: string, reason: string): Promise<boolean> =>
    until(
      `${node.namespace.name} refuses ${vip}: ${reason}`,
      () => node.refusal(vip)?.reason === reason,
      () => JSON.stringify(node.told()),
    )
  /** Nobody listens there: a connection is refused by whoever has the address, and times out without him. */
  const isAnswered = async (vip: string): Promise<boolean> =>
    (await client.exec(['curl', '-s', '--connect-timeout', '1', `http://${vip.includes(':') ? `[${vip}]` : vip}:9/`]))
      .status === refused
  const macOf = async (namespace: Namespace, name: string): Promise<string> =>
    JSON.parse(await namespace.run(['ip', '-j', 'link', 'show', name]))[0].address
  /** The MAC that the client has for the address, without asking. */
  const believed = async (vip: string): Promise<string | undefined> =>
    JSON.parse((await client.run(['ip', '-j', 'neigh', 'show', vip])) || '[]')[0]?.lladdr
  /** The client, whose caches are full from then on, gets its answer from this interface. */
  const reaches = async (vip: string, node: Node, name = 'eth0'): Promise<void> => {
    const mac = await macOf(node.namespace, name)
    await until(
      `the client has ${vip} at ${node.namespace.name}`,
      async () => (await isAnswered(vip)) && (await believed(vip)) === mac,
    )
  }
  const both = (n: number): readonly [string, string] => [`10.0.0.${n}`, `fd00:10::${n}`]
  const on = (name: string, vips: readonly string[], from?: string): readonly Given[] =>
    vips.map((address) => ({ address, interface: name, ...(from === undefined ? {} : { from }) }))

  beforeAll(async () => {
    network = await createNetwork({ prefix: 'l2keep' })
    lan = await network.addBridge('lan')
    client = await network.addNamespace('client')
    await plug(client, 'eth0', 200)
  }, timeout)
  afterAll(() => network?.destroy())

  test('an address that moves is found at the next node by a client whose caches are full', { timeout }, async () => {
    const [a, b] = [await addNode(), await addNode()]
    await plug(a.namespace, 'eth0', 1)
    await plug(b.namespace, 'eth0', 2)
    const vips = both(100)
    a.give(...on('eth0', vips))
    await holds(a, ...vips)
    for (const vip of vips) await reaches(vip, a)
    // Both for a moment, as when the first has not heard yet.
    b.give(...on('eth0', vips, 'a'))
    await holds(b, ...vips)
    a.give()
    await holds(a)
    for (const vip of vips) await reaches(vip, b)
  })

  test('an interface that is deleted and made anew, or goes down and up, has its addresses again', {
    timeout,
  }, async () => {
    const node = await addNode()
    const cable = await plug(node.namespace, 'eth0', 3)
    const vips = both(101)
    node.give(...on('eth0', vips))
    await holds(node, ...vips)
    for (const vip of vips) await reaches(vip, node)
    await cable.remove()
    await refuses(node, vips[0], 'AddressNotSet')
    expect(node.told()).toMatchObject({ links: [], holds: [] })
    expect(node.refusal(vips[0])).toMatchObject({ message: 'there is no interface eth0 that is up', scope: 'node' })
    const again = await plug(node.namespace, 'eth0', 3)
    await holds(node, ...vips)
    // Another MAC than before.
    for (const vip of vips) await reaches(vip, node)
    await again.set('b', 'down')
    await until('no cable', () => node.told()?.links.length === 0)
    expect(node.told()?.holds).toEqual([])
    await again.set('b', 'up')
    await holds(node, ...vips)
    await node.namespace.setLink('eth0', 'down')
    await until('no link', () => node.told()?.links.length === 0)
    // The kernel forgets the IPv6 addresses of an interface that is down, and with them the way back to the client.
    await node.namespace.ip(['link set eth0 up', 'addr add fd00:10::3/64 dev eth0 nodad'])
    await holds(node, ...vips)
    for (const vip of vips) await reaches(vip, node)
  })

  test('an interface that is renamed loses them, and takes them under its new name', { timeout }, async () => {
    const node = await addNode()
    await plug(node.namespace, 'eth0', 4)
    const vips = both(102)
    node.give(...on('eth0', vips))
    await holds(node, ...vips)
    for (const vip of vips) await reaches(vip, node)
    await node.namespace.ip([
      'link set eth0 down',
      'link set eth0 name uplink-to-lan0',
      'link set uplink-to-lan0 up',
      'addr add fd00:10::4/64 dev uplink-to-lan0 nodad',
    ])
    await refuses(node, vips[0], 'AddressNotSet')
    await until('the old ones are gone', () => node.told()?.holds.length === 0)
    expect(node.told()?.links.map(({ name }) => name)).toEqual(['uplink-to-lan0'])
    node.give(...on('uplink-to-lan0', vips, 'itself'))
    await holds(node, ...vips)
    for (const vip of vips) await reaches(vip, node, 'uplink-to-lan0')
  })

  test('what somebody configured on the node is left alone, and what somebody took away is put back', {
    timeout,
  }, async () => {
    const node = await addNode()
    await plug(node.namespace, 'eth0', 5)
    const vips = both(103)
    await node.namespace.addAddress('eth0', `${vips[0]}/24`)
    await node.namespace.addAddress('eth0', `${vips[1]}/64`)
    node.give(...on('eth0', vips, 'another'))
    for (const vip of vips) {
      await refuses(node, vip, 'AddressInUse')
      expect(node.refusal(vip)).toMatchObject({ scope: 'node', message: expect.stringContaining('not from Bellhop') })
    }
    await node.namespace.removeAddress('eth0', `${vips[0]}/24`)
    await node.namespace.removeAddress('eth0', `${vips[1]}/64`)
    await holds(node, ...vips)
    await node.namespace.removeAddress('eth0', `${vips[0]}/32`)
    await until('it is seen', () => node.told()?.holds.length === 1 || node.told()?.holds.length === 2)
    await until('it is back', async () =>
      (await node.namespace.run(['ip', 'address', 'show', 'eth0'])).includes(`${vips[0]}/32`),
    )
    for (const vip of vips) await reaches(vip, node)
  })

  test('a host that wants the address of an owner: IPv6 finds it taken, IPv4 is answered and reported', {
    timeout,
  }, async () => {
    const node = await addNode()
    await plug(node.namespace, 'eth0', 6)
    const stranger = await network.addNamespace('stranger')
    await plug(stranger, 'eth0', 60)
    const [ipv4, ipv6] = both(104)
    node.give(...on('eth0', [ipv4, ipv6]))
    await holds(node, ipv4, ipv6)
    for (const vip of [ipv4, ipv6]) await reaches(vip, node)
    await stranger.setSysctls({ 'net.ipv6.conf.eth0.accept_dad': 1, 'net.ipv6.conf.eth0.dad_transmits': 1 })
    await stranger.run(['ip', 'address', 'add', `${ipv6}/64`, 'dev', 'eth0'])
    await until('duplicate address detection', async () =>
      (await stranger.run(['ip', 'address', 'show', 'eth0'])).includes('dadfailed'),
    )
    await stranger.setSysctls({ 'net.ipv4.conf.eth0.arp_notify': 1 })
    await stranger.addAddress('eth0', `${ipv4}/32`)
    await stranger.ip(['link set eth0 address 02:00:00:00:00:60'])
    await refuses(node, ipv4, 'AddressConflict')
    expect(node.refusal(ipv4)).toMatchObject({
      scope: 'link',
      message: expect.stringContaining(await macOf(stranger, 'eth0')),
    })
    await stranger.removeAddress('eth0', `${ipv4}/32`)
    for (const vip of [ipv4, ipv6]) await reaches(vip, node)
  })

  test('on a bridge with an address and on one without, by names as VLANs have them', { timeout }, async () => {
    const node = await addNode()
    await plug(node.namespace, 'eth0', 7)
    for (const port of ['eth1', 'eth2']) await network.connect({ at: node.namespace, interface: port }, { at: lan })
    await node.namespace.ip([
      'link add br0 type bridge',
      'link set eth1 master br0',
      'link set br0 up',
      'addr add 10.0.0.17/24 dev br0',
      'link add bond0.20 type bridge',
      'link set eth2 master bond0.20',
      'link set bond0.20 up',
    ])
    // A port is no link.
    await until(
      'the links',
      () =>
        (node.told()?.links ?? [])
          .map(({ name }) => name)
          .sort()
          .join() === 'bond0.20,br0,eth0',
      () => JSON.stringify(node.told()?.links),
    )
    const vips = ['10.0.0.105', '10.0.0.106', 'fd00:10::106']
    node.give(...on('br0', vips.slice(0, 1)), ...on('bond0.20', vips.slice(1)))
    await holds(node, ...vips)
    for (const vip of vips) await until(`the client reaches ${vip}`, () => isAnswered(vip))
    expect(node.told()?.refusals).toEqual([])
  })

  test('two interfaces in one network hear each other, and that is no conflict; the VIP moves between them', {
    timeout,
  }, async () => {
    const node = await addNode()
    await plug(node.namespace, 'eth0', 8)
    await plug(node.namespace, 'eth1', 9)
    const vips = both(107)
    node.give(...on('eth0', vips))
    await holds(node, ...vips)
    for (const vip of vips) await until(`the client reaches ${vip}`, () => isAnswered(vip))
    await node.namespace.setLink('eth0', 'down')
    await until(
      'one link',
      () =>
        node
          .told()
          ?.links.map(({ name }) => name)
          .join() === 'eth1',
    )
    node.give(...on('eth1', vips, 'itself'))
    await holds(node, ...vips)
    for (const vip of vips) await reaches(vip, node, 'eth1')
    expect(node.told()?.refusals).toEqual([])
  })

  test('without the right to set addresses it says so, and touches nothing', { timeout }, async () => {
    const node = await addNode(['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin'])
    await plug(node.namespace, 'eth0', 10)
    node.give(...on('eth0', both(108), 'another'))
    await refuses(node, '10.0.0.108', 'AddressNotSet')
    expect(node.refusal('10.0.0.108')).toMatchObject({
      message: expect.stringContaining('not permitted'),
      scope: 'node',
    })
    expect(node.told()?.holds).toEqual([])
  })

  test('a node in IPVS mode answers for VIPs of others unless its kernel is strict, and says so', {
    timeout,
  }, async () => {
    const node = await addNode()
    await plug(node.namespace, 'eth0', 11)
    await until('it looked', () => node.told() !== undefined)
    await node.namespace.ip(['link add kube-ipvs0 type bridge', 'addr add 10.0.0.109/32 dev kube-ipvs0'])
    node.give(...on('eth0', ['10.0.0.110']))
    await until('it says so', () => node.told()?.answersForAll === true)
    // What it says is true.
    expect(await isAnswered('10.0.0.109')).toBe(true)
    await node.namespace.setSysctls({ 'net.ipv4.conf.all.arp_ignore': 1, 'net.ipv4.conf.all.arp_announce': 2 })
    await until('it does not any more', () => node.told()?.answersForAll === false)
    await client.run(['ip', 'neigh', 'flush', 'all'])
    expect(await isAnswered('10.0.0.109')).toBe(false)
    expect(await isAnswered('10.0.0.110')).toBe(true)
  })
})
