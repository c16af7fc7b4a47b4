// What reaches a pod through a node that forwards nothing, in a real kernel: every back end, both families, every protocol that a
// Service can have, both directions. What the rules mean is told by whether an answer comes back.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { chooseBackend } from '../../src/datapath/choose.ts'
import { removeEverything } from '../../src/datapath/cleanup.ts'
import { addressesOnly } from '../../src/datapath/desired.ts'
import { type ForwardKeeper, keepForwardRules } from '../../src/datapath/keeper.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import {
  clientAddresses,
  createNodeNetwork,
  ip,
  type NodeNetwork,
  other4,
  other6,
  podAddresses,
  ports,
  type RulesOfOthers,
  vip4,
  vip6,
} from '../iptables/node-network.ts'
import { describeWith } from '../support/privileges.ts'

const vips = [vip4, vip6]
const thousands = [
  ...Array.from({ length: 3000 }, (_, i) => ip(`198.18.${i >> 8}.${i & 255}`)),
  ...Array.from({ length: 3000 }, (_, i) => ip(`2001:db8:2::${(i * 7 + 1).toString(16)}`)),
  ...vips,
]

for (const name of ['nft', 'legacy', 'nftables'] as const)
  describeWith(
    { netns: true, programs: ['iptables-nft-restore', 'iptables-legacy-restore', 'nft', 'curl'] },
    `a node that forwards nothing, by rules in ${name}`,
    () => suite(name),
  )

function suite(name: RulesOfOthers): void {
  let network: NodeNetwork
  let untouched: string
  let stop: AbortController
  let keeper: ForwardKeeper

  const everyProtocol = (vip: string): Promise<readonly (string | undefined)[]> =>
    Promise.all([
      network.request(network.client, vip, ports.tcp[0]),
      network.ask(network.client, 'udp', vip, ports.udp[0]),
      network.ask(network.client, 'sctp', vip, ports.sctp[0]),
    ])
  const inPlace = async (wanted: readonly (typeof vip4)[]): Promise<void> => {
    keeper.setVips(addressesOnly(wanted))
    await waitFor(() => keeper.facts().vips.IPv4 + keeper.facts().vips.IPv6 === wanted.length, {
      what: `${wanted.length} VIPs in place: ${JSON.stringify(keeper.facts().lastError)}`,
    })
  }

  beforeAll(async () => {
    network = await createNodeNetwork(name)
    untouched = await network.save(name)
    stop = new AbortController()
    keeper = keepForwardRules(
      { backend: 'auto', checkIntervalMs: 100 },
      { exec: network.exec, clock: systemClock, log: silentLog, signal: stop.signal },
    )
  })
  afterAll(async () => {
    stop?.abort()
    await keeper?.ended
    await network?.[Symbol.asyncDispose]()
  })

  test('the back end is found by what is in use', async () => {
    expect(must(await chooseBackend('auto', network.exec)).name).toBe(name)
  })

  test.each(vips)('without our rules nothing gets to %s', async (vip) => {
    expect(await everyProtocol(vip)).toEqual([undefined, 'nothing', 'nothing'])
  })

  test.each([
    [vip4, clientAddresses[0]],
    [vip6, clientAddresses[1]],
  ])('with them TCP, UDP and SCTP get to %s and back, with the source address kept', async (vip, client) => {
    await inPlace(vips)
    expect(await everyProtocol(vip)).toEqual([client, client, 'associated'])
  })

  test('what is no VIP of ours stays closed: other addresses that are translated, the pod itself, and its way out', async () => {
    const nothing = [undefined, 'nothing', 'nothing']
    expect(await Promise.all([other4, other6].map(everyProtocol))).toEqual([nothing, nothing])
    const direct = podAddresses.map((pod) => network.request(network.client, pod, ports.tcp[1]))
    expect(await Promise.all(direct)).toEqual([undefined, undefined])
    const dial = await network.pod.exec(['curl', '-s', '--connect-timeout', '0.7', 'http://10.9.1.1:80/'])
    expect(dial.status).toBe(28)
  })

  test('with thousands of VIPs the same are open and the same are closed', async () => {
    await inPlace(thousands)
    expect(await network.request(network.client, vip4, ports.tcp[0])).toBe(clientAddresses[0])
    expect(await network.ask(network.client, 'udp', vip6, ports.udp[0])).toBe(clientAddresses[1])
    expect(await network.request(network.client, other4, ports.tcp[0])).toBeUndefined()
    expect(await network.request(network.client, other6, ports.tcp[0])).toBeUndefined()
  })

  test('a VIP that is released is closed while the other stays open', async () => {
    await inPlace([vip6])
    expect(await network.request(network.client, vip4, ports.tcp[0])).toBeUndefined()
    expect(await network.request(network.client, vip6, ports.tcp[0])).toBe(clientAddresses[1])
  })

  test('cleanup leaves the node as it was, and finds nothing a second time', async () => {
    await inPlace(vips)
    stop.abort()
    await keeper.ended
    expect(keeper.facts()).toMatchObject({ errors: 0, backend: name })
    const deps = { exec: network.exec, clock: systemClock }
    const places = name === 'nftables' ? ['table inet firewall'] : [`${name} IPv4`, `${name} IPv6`]
    expect(must(await removeEverything(deps))).toEqual(places)
    expect(await network.save(name)).toBe(untouched)
    expect(must(await removeEverything(deps))).toEqual([])
  })
}
