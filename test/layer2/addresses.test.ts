// What `ip` shows, as links and addresses: whose they are, and what of a node can answer for VIPs.

import { describe, expect, test } from 'vitest'
import { changeAddresses, labelOf, readNode, removeAllAddresses } from '../../src/layer2/addresses.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import type { Exec } from '../../src/runtime/exec.ts'
import { must } from '../../src/runtime/result.ts'

const ip = (text: string): Ip => must(parseIp(text))
const up = ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP']
const ours4 = {
  ...{ local: '10.0.0.100', prefixlen: 32, dynamic: true, noprefixroute: true },
  ...{ label: 'eth0:bellhop', valid_life_time: 12 },
}
const ours6 = { local: 'fd00:10::100', prefixlen: 128, dynamic: true, noprefixroute: true, valid_life_time: 12 }
const eth0 = (addr_info: readonly unknown[], over: object = {}) => ({
  ...{ ifindex: 2, ifname: 'eth0', flags: up, link_type: 'ether', address: '02:00:00:00:00:01', addr_info, ...over },
})

describe('whose an address is', () => {
  test.each<[what: string, info: object, ours: boolean]>([
    ['an IPv4 address with our label and a lifetime', ours4, true],
    ['an IPv6 address with a lifetime and no route', ours6, true],
    ['one that lasts for ever', { ...ours4, dynamic: false, valid_life_time: 0xffff_ffff }, false],
    ['one by DHCP', { ...ours4, label: 'eth0', valid_life_time: 3600 }, false],
    ['one with another label', { ...ours4, label: 'eth0:1' }, false],
    ['one that lives longer than any of ours', { ...ours6, valid_life_time: 61 }, false],
    ['a network', { ...ours4, prefixlen: 24 }, false],
    ['an address of router advertisements', { ...ours6, prefixlen: 64, noprefixroute: false }, false],
  ])('%s', (_, info, ours) => {
    const { held, foreign } = readNode([eth0([info])])
    expect([held.size, foreign.size]).toEqual(ours ? [1, 0] : [0, 1])
  })

  test.each([
    ['eth0', 'eth0:bellhop'],
    ['enp134s0f1', 'enp134s0f1:bell'],
    ['enp134s0f1np1', 'enp134s0f1np1:b'],
    ['fourteen-chars', undefined],
  ])('the label on %s is %s, and never longer than a name', (name, label) => {
    expect(labelOf(name)).toBe(label)
    expect((labelOf(name) ?? '').length).toBeLessThanOrEqual(15)
  })
})

describe('links that can answer', () => {
  const net = [{ local: '10.0.0.1', prefixlen: 24, valid_life_time: 0xffff_ffff }]
  test.each<[what: string, link: object, usable: boolean]>([
    ['an Ethernet interface in a network', eth0(net), true],
    ['one without an address', eth0([]), true],
    ['one without a cable', eth0(net, { flags: ['BROADCAST', 'UP'] }), false],
    ['one that is down', eth0(net, { flags: ['BROADCAST'] }), false],
    ['the loopback', eth0(net, { flags: ['LOOPBACK', 'UP', 'LOWER_UP'], link_type: 'loopback' }), false],
    ['a tunnel', eth0(net, { link_type: 'ipip' }), false],
    ["kube-proxy's IPVS interface", eth0(net, { ifname: 'kube-ipvs0', flags: ['BROADCAST', 'NOARP', 'UP'] }), false],
    ['a port of a bridge', eth0([], { master: 'br0' }), false],
    ['the cable to a pod', eth0([], { link_netnsid: 3 }), false],
  ])('%s', (_, link, usable) => {
    expect(readNode([link]).links).toHaveLength(usable ? 1 : 0)
  })

  test('a link tells its networks, and not its own VIPs', () => {
    const [link] = readNode([eth0([...net, ours4, ours6, { local: 'fe80::1', prefixlen: 64 }])]).links
    expect(link).toEqual({ name: 'eth0', index: 2, mac: '02:00:00:00:00:01', subnets: ['10.0.0.0/24'] })
  })

  test('IPVS mode is seen by its interface', () => {
    expect(readNode([eth0(net)]).ipvs).toBe(false)
    expect(readNode([{ ifname: 'kube-ipvs0', flags: ['NOARP'], link_type: 'ether' }]).ipvs).toBe(true)
  })
})

describe('changes', () => {
  const change = { type: 'add', interface: 'eth0', seconds: 15 } as const
  const runs = (status: number, stderr: string, inputs: string[] = []): Exec => {
    return async (_file, args, options) => {
      inputs.push(options?.input ?? '')
      return args.includes('show')
        ? { status: 0, stdout: JSON.stringify([eth0([ours4, ours6])]), stderr: '' }
        : { status, stdout: '', stderr }
    }
  }

  test('an address is added, and replaced only when it is ours; IPv6 is never a source of the node', async () => {
    const inputs: string[] = []
    await changeAddresses(
      [
        { ...change, address: ip('10.0.0.100') },
        { ...change, type: 'renew', address: ip('fd00:10::100') },
        { type: 'remove', address: ip('10.0.0.101'), interface: 'eth0' },
      ],
      runs(0, '', inputs),
    )
    expect(inputs[0]?.trim().split('\n')).toEqual([
      'address add 10.0.0.100/32 dev eth0 label eth0:bellhop valid_lft 15 preferred_lft 15 noprefixroute',
      'address replace fd00:10::100/128 dev eth0 valid_lft 15 preferred_lft 0 nodad noprefixroute',
      'address del 10.0.0.101/32 dev eth0',
    ])
  })

  test('what fails is told by its line, and the rest is done', async () => {
    const changes = ['10.0.0.100', '10.0.0.101', '10.0.0.102'].map((text) => ({ ...change, address: ip(text) }))
    const stderr = 'RTNETLINK answers: File exists\nCommand failed -:2\n'
    expect([...(await changeAddresses(changes, runs(1, stderr)))]).toEqual([
      ['10.0.0.101', 'RTNETLINK answers: File exists'],
    ])
  })

  test('without the program everything fails, with a hint', async () => {
    const failed = await changeAddresses([{ ...change, address: ip('10.0.0.100') }], runs(127, ''))
    expect(failed.get(ip('10.0.0.100'))).toBe(
      'there is no program ip here: install iproute2 in the image or on the node',
    )
  })

  test('a clean-up removes what is ours, and nothing else', async () => {
    const inputs: string[] = []
    expect(await removeAllAddresses(runs(0, '', inputs))).toEqual({ ok: true, value: 2 })
    expect(inputs.at(-1)).toBe('address del 10.0.0.100/32 dev eth0\naddress del fd00:10::100/128 dev eth0\n')
  })
})
