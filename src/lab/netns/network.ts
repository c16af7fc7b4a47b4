// A network of namespaces for labs and tests: nodes, switches and the cables between them, dual stack, as values that
// vanish together. Nothing is ever created in the machine's own namespace: a switch is a bridge in a namespace of its own
// and cables are made directly between namespaces, so removing the namespaces removes everything.

import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { type Exec, systemExec } from '../../runtime/exec.ts'
import { directoryOf, type Owner, removeNamespace, startReaper, sweepLeftovers } from './leftovers.ts'
import {
  addAddressCommand,
  type InterfaceAddress,
  type Namespace,
  type NamespaceContext,
  namespaceNamed,
  succeeded,
} from './namespace.ts'
import type { LabProcess } from './process.ts'

/** A learning switch: every cable plugged into it is one broadcast domain. */
export interface Bridge {
  readonly name: string
  readonly kind: 'bridge'
  /** Where the bridge lives; its ports are here (tcpdump on `br0` sees the whole segment). */
  readonly namespace: Namespace
}

export interface LinkEnd {
  readonly at: Namespace | Bridge
  /** At most 15 characters. Default: `eth0`, `eth1`, ... in namespaces, `port0`, ... on bridges. */
  readonly interface?: string
  readonly addresses?: readonly InterfaceAddress[]
}

/** One plugged end: where it is and how it is called there. */
export interface PluggedEnd {
  readonly namespace: Namespace
  readonly interface: string
  readonly addresses: readonly InterfaceAddress[]
}

/** A cable. */
export interface Link {
  readonly a: PluggedEnd
  readonly b: PluggedEnd
  /** Sets one end ('a', 'b') or both; a cable with one end down has no carrier at the other. */
  readonly set: (end: 'a' | 'b' | 'both', state: 'up' | 'down') => Promise<void>
  /** Unplugs and throws the cable away. */
  readonly remove: () => Promise<void>
}

export interface NamespaceOptions {
  /** Routes packets between its interfaces, and spreads flows over ECMP legs by layer 4. Default off. */
  readonly forwarding?: boolean
  readonly sysctls?: Readonly<Record<string, string | number>>
}

export interface Network extends AsyncDisposable {
  /** A directory for files of this network (daemon state, logs), removed with it. */
  readonly directory: string
  readonly addNamespace: (name: string, options?: NamespaceOptions) => Promise<Namespace>
  /** Removes one namespace with its programs and cables before the rest, as a power cut would. */
  readonly removeNamespace: (namespace: Namespace) => Promise<void>
  readonly addBridge: (name: string) => Promise<Bridge>
  /** Plugs a cable, both ends up, addresses set. */
  readonly connect: (a: LinkEnd, b: LinkEnd) => Promise<Link>
  /** Kills every program in the namespaces and removes everything. May be called twice. */
  readonly destroy: () => Promise<void>
}

export interface NetworkOptions {
  /** Lower-case letters and digits, at most 8: keeps apart the networks of different purposes. */
  readonly prefix: string
  readonly exec?: Exec
}

const namePattern = /^[a-z][a-z0-9-]{0,40}$/
const interfacePattern = /^[a-zA-Z][a-zA-Z0-9._-]{0,14}$/
let networksCreated = 0

/**
 * Creates an empty network. Needs root. First removes what networks of the same prefix left behind whose process is gone;
 * if this process dies, however it dies, a reaper removes the network.
 */
export async function createNetwork(options: NetworkOptions): Promise<Network> {
  if (!/^[a-z][a-z0-9]{0,7}$/.test(options.prefix)) throw new Error(`not a network prefix: ${options.prefix}`)
  const exec = options.exec ?? systemExec
  await sweepLeftovers(options.prefix, exec)
  const owner: Owner = `${options.prefix}-${process.pid}.${networksCreated++}`
  const directory = directoryOf(owner)
  mkdirSync(directory, { mode: 0o755 })
  const reaper = startReaper(owner)
  const namespaces = new Map<string, Namespace>()
  const children = new Set<LabProcess>()
  const context: NamespaceContext = {
    exec,
    onSpawn: (child) => {
      children.add(child)
      void child.end.then(() => children.delete(child))
    },
  }
  const interfaces = interfaceNames()

  const addNamespace: Network['addNamespace'] = async (name, { forwarding = false, sysctls = {} } = {}) => {
    if (!namePattern.test(name)) throw new Error(`not a namespace name: ${name}`)
    if (namespaces.has(name)) throw new Error(`there is a namespace ${name} already`)
    const namespace = namespaceNamed(name, `${owner}-${name}`, context)
    namespaces.set(name, namespace)
    succeeded(await exec('ip', ['netns', 'add', namespace.kernelName]), `add namespace ${name}`)
    await namespace.ip(['link set lo up'])
    const routing = forwarding ? { ...routerSysctls, ...hashSeed(namespaces.size) } : {}
    await namespace.setSysctls({ ...hostSysctls, ...routing, ...sysctls })
    return namespace
  }

  const destroy = async (): Promise<void> => {
    for (const child of children) child.kill('SIGKILL')
    await Promise.all([...namespaces.values()].map(({ kernelName }) => removeNamespace(kernelName, exec)))
    await Promise.all([...children].map((child) => child.end))
    namespaces.clear()
    rmSync(directory, { recursive: true, force: true })
    await reaper.release()
  }

  return {
    directory,
    addNamespace,
    removeNamespace: async (namespace) => {
      namespaces.delete(namespace.name)
      await removeNamespace(namespace.kernelName, exec)
    },
    addBridge: async (name) => {
      const namespace = await addNamespace(name)
      await namespace.ip(['link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0', 'link set br0 up'])
      return { name, kind: 'bridge', namespace }
    },
    connect: (a, b) => plug(interfaces.resolve(a), interfaces.resolve(b), exec),
    destroy,
    [Symbol.asyncDispose]: destroy,
  }
}

interface ResolvedEnd extends PluggedEnd {
  readonly bridge: boolean
}

/** Gives out interface names that are free in their namespace. */
function interfaceNames(): { readonly resolve: (end: LinkEnd) => ResolvedEnd } {
  const counters = new Map<string, number>()
  return {
    resolve: ({ at, interface: wanted, addresses = [] }) => {
      const bridge = 'kind' in at
      const namespace = bridge ? at.namespace : at
      const count = counters.get(namespace.kernelName) ?? 0
      if (wanted === undefined) counters.set(namespace.kernelName, count + 1)
      const name = wanted ?? `${bridge ? 'port' : 'eth'}${count}`
      if (!interfacePattern.test(name)) throw new Error(`not an interface name: ${name}`)
      if (bridge && addresses.length > 0) throw new Error(`a port of bridge ${at.name} takes no addresses`)
      return { namespace, interface: name, addresses, bridge }
    },
  }
}

async function plug(a: ResolvedEnd, b: ResolvedEnd, exec: Exec): Promise<Link> {
  const veth = ['type', 'veth', 'peer', 'name', b.interface, 'netns', b.namespace.kernelName]
  const added = await exec('ip', ['link', 'add', a.interface, 'netns', a.namespace.kernelName, ...veth])
  succeeded(added, `cable ${a.namespace.name}/${a.interface} - ${b.namespace.name}/${b.interface}`)
  await Promise.all([a, b].map(bringUp))
  return {
    a,
    b,
    set: async (end, state) => {
      if (end !== 'b') await a.namespace.setLink(a.interface, state)
      if (end !== 'a') await b.namespace.setLink(b.interface, state)
    },
    remove: () => a.namespace.ip([`link del ${a.interface}`]),
  }
}

const bringUp = (end: ResolvedEnd): Promise<void> =>
  end.namespace.ip([
    ...(end.bridge ? [`link set ${end.interface} master br0`] : []),
    `link set ${end.interface} up`,
    ...end.addresses.map((address) => addAddressCommand(end.interface, address)),
  ])

// Duplicate address detection would keep IPv6 addresses unusable for a second; router advertisements and reverse path
// filters would make a lab depend on what the machine's own namespace is set to.
const hostSysctls: Readonly<Record<string, number>> = {
  'net.ipv6.conf.all.disable_ipv6': 0,
  'net.ipv6.conf.default.disable_ipv6': 0,
  'net.ipv6.conf.all.accept_dad': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv6.conf.default.dad_transmits': 0,
  'net.ipv6.conf.all.accept_ra': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv6.conf.default.router_solicitations': 0,
  'net.ipv4.conf.all.rp_filter': 0,
  'net.ipv4.conf.default.rp_filter': 0,
  'net.ipv4.ip_forward': 0,
  'net.ipv6.conf.all.forwarding': 0,
}

const hashSeedSysctl = 'net.ipv4.fib_multipath_hash_seed'

// All namespaces share the kernel's one secret, so routers in a row would hash alike, and what one of them has sorted onto a leg
// the next one would send down a single leg again (ECMP polarisation). Real routers differ. Kernels before 6.11 have no choice.
const hashSeed = (serial: number): Readonly<Record<string, number>> =>
  existsSync(`/proc/sys/${hashSeedSysctl.replaceAll('.', '/')}`) ? { [hashSeedSysctl]: serial * 7919 } : {}

// Layer 4 hashing, spelled out as fields: policy 1 trusts a hash that the packet carries already, and a veth carries the
// sender's along, so that every router on the way would decide alike.
const addressesProtocolPorts = 0x37

const routerSysctls: Readonly<Record<string, number>> = {
  'net.ipv4.ip_forward': 1,
  'net.ipv6.conf.all.forwarding': 1,
  'net.ipv4.fib_multipath_hash_policy': 3,
  'net.ipv4.fib_multipath_hash_fields': addressesProtocolPorts,
  'net.ipv6.fib_multipath_hash_policy': 3,
  'net.ipv6.fib_multipath_hash_fields': addressesProtocolPorts,
}
