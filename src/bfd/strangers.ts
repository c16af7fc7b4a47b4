// Whether a program that is not ours listens for BFD on this host, by the kernel's table of sockets. A BFD daemon listens to
// everybody; our own sockets are connected to one router each. A daemon that lets others share its port would not stop us from taking
// its packets of a router, and with them its session.

import { readFileSync } from 'node:fs'
import { familyOf, type Ip, type IpFamily, ipToBytes } from '../net/ip.ts'
import { littleEndian } from '../runtime/libc.ts'

/** The text of /proc/net/udp or udp6; empty where there is none. */
export type ReadUdpTable = (family: IpFamily) => string

export const systemUdpTable: ReadUdpTable = (family) => {
  try {
    // Of this thread's network namespace.
    return readFileSync(`/proc/thread-self/net/${family === 'IPv4' ? 'udp' : 'udp6'}`, 'latin1')
  } catch {
    return ''
  }
}

/** Whether a socket at `port` takes packets for `local` from anybody. */
export function strangerListens(port: number, local: Ip, readTable: ReadUdpTable): boolean {
  const family = familyOf(local)
  const own = hexWords(local)
  const nobody = '0'.repeat(own.length)
  const at = port.toString(16).toUpperCase().padStart(4, '0')
  return readTable(family)
    .split('\n')
    .some((line) => {
      const [, address, localPort, remote] = /^\s*\d+: ([\dA-F]+):([\dA-F]{4}) ([\dA-F]+):/.exec(line) ?? []
      return localPort === at && remote === nobody && (address === nobody || address === own)
    })
}

/** As the kernel prints it: words of 32 bits, each as this machine reads them. */
function hexWords(address: Ip): string {
  const bytes = ipToBytes(address)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.length / 4 }, (_, i) =>
    view
      .getUint32(4 * i, littleEndian)
      .toString(16)
      .toUpperCase()
      .padStart(8, '0'),
  ).join('')
}
