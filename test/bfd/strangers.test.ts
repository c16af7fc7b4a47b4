// The kernel's table of UDP sockets, as a machine of this byte order prints it, and as the kernel of this machine does.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { strangerListens, systemUdpTable } from '../../src/bfd/strangers.ts'
import type { IpFamily } from '../../src/net/ip.ts'
import { littleEndian } from '../../src/runtime/libc.ts'
import { loopback } from '../bgp/speaker/loopback.ts'
import { ip } from './bench.ts'

const header =
  '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops'
const line = (local: string, port: string, remote: string): string =>
  ` 2646: ${local}:${port} ${remote}:0000 07 00000000:00000000 00:00000000 00000000     0        0 9990122 2 00000000a7b24027 0`
const words = (hex: string): string =>
  hex.replace(/[\dA-F]{8}/g, (word) => (littleEndian ? (word.match(/../g) ?? []).reverse().join('') : word))
const any4 = '0'.repeat(8)
const any6 = '0'.repeat(32)
const own4 = words('0A09000A')
const own6 = words('FD09000000000000000000000000000A')

test.each<[string, IpFamily, string, boolean]>([
  ['everybody at every address', 'IPv4', line(any4, '0EC8', any4), true],
  ['everybody at our address', 'IPv4', line(own4, '0EC8', any4), true],
  ['everybody at another address', 'IPv4', line(words('0A09000B'), '0EC8', any4), false],
  ['one router, as our own do', 'IPv4', line(own4, '0EC8', words('0A090001')), false],
  ['everybody at another port', 'IPv4', line(any4, '12B0', any4), false],
  ['nobody', 'IPv4', '', false],
  ['everybody at every IPv6 address', 'IPv6', line(any6, '0EC8', any6), true],
  ['everybody at our IPv6 address', 'IPv6', line(own6, '0EC8', any6), true],
  ['everybody at another IPv6 address', 'IPv6', line(words('FD09000000000000000000000000000B'), '0EC8', any6), false],
])('a program that listens to %s', (_, family, entry, expected) => {
  const local = ip(family === 'IPv4' ? '10.9.0.10' : 'fd09::a')
  const read = (asked: IpFamily): string => (asked === family ? `${header}\n${entry}\n` : '')
  expect(strangerListens(3784, local, read)).toBe(expected)
})

test('the table of this kernel is read', async () => {
  const address = loopback()
  const socket = createSocket('udp4')
  socket.bind({ address, port: 0 })
  await once(socket, 'listening')
  const { port } = socket.address()
  expect(strangerListens(port, address, systemUdpTable)).toBe(true)
  expect(strangerListens(port, loopback(), systemUdpTable)).toBe(false)
  socket.close()
  await once(socket, 'close')
  expect(strangerListens(port, address, systemUdpTable)).toBe(false)
})
