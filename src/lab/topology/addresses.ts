// The address plan of the lab, in one place: who is where, in both families. Everything is from documentation or private
// ranges, and what a person types in the demo (10.0.0.11, 203.0.113.10) is what README and docs show.

import { type Ip, parseIp } from '../../net/ip.ts'
import { type Prefix, parsePrefix } from '../../net/prefix.ts'
import { must } from '../../runtime/result.ts'

/** The addresses of one thing, one a family. */
export interface DualStack {
  readonly ipv4: Ip
  readonly ipv6: Ip
}

/** What the cluster's part of the lab has: both families, or one alone. The first is that of Services which ask for none. */
export type Families = readonly [keyof DualStack, ...(keyof DualStack)[]]
export const bothFamilies: Families = ['ipv4', 'ipv6']

export interface DualStackPrefix {
  readonly ipv4: Prefix
  readonly ipv6: Prefix
}

const ip = (text: string): Ip => must(parseIp(text))
const pair = (ipv4: string, ipv6: string): DualStack => ({ ipv4: ip(ipv4), ipv6: ip(ipv6) })
const prefixes = (ipv4: string, ipv6: string): DualStackPrefix => ({
  ipv4: must(parsePrefix(ipv4)),
  ipv6: must(parsePrefix(ipv6)),
})

/** From which the VIPs of the lab come: what the edge router sends to the leaves. */
export const vipPrefixes: DualStackPrefix = prefixes('203.0.113.0/24', '2001:db8:1::/64')

export const clientPrefixes: DualStackPrefix = prefixes('198.51.100.0/24', '2001:db8:c::/64')
export const clientAddress: DualStack = pair('198.51.100.10', '2001:db8:c::10')
export const edgeAtClient: DualStack = pair('198.51.100.1', '2001:db8:c::1')

/** The link between the edge and leaf 1, 2. */
export const edgeAtLeaf = (leaf: number): DualStack => pair(`172.31.${leaf}.1`, `fd00:31:${leaf}::1`)
export const leafAtEdge = (leaf: number): DualStack => pair(`172.31.${leaf}.2`, `fd00:31:${leaf}::2`)

/** The LAN of leaves and nodes, numbered from 1. */
export const leafAddress = (leaf: number): DualStack => pair(`10.0.0.${leaf}`, `fd00:10::${leaf}`)
export const nodeAddress = (node: number): DualStack => pair(`10.0.0.${10 + node}`, `fd00:10::${10 + node}`)

/** The management network, of the cluster's first family only: where the API server is reached from the nodes. */
export const managementServer: DualStack = pair('192.0.2.1', 'fd00:192::1')
export const managementAddress = (node: number): DualStack => pair(`192.0.2.${10 + node}`, `fd00:192::${10 + node}`)

/** All pods of all nodes. */
export const clusterPodPrefixes: DualStackPrefix = prefixes('10.244.0.0/16', 'fd00:244::/32')
export const lanPrefixes: DualStackPrefix = prefixes('10.0.0.0/24', 'fd00:10::/64')
export const podPrefixes = (node: number): DualStackPrefix => prefixes(`10.244.${node}.0/24`, `fd00:244:${node}::/64`)
/** The `serial`-th pod of a node; 2 .. 254. */
export const podAddress = (node: number, serial: number): DualStack =>
  pair(`10.244.${node}.${serial}`, `fd00:244:${node}::${serial.toString(16)}`)
/** The nodes' end of every pod's cable. */
export const podGateway: DualStack = pair('169.254.1.1', 'fe80::1')
