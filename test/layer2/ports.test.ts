// Which sockets are open: one for each link that is used, and never one of a link that is gone.

import { beforeEach, expect, test } from 'vitest'
import type { ObservedLink } from '../../src/layer2/addresses.ts'
import { createPorts, type Ports } from '../../src/layer2/ports.ts'
import { err, ok } from '../../src/runtime/result.ts'

const eth0: ObservedLink = { name: 'eth0', index: 2, mac: '02:00:00:00:00:01', subnets: [] }
const eth1: ObservedLink = { name: 'eth1', index: 3, mac: '02:00:00:00:00:02', subnets: [] }

let happened: string[]
let ports: Ports

beforeEach(() => {
  happened = []
  ports = createPorts((index) => {
    happened.push(`open ${index}`)
    if (index === 99) return err({ code: 'layer2/no-raw-sockets', message: 'CAP_NET_RAW' })
    return ok({ send: () => undefined, receive: () => undefined, close: () => void happened.push(`close ${index}`) })
  })
})

test('one for a link, however often it is used', () => {
  for (const link of [eth0, eth1, eth0, eth1]) expect(ports.at(link)).toMatchObject({ ok: true })
  expect(happened).toEqual(['open 2', 'open 3'])
  expect([...ports.open.keys()]).toEqual(['eth0', 'eth1'])
})

test.each([
  ['was made anew', { index: 7 }, ['open 2', 'close 2', 'open 7']],
  ['has another MAC', { mac: '02:00:00:00:00:09' }, ['open 2', 'close 2', 'open 2']],
])('another one for a link that %s', (_how, changes, expected) => {
  ports.at(eth0)
  ports.at({ ...eth0, ...changes })
  expect(happened).toEqual(expected)
  expect(ports.open.size).toBe(1)
})

test('none for a link without an Ethernet address, and none where the kernel says no', () => {
  expect(ports.at({ ...eth0, mac: '' })).toMatchObject({ error: { message: 'eth0 has no Ethernet address: ""' } })
  expect(ports.at({ ...eth0, index: 99 })).toMatchObject({ error: { message: 'CAP_NET_RAW' } })
  expect(ports.open.size).toBe(0)
})

test('those that nobody uses are closed', () => {
  ports.at(eth0)
  ports.at(eth1)
  ports.keepOnly(new Set(['eth1']))
  expect(happened).toEqual(['open 2', 'open 3', 'close 2'])
  expect([...ports.open.keys()]).toEqual(['eth1'])
})
