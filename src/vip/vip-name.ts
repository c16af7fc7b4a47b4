// The name of the Vip object that stands for an address. The name is the lock of the allocation, so one address has exactly one
// name and the name says which; IPv6 is written out because an object's name may not hold a colon.

import { familyOf, type Ip, ipFromBytes, ipToBytes, parseIp } from '../net/ip.ts'

/** `203.0.113.10`, or eight groups of four hex digits joined by `-`. */
export function vipName(address: Ip): string {
  if (familyOf(address) === 'IPv4') return address
  const bytes = ipToBytes(address)
  const groups: string[] = []
  for (let i = 0; i < 16; i += 2)
    groups.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16).padStart(4, '0'))
  return groups.join('-')
}

/** The address that `name` stands for, or undefined when no address has this name. */
export function parseVipName(name: string): Ip | undefined {
  if (/^[0-9a-f]{4}(-[0-9a-f]{4}){7}$/.test(name)) {
    const hex = name.replaceAll('-', '')
    return ipFromBytes(Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16)))
  }
  const ip = name.includes(':') ? undefined : parseIp(name)
  return ip?.ok ? ip.value : undefined
}
