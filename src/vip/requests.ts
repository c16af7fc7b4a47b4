// What a Service asks for in so many words: a pool, addresses, an address to share. Reads our annotations, spec.loadBalancerIP
// and what MetalLB's and OpenELB's (Porter's) users have written on their Services; contradictions are refused, never guessed at.

import type { Service } from '../k8s/objects.ts'
import { familyOf, type Ip, type IpFamily, parseIp } from '../net/ip.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { ipsAnnotation, poolAnnotation, shareAnnotation } from './annotations.ts'
import type { AllocationRefusal } from './conditions.ts'

export interface AddressRequest {
  /** The pool that is named. */
  readonly pool?: string
  /** The addresses that are named: at most one of a family. */
  readonly addresses: ReadonlyMap<IpFamily, Ip>
  /** Services with the same key may share an address; empty = never. */
  readonly shareKey: string
}

interface RequestKeys {
  readonly own: string
  /** By vendor; within a vendor the newer spelling comes first and wins. */
  readonly aliases: readonly (readonly string[])[]
}

const poolKeys: RequestKeys = {
  own: poolAnnotation,
  aliases: [
    ['metallb.io/address-pool', 'metallb.universe.tf/address-pool'],
    ['eip.openelb.kubesphere.io/v1alpha2', 'eip.porter.kubesphere.io/v1alpha2'],
  ],
}

const addressKeys: RequestKeys = {
  own: ipsAnnotation,
  aliases: [
    ['metallb.io/loadBalancerIPs', 'metallb.universe.tf/loadBalancerIPs'],
    ['eip.openelb.kubesphere.io/v1alpha1', 'eip.porter.kubesphere.io/v1alpha1'],
  ],
}

const shareKeys: RequestKeys = {
  own: shareAnnotation,
  aliases: [['metallb.io/allow-shared-ip', 'metallb.universe.tf/allow-shared-ip']],
}

/** A wish and the place where it stands, for messages. */
interface Asked {
  readonly key: string
  readonly value: string
}

/** What the schema of Vip lets a claim hold. */
const shareKeyLengthMax = 253
const claimPortsMax = 1000

const noAddresses: ReadonlyMap<IpFamily, Ip> = new Map()

/**
 * The families a Service wants addresses of, in the order in which it lists them. With RequireDualStack always both: the API
 * server may not have completed `ipFamilies` yet.
 */
export function wantedFamilies(service: Service): readonly IpFamily[] {
  const listed =
    service.ipFamilies.length > 0 ? service.ipFamilies : [...new Set(service.clusterIPs.map((ip) => familyOf(ip)))]
  const first = listed[0] ?? 'IPv4'
  if (service.ipFamilyPolicy === 'SingleStack') return [first]
  if (service.ipFamilyPolicy === 'RequireDualStack') return [first, first === 'IPv4' ? 'IPv6' : 'IPv4']
  return listed.length > 0 ? listed : [first]
}

/** Reads the request, or says in words why it makes no sense. */
export function parseAddressRequest(service: Service): Result<AddressRequest, AllocationRefusal> {
  const { annotations } = service.meta
  const pool = ask(annotations, poolKeys)
  if (!pool.ok) return pool
  const share = ask(annotations, shareKeys)
  if (!share.ok) return share
  const asked = ask(annotations, addressKeys)
  if (!asked.ok) return asked
  if ((share.value?.value.length ?? 0) > shareKeyLengthMax)
    return refuse(`${share.value?.key}: a sharing key has at most ${shareKeyLengthMax} characters`)
  if (service.ports.length > claimPortsMax)
    return refuse(`the Service has more than ${claimPortsMax} ports, which is more than a Vip can record`)
  const addresses = askedAddresses(service, asked.value)
  if (!addresses.ok) return addresses
  return ok({
    ...(pool.value === undefined ? {} : { pool: pool.value.value }),
    addresses: addresses.value,
    shareKey: share.value?.value ?? '',
  })
}

// Our own key decides, even when it is empty: that is how an alias is overridden. Without it, vendors must not disagree.
function ask(
  annotations: Readonly<Record<string, string>>,
  keys: RequestKeys,
): Result<Asked | undefined, AllocationRefusal> {
  const own = annotations[keys.own]?.trim()
  if (own !== undefined) return ok(own === '' ? undefined : { key: keys.own, value: own })
  let found: Asked | undefined
  for (const spellings of keys.aliases) {
    const key = spellings.find((spelling) => (annotations[spelling]?.trim() ?? '') !== '')
    if (key === undefined) continue
    const value = annotations[key]?.trim() ?? ''
    if (found !== undefined && found.value !== value)
      return refuse(`${found.key} says "${found.value}" and ${key} says "${value}": write ${keys.own} to decide`)
    found ??= { key, value }
  }
  return ok(found)
}

function askedAddresses(
  service: Service,
  asked: Asked | undefined,
): Result<ReadonlyMap<IpFamily, Ip>, AllocationRefusal> {
  const fromSpec = service.loadBalancerIP?.trim() ?? ''
  if (asked === undefined && fromSpec === '') return ok(noAddresses)
  const listed = asked === undefined ? ok(noAddresses) : parseList(asked)
  if (!listed.ok || fromSpec === '') return listed.ok ? checkFamilies(service, listed.value) : listed
  const single = parseList({ key: 'spec.loadBalancerIP', value: fromSpec })
  if (!single.ok) return single
  for (const [family, ip] of single.value) {
    const other = listed.value.get(family)
    if (asked !== undefined && other !== ip)
      return refuse(
        `spec.loadBalancerIP says ${ip} and ${asked.key} says ${asked.value}: they must name the same address`,
      )
  }
  return checkFamilies(service, asked === undefined ? single.value : listed.value)
}

function parseList({ key, value }: Asked): Result<ReadonlyMap<IpFamily, Ip>, AllocationRefusal> {
  const addresses = new Map<IpFamily, Ip>()
  for (const text of value.split(',').map((part) => part.trim())) {
    const ip = parseIp(text)
    if (!ip.ok) return refuse(`${key}: "${text}" is not an IP address`)
    const family = familyOf(ip.value)
    if (addresses.has(family)) return refuse(`${key} names two ${family} addresses: a Service has one of each family`)
    addresses.set(family, ip.value)
  }
  return ok(addresses)
}

function checkFamilies(
  service: Service,
  addresses: ReadonlyMap<IpFamily, Ip>,
): Result<ReadonlyMap<IpFamily, Ip>, AllocationRefusal> {
  const families = wantedFamilies(service)
  for (const [family, ip] of addresses)
    if (!families.includes(family))
      return refuse(`${ip} is asked for, but the Service has no ${family} in its ipFamilies (${families.join(', ')})`)
  return ok(addresses)
}

const refuse = (message: string): Result<never, AllocationRefusal> => err({ reason: 'RequestInvalid', message })
