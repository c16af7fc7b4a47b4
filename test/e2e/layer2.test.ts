// Layer 2 with packets: a client on the nodes' link whose caches are full, and nodes that die, lose their agent or the control plane.
// Every address is carried by one node; the client goes on with the next one, and nobody who need not move does.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import type { Ip } from '../../src/net/ip.ts'
import { familyOf } from '../../src/net/ip.ts'
import { describeWith } from '../support/privileges.ts'
import { type Layer2Lab, startLayer2Lab } from './support-layer2.ts'
import { becomes } from './support-replicas.ts'

const timeout = 120_000
const names = ['web1', 'web2', 'web3', 'web4', 'web5', 'web6']

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
  /** A node without a controller that owns a VIP of each family, and what it owns. */
  const anOwner = async (): Promise<{ readonly node: LabNode; readonly own: readonly Ip[] }> => {
    const owners = await layer2.owners()
    const node = layer2.lab.topology.nodes.at(-1)
    if (node === undefined) throw new Error('there are no nodes')
    const own = vips.filter((vip) => owners.get(vip) === node.name)
    if (new Set(own.map(familyOf)).size < 2) throw new Error(`${node.name} owns ${own.join() || 'nothing'}`)
    return { node, own }
  }
  const ownersOf = async (among: readonly Ip[]): Promise<readonly string[]> => {
    const owners = await layer2.owners()
    return among.map((vip) => `${vip} ${owners.get(vip)}`)
  }
  const others = (own: readonly Ip[]): readonly Ip[] => vips.filter((vip) => !own.includes(vip))
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
    const { node, own } = await anOwner()
    const before = await ownersOf(others(own))
    const offMs = performance.now()
    await layer2.lab.cutOff(node)
    await becomes('the others', moved(own, node))
    console.log(`${own.length} VIPs of ${node.name} answered again after ${Math.round(performance.now() - offMs)} ms`)
    expect(await ownersOf(others(own))).toEqual(before)
    await layer2.lab.reconnect(node)
    await settles()
    expect(await ownersOf(others(own))).toEqual(before)
  })
})
