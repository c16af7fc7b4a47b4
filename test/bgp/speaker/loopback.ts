// Addresses of 127.0.0.0/8 that no other test process uses: all of them are this host without being configured.

import type { Ip } from '../../../src/net/ip.ts'
import { ip } from './bench.ts'

let last = 0

/** A new address: 127.<16 bits of the process id>.<number>. */
export function loopback(): Ip {
  last++
  if (last > 250) throw new Error('out of loopback addresses')
  return ip(`127.${((process.pid >> 8) & 0x7f) + 100}.${process.pid & 0xff}.${last}`)
}
