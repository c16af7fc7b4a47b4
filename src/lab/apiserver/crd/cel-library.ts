// The functions that Kubernetes adds to CEL and that our schemas call (IP and CIDR since 1.31), for the CEL engine. Two
// addresses are not compared with `==`: up to Kubernetes 1.31 the API server estimates that as unaffordable.
// Only what is listed here exists: a rule that calls anything else fails to compile, so that no rule passes the embedded
// API server and is then refused by a real one.
// Source: Kubernetes documentation, "Common Expression Language in Kubernetes", IP address library and CIDR library.
import type { Environment } from '@marcbachmann/cel-js'
import { familyOf, type Ip, ipToBigInt, isLinkLocal, parseIp } from '../../../net/ip.ts'
import { type Prefix, prefixAddress, prefixContains, prefixLength, prefixOf } from '../../../net/prefix.ts'
import { isCidr } from './formats.ts'

/** The CEL type net.IP. */
class CelIp {
  readonly ip: Ip
  constructor(ip: Ip) {
    this.ip = ip
  }
}

/** The CEL type net.CIDR: the address keeps the host bits that were written. */
class CelCidr {
  readonly address: Ip
  readonly prefix: Prefix
  constructor(address: Ip, prefix: Prefix) {
    this.address = address
    this.prefix = prefix
  }
}

const SYNC = { async: false } as const

/** Kubernetes takes neither zones nor IPv4 mapped into IPv6. */
const isCelIp = (text: string): boolean => plainIp(text) !== undefined

function plainIp(text: string): Ip | undefined {
  const parsed = parseIp(text)
  if (!parsed.ok) return undefined
  const mapped = familyOf(parsed.value) === 'IPv6' && ipToBigInt(parsed.value) >> 32n === 0xffffn
  return mapped ? undefined : parsed.value
}

function celIp(text: string): CelIp {
  const ip = plainIp(text)
  if (ip === undefined) throw new Error(`IP Address "${text}" parse error during conversion from string`)
  return new CelIp(ip)
}

function celCidr(text: string): CelCidr {
  const [address = '', length = ''] = text.split('/')
  const ip = isCidr(text) ? parseIp(address) : undefined
  if (!ip?.ok) throw new Error(`CIDR "${text}" parse error during conversion from string`)
  return new CelCidr(ip.value, prefixOf(ip.value, Number(length)))
}

/** Registers the types and functions; call once, before variables are registered. */
export function registerKubernetesLibrary(env: Environment): Environment {
  return env
    .registerType('net.IP', CelIp)
    .registerType('net.CIDR', CelCidr)
    .registerFunction(
      'string.replace(string, string): string',
      (text: string, from: string, to: string) => text.replaceAll(from, to),
      SYNC,
    )
    .registerFunction('isIP(string): bool', isCelIp, SYNC)
    .registerFunction('ip(string): net.IP', celIp, SYNC)
    .registerFunction('string(net.IP): string', (ip: CelIp) => ip.ip as string, SYNC)
    .registerFunction('net.IP.family(): int', (ip: CelIp) => (familyOf(ip.ip) === 'IPv4' ? 4n : 6n), SYNC)
    .registerFunction('net.IP.isUnspecified(): bool', (ip: CelIp) => ip.ip === '0.0.0.0' || ip.ip === '::', SYNC)
    .registerFunction('net.IP.isLoopback(): bool', (ip: CelIp) => ip.ip.startsWith('127.') || ip.ip === '::1', SYNC)
    .registerFunction('net.IP.isLinkLocalUnicast(): bool', (ip: CelIp) => isLinkLocal(ip.ip), SYNC)
    .registerFunction('isCIDR(string): bool', isCidr, SYNC)
    .registerFunction('cidr(string): net.CIDR', celCidr, SYNC)
    .registerFunction('net.CIDR.ip(): net.IP', (cidr: CelCidr) => new CelIp(cidr.address), SYNC)
    .registerFunction(
      'net.CIDR.masked(): net.CIDR',
      (cidr: CelCidr) => new CelCidr(prefixAddress(cidr.prefix), cidr.prefix),
      SYNC,
    )
    .registerFunction('net.CIDR.prefixLength(): int', (cidr: CelCidr) => BigInt(prefixLength(cidr.prefix)), SYNC)
    .registerFunction(
      'net.CIDR.containsIP(string): bool',
      (cidr: CelCidr, text: string) => prefixContains(cidr.prefix, celIp(text).ip),
      SYNC,
    )
    .registerFunction(
      'net.CIDR.containsIP(net.IP): bool',
      (cidr: CelCidr, ip: CelIp) => prefixContains(cidr.prefix, ip.ip),
      SYNC,
    )
}
