// What an agent tells the controllers about its node's links, as annotations of its Lease: where the node could answer for VIPs, for
// which it answers now, which it could not take and why, and whether the node answers for addresses of others. Written and read here,
// so that both agree.

import { type Ip, parseIp } from '../net/ip.ts'
import { type Prefix, parsePrefix } from '../net/prefix.ts'

/** An interface that is up and speaks ARP or neighbour discovery. */
export interface Link {
  readonly name: string
  /** Lower case, with colons. */
  readonly mac: string
  /** Networks that the node has an address in. */
  readonly subnets: readonly Prefix[]
}

/** Why an owner does not answer for a VIP although it should. The names are condition reasons. */
export interface TakeRefusal {
  readonly reason: 'AddressInUse' | 'AddressConflict' | 'AddressNotSet'
  /** For operators. */
  readonly message: string
  /** `node`: another node may do better. `link`: the others would find the same. */
  readonly scope: 'node' | 'link'
}

/** What an agent says of its node. */
export interface NodeLinks {
  readonly links: readonly Link[]
  /** VIPs that the node answers for at this moment; absent = the agent does not say. */
  readonly holds?: Holds
  readonly refusals: ReadonlyMap<Ip, TakeRefusal>
  /** The node answers ARP for every VIP that kube-proxy's IPVS mode has put on kube-ipvs0. */
  readonly answersForAll: boolean
}

export interface Holds {
  readonly vips: ReadonlySet<Ip>
  /** There are more than are told: of an address that is not among them nothing is known. */
  readonly more: boolean
}

/** A node as the plan sees it. */
export interface Layer2Node extends NodeLinks {
  /** Its agent has not been heard of for a while: it keeps what it has, and is given nothing. */
  readonly silent: boolean
}

export const linksAnnotation = 'bellhop.io/links'
const holdsAnnotation = 'bellhop.io/layer2-holds'
/** For how many seconds the node answers on without any sign of the control plane. */
export const holdSecondsAnnotation = 'bellhop.io/layer2-hold-seconds'
export const refusalsAnnotation = 'bellhop.io/layer2-refusals'
const answersForAllAnnotation = 'bellhop.io/answers-for-all'

/** Refusals that are told; more than these are one trouble, not many. */
const refusalsMax = 200
/** VIPs that are told: 40 KB at most, on a Lease that is written every few seconds. */
const holdsMax = 1_000
const moreMark = '...'
/** Links that are told: a node with more has them for its pods. */
const linksMax = 64

/** `eth0 02:00:00:00:00:01 192.0.2.0/24,2001:db8::/64; eth1 ...`: names cannot hold a space. */
export function renderNodeLinks({
  links,
  holds,
  refusals,
  answersForAll,
}: NodeLinks): Readonly<Record<string, string>> {
  const told = [...refusals].slice(0, refusalsMax)
  return {
    ...(holds === undefined ? {} : { [holdsAnnotation]: renderHolds(holds) }),
    [linksAnnotation]: links
      .slice(0, linksMax)
      .map(({ name, mac, subnets }) => [name, mac, ...(subnets.length === 0 ? [] : [subnets.join(',')])].join(' '))
      .join('; '),
    ...(told.length === 0
      ? {}
      : { [refusalsAnnotation]: JSON.stringify(Object.fromEntries(told.map(([ip, why]) => [ip, why]))) }),
    ...(answersForAll ? { [answersForAllAnnotation]: 'true' } : {}),
  }
}

const renderHolds = ({ vips, more }: Holds): string =>
  [...[...vips].slice(0, holdsMax), ...(more || vips.size > holdsMax ? [moreMark] : [])].join(' ')

/** undefined when the agent says nothing of links: it does not know layer 2. What makes no sense is passed over. */
export function parseNodeLinks(annotations: Readonly<Record<string, string>>): NodeLinks | undefined {
  const links = annotations[linksAnnotation]
  if (links === undefined) return undefined
  const holds = annotations[holdsAnnotation]
  return {
    ...(holds === undefined ? {} : { holds: holdsOf(holds) }),
    links: links.split(';').flatMap((text) => linkOf(text.trim())),
    refusals: refusalsOf(annotations[refusalsAnnotation]),
    answersForAll: annotations[answersForAllAnnotation] === 'true',
  }
}

function linkOf(text: string): readonly Link[] {
  const [name = '', mac = '', subnets = ''] = text.split(' ')
  if (name === '') return []
  const parsed = subnets.split(',').flatMap((subnet) => {
    const prefix = parsePrefix(subnet)
    return prefix.ok ? [prefix.value] : []
  })
  return [{ name, mac, subnets: parsed }]
}

function holdsOf(text: string): Holds {
  const words = text.split(' ')
  const vips = words.flatMap((word) => {
    const ip = parseIp(word)
    return ip.ok ? [ip.value] : []
  })
  return { vips: new Set(vips), more: words.includes(moreMark) }
}

/** How long the node answers on without any sign of the control plane; undefined when its agent does not say. */
export function parseHoldMs(annotations: Readonly<Record<string, string>>): number | undefined {
  const seconds = Number(annotations[holdSecondsAnnotation])
  return Number.isInteger(seconds) && seconds > 0 ? seconds * 1000 : undefined
}

function refusalsOf(text: string | undefined): ReadonlyMap<Ip, TakeRefusal> {
  const refusals = new Map<Ip, TakeRefusal>()
  for (const [key, value] of Object.entries(jsonObject(text))) {
    const ip = parseIp(key)
    const { reason, message, scope } = (value ?? {}) as Readonly<Record<string, unknown>>
    if (!ip.ok || typeof message !== 'string') continue
    if (reason === 'AddressInUse' || reason === 'AddressConflict' || reason === 'AddressNotSet')
      refusals.set(ip.value, { reason, message, scope: scope === 'node' ? 'node' : 'link' })
  }
  return refusals
}

function jsonObject(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text ?? '{}')
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
  } catch {
    return {}
  }
}
