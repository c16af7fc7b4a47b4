// The node's addresses as `ip` shows and changes them: which links it has, which VIPs it carries by our hand, and which addresses are
// somebody else's. Ours carry a mark of their own, so that they are known again after amnesia, and a lifetime, after which the kernel
// takes them away whatever has become of us.

import { familyOf, type Ip, isLinkLocal, parseIp } from '../net/ip.ts'
import { hostPrefix, type Prefix, prefixOf } from '../net/prefix.ts'
import type { Exec } from '../runtime/exec.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { Link } from './links.ts'

export interface IpError {
  readonly code: 'layer2/no-ip' | 'layer2/ip-failed'
  /** For operators. */
  readonly message: string
}

/** A link as it is now, with what frames need. */
export interface ObservedLink extends Link {
  readonly index: number
}

export interface Held {
  readonly interface: string
  /** Until the kernel takes it away. */
  readonly validSeconds: number
}

export interface ObservedNode {
  readonly links: readonly ObservedLink[]
  /** VIPs that we put there. */
  readonly held: ReadonlyMap<Ip, Held>
  /** Other addresses that the node answers for, with their interface. */
  readonly foreign: ReadonlyMap<Ip, string>
  /** kube-proxy runs in IPVS mode, and has put every VIP on an interface of its own. */
  readonly ipvs: boolean
}

/** A change of one address. */
export type AddressChange =
  | { readonly type: 'add' | 'renew'; readonly address: Ip; readonly interface: string; readonly seconds: number }
  | { readonly type: 'remove'; readonly address: Ip; readonly interface: string }

/** Nothing that lives longer is ours. */
const lifetimeMaxSeconds = 60

/** IFNAMSIZ without the terminating zero: a label is no longer than a name. */
const labelMax = 15
const mark = ':bellhop'
/** Where kube-proxy's IPVS mode keeps the addresses of all Services. */
const ipvsInterface = 'kube-ipvs0'

/** The label of our IPv4 addresses on an interface; undefined where its name leaves no room for one. */
export function labelOf(interfaceName: string): string | undefined {
  const label = `${interfaceName}${mark}`.slice(0, labelMax)
  return label.length - interfaceName.length < 2 ? undefined : label
}

/** Looks. */
export async function observeNode(exec: Exec): Promise<Result<ObservedNode, IpError>> {
  const shown = await exec('ip', ['-j', 'address', 'show'])
  if (shown.status !== 0) return err(failure(shown.status, shown.stderr))
  try {
    return ok(readNode(JSON.parse(shown.stdout)))
  } catch (error) {
    return err({ code: 'layer2/ip-failed', message: `ip -j address show: ${String(error)}` })
  }
}

const failure = (status: number, stderr: string): IpError =>
  status === 127
    ? { code: 'layer2/no-ip', message: 'there is no program ip here: install iproute2 in the image or on the node' }
    : { code: 'layer2/ip-failed', message: `ip ended with status ${status}: ${stderr.trim()}` }

/** Reads what `ip -j address show` prints. Throws when it is nothing like it. */
export function readNode(shown: unknown): ObservedNode {
  if (!Array.isArray(shown)) throw new Error('no list of interfaces')
  const links: ObservedLink[] = []
  const held = new Map<Ip, Held>()
  const foreign = new Map<Ip, string>()
  let ipvs = false
  for (const raw of shown as readonly RawLink[]) {
    const name = raw.ifname ?? ''
    const flags = raw.flags ?? []
    ipvs ||= name === ipvsInterface
    if (flags.includes('LOOPBACK') || flags.includes('NOARP') || raw.link_type !== 'ether') continue
    const subnets = new Set<Prefix>()
    for (const info of raw.addr_info ?? []) {
      const ip = parseIp(info.local ?? '')
      if (!ip.ok) continue
      if (isOurs(name, info)) {
        held.set(ip.value, { interface: name, validSeconds: info.valid_life_time ?? 0 })
        continue
      }
      if (familyOf(ip.value) === 'IPv6' && isLinkLocal(ip.value)) continue
      foreign.set(ip.value, name)
      const prefix = prefixOf(ip.value, info.prefixlen ?? 0)
      if (prefix !== hostPrefix(ip.value)) subnets.add(prefix)
    }
    if (isUsable(raw, subnets.size))
      links.push({ name, index: raw.ifindex ?? 0, mac: (raw.address ?? '').toLowerCase(), subnets: [...subnets] })
  }
  return { links, held, foreign, ipvs }
}

interface RawLink {
  readonly ifindex?: number
  readonly ifname?: string
  readonly flags?: readonly string[]
  readonly link_type?: string
  readonly address?: string
  readonly master?: string
  readonly link_netnsid?: number
  readonly addr_info?: readonly RawAddress[]
}

interface RawAddress {
  readonly local?: string
  readonly prefixlen?: number
  readonly label?: string
  readonly dynamic?: boolean
  readonly noprefixroute?: boolean
  readonly valid_life_time?: number
}

// Without an address it may still be a network for VIPs, but not the port of a bridge or the cable to a pod.
function isUsable({ flags = [], master, link_netnsid }: RawLink, subnets: number): boolean {
  if (!flags.includes('UP') || !flags.includes('LOWER_UP')) return false
  return subnets > 0 || (master === undefined && link_netnsid === undefined)
}

function isOurs(interfaceName: string, info: RawAddress): boolean {
  const isIpv4 = !(info.local ?? '').includes(':')
  const label = labelOf(interfaceName)
  return (
    info.prefixlen === (isIpv4 ? 32 : 128) &&
    info.dynamic === true &&
    info.noprefixroute === true &&
    (info.valid_life_time ?? Number.POSITIVE_INFINITY) <= lifetimeMaxSeconds &&
    (!isIpv4 || label === undefined || info.label === label)
  )
}

/** Carries the changes out; what fails is told by address, and stops nothing else. */
export async function changeAddresses(changes: readonly AddressChange[], exec: Exec): Promise<ReadonlyMap<Ip, string>> {
  const failed = new Map<Ip, string>()
  if (changes.length === 0) return failed
  const result = await exec('ip', ['-force', '-batch', '-'], { input: `${changes.map(commandOf).join('\n')}\n` })
  if (result.status === 0) return failed
  let words = ''
  let located = false
  for (const line of result.stderr.split('\n')) {
    const at = /^Command failed -:(\d+)/.exec(line)?.[1]
    if (at === undefined) {
      if (line.trim() !== '') words = line.trim()
      continue
    }
    located = true
    const change = changes[Number(at) - 1]
    if (change !== undefined) failed.set(change.address, words)
  }
  if (!located) for (const { address } of changes) failed.set(address, failure(result.status, result.stderr).message)
  return failed
}

function commandOf(change: AddressChange): string {
  const { address } = change
  const isIpv4 = familyOf(address) === 'IPv4'
  const where = `${hostPrefix(address)} dev ${change.interface}`
  if (change.type === 'remove') return `address del ${where}`
  // An address that is there without being ours must not become ours by the way: only what is ours is replaced.
  const verb = change.type === 'add' ? 'add' : 'replace'
  const label = labelOf(change.interface)
  const life = `valid_lft ${change.seconds} preferred_lft ${isIpv4 ? change.seconds : 0}`
  // Deprecated, so that the node never chooses it as its own source (RFC 6724 rule 3); IPv4 has its subnets' addresses for that.
  return isIpv4
    ? `address ${verb} ${where}${label === undefined ? '' : ` label ${label}`} ${life} noprefixroute`
    : `address ${verb} ${where} ${life} nodad noprefixroute`
}

/** Takes every VIP of ours off this node; how many there were. */
export async function removeAllAddresses(exec: Exec): Promise<Result<number, IpError>> {
  const node = await observeNode(exec)
  if (!node.ok) return node
  const changes = [...node.value.held].map(([address, held]) => ({
    type: 'remove' as const,
    address,
    interface: held.interface,
  }))
  const failed = await changeAddresses(changes, exec)
  const [first] = failed
  if (first !== undefined)
    return err({ code: 'layer2/ip-failed', message: `${first[0]} could not be removed: ${first[1]}` })
  return ok(changes.length)
}
