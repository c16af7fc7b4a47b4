// Cluster addresses and node ports of Services: what is taken follows from the stored Services, so there is nothing to release
// and a dry run reserves nothing.

import { addressBits, familyOf, type Ip, type IpFamily, ipFromBigInt, ipToBigInt, parseIp } from '../../../net/ip.ts'
import {
  type Prefix,
  parsePrefix,
  prefixAddress,
  prefixContains,
  prefixFamily,
  prefixLength,
} from '../../../net/prefix.ts'
import { must } from '../../../runtime/result.ts'
import { type JsonObject, numberAt, objectsAt, stringsAt } from '../json.ts'
import type { Store } from '../storage/store.ts'

export const serviceBucket = '/services'

/** `--service-cluster-ip-range`: one a family, in the order of the families; one alone is a cluster of that family. */
export interface AddressRanges {
  readonly ipv4?: string
  readonly ipv6?: string
}

/** `--service-node-port-range` of a cluster that sets nothing. */
const firstNodePort = 30000
const lastNodePort = 32767

export class AddressAllocator {
  readonly #ranges: ReadonlyMap<IpFamily, Prefix>
  readonly #takenIps = new Map<string, string>()
  readonly #takenPorts = new Map<number, string>()
  readonly #cursor: Record<IpFamily, bigint> = { IPv4: 0n, IPv6: 0n }
  #portCursor = 0

  constructor(store: Store, ranges: AddressRanges) {
    const prefixes = Object.values(ranges).map((range: string) => must(parsePrefix(range)))
    this.#ranges = new Map(prefixes.map((prefix) => [prefixFamily(prefix), prefix]))
    for (const stored of store.list(serviceBucket)) this.#take(stored.key, stored.object)
    store.listen(serviceBucket, ({ previous, current, type }) => {
      if (previous !== undefined) this.#release(previous.object)
      if (type !== 'DELETED') this.#take(current.key, current.object)
    })
  }

  #take(key: string, service: JsonObject): void {
    for (const ip of stringsAt(service, 'spec', 'clusterIPs')) this.#takenIps.set(ip, key)
    for (const port of nodePortsOf(service)) this.#takenPorts.set(port, key)
  }

  #release(service: JsonObject): void {
    for (const ip of stringsAt(service, 'spec', 'clusterIPs')) this.#takenIps.delete(ip)
    for (const port of nodePortsOf(service)) this.#takenPorts.delete(port)
  }

  /** A free address of the family's range; undefined when the range is used up. */
  nextIp(family: IpFamily): Ip | undefined {
    const range = this.#ranges.get(family)
    if (range === undefined) return undefined
    const hosts = (1n << BigInt(addressBits(family) - prefixLength(range))) - 2n
    const base = ipToBigInt(prefixAddress(range)) + 1n
    for (let tries = 0n; tries < hosts; tries++) {
      const offset = (this.#cursor[family] + tries) % hosts
      const ip = ipFromBigInt(family, base + offset)
      if (this.#takenIps.has(ip)) continue
      this.#cursor[family] = offset + 1n
      return ip
    }
    return undefined
  }

  /** Why `text` can not be the cluster address of `serviceKey`, or undefined when it can. */
  ipRefusal(text: string, serviceKey: string): string | undefined {
    const ip = parseIp(text)
    if (!ip.ok) return `must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`
    const range = this.#ranges.get(familyOf(ip.value))
    if (range === undefined)
      return `failed to allocate IP ${text}: ${familyOf(ip.value)} is not configured on this cluster`
    if (!prefixContains(range, ip.value))
      return `failed to allocate IP ${text}: the provided IP (${text}) is not in the valid range. The range of valid IPs is ${range}`
    const owner = this.#takenIps.get(ip.value)
    return owner === undefined || owner === serviceKey
      ? undefined
      : `failed to allocate IP ${text}: provided IP is already allocated`
  }

  /** A node port that neither a Service nor `reserved` uses; undefined when there is none. */
  nextNodePort(reserved: ReadonlySet<number>): number | undefined {
    const count = lastNodePort - firstNodePort + 1
    for (let tries = 0; tries < count; tries++) {
      const offset = (this.#portCursor + tries) % count
      const port = firstNodePort + offset
      if (this.#takenPorts.has(port) || reserved.has(port)) continue
      this.#portCursor = offset + 1
      return port
    }
    return undefined
  }

  /** Why a Service can not have this node port, or undefined when it can. */
  nodePortRefusal(port: number, serviceKey: string): string | undefined {
    if (port < firstNodePort || port > lastNodePort)
      return `provided port is not in the valid range. The range of valid ports is ${firstNodePort}-${lastNodePort}`
    const owner = this.#takenPorts.get(port)
    return owner === undefined || owner === serviceKey ? undefined : 'provided port is already allocated'
  }

  /** The families this cluster has, the default one first. */
  get families(): readonly IpFamily[] {
    return [...this.#ranges.keys()]
  }
}

function nodePortsOf(service: JsonObject): readonly number[] {
  const ports = objectsAt(service, 'spec', 'ports').map((port) => numberAt(port, 'nodePort') ?? 0)
  return [...ports, numberAt(service, 'spec', 'healthCheckNodePort') ?? 0].filter((port) => port > 0)
}
