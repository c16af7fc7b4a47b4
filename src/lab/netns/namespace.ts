// One network namespace as a value with verbs: addresses, routes, links, programs. The kernel is asked through `ip`, in
// batches, so that a topology of dozens of nodes stands within a second or two.

import { type Ip, parseIp } from '../../net/ip.ts'
import { type Prefix, prefixAddress, prefixLength } from '../../net/prefix.ts'
import type { Exec, ExecOptions, ExecResult } from '../../runtime/exec.ts'
import { must } from '../../runtime/result.ts'
import { type LabProcess, type LabProcessOptions, startProcess } from './process.ts'

/** Address and prefix length of an interface: `10.0.0.1/24`, `fd00::1/64`. */
export type InterfaceAddress = `${string}/${number}`

export interface NextHop {
  readonly via: Ip
  readonly interface?: string
  readonly weight?: number
}

export interface Namespace {
  /** As given by the caller: `leaf1`. */
  readonly name: string
  /** As `ip netns` lists it; unique on the machine. */
  readonly kernelName: string
  /** The line that a person types on this machine to run `argv` in here. */
  readonly commandLine: (argv: readonly string[]) => string
  /** Runs a program to its end; never rejects. */
  readonly exec: (argv: readonly string[], options?: ExecOptions) => Promise<ExecResult>
  /** Runs a program that must succeed; its standard output. Throws with its error text otherwise. */
  readonly run: (argv: readonly string[], options?: ExecOptions) => Promise<string>
  /** Starts a program that keeps running; it is killed with the network at the latest. */
  readonly spawn: (argv: readonly string[], options?: LabProcessOptions) => LabProcess
  /** Runs `ip` commands, one a line, in one go: `addr add ...`. Throws on the first that fails. */
  readonly ip: (commands: readonly string[]) => Promise<void>
  readonly addAddress: (interfaceName: string, address: InterfaceAddress) => Promise<void>
  readonly removeAddress: (interfaceName: string, address: InterfaceAddress) => Promise<void>
  /** Adds or replaces a route. `to` may be `default`; no `via` makes it a route on `interface`. */
  readonly setRoute: (
    to: Prefix | 'default' | 'default6',
    target: { readonly via: readonly NextHop[] } | { readonly interface: string } | 'blackhole',
  ) => Promise<void>
  /** The next hops the kernel has for exactly this prefix: empty without a route or for an unreachable one. */
  readonly nextHopsOf: (prefix: Prefix) => Promise<readonly NextHop[]>
  readonly setLink: (interfaceName: string, state: 'up' | 'down') => Promise<void>
  readonly setSysctls: (values: Readonly<Record<string, string | number>>) => Promise<void>
}

/** What a network hands to its namespaces. */
export interface NamespaceContext {
  readonly exec: Exec
  readonly onSpawn: (child: LabProcess) => void
}

/** Wraps an existing namespace. */
export function namespaceNamed(name: string, kernelName: string, context: NamespaceContext): Namespace {
  const inside = (argv: readonly string[]): readonly string[] => ['netns', 'exec', kernelName, ...argv]
  const exec: Namespace['exec'] = (argv, options) => context.exec('ip', inside(argv), options)
  const run: Namespace['run'] = async (argv, options) =>
    succeeded(await exec(argv, options), `${name}: ${argv.join(' ')}`)
  const ip: Namespace['ip'] = async (commands) => {
    if (commands.length === 0) return
    const result = await context.exec('ip', ['-n', kernelName, '-batch', '-'], { input: `${commands.join('\n')}\n` })
    succeeded(result, `${name}: ip ${commands.join('; ')}`)
  }
  return {
    name,
    kernelName,
    commandLine: (argv) => ['ip', ...inside(argv)].map(quoted).join(' '),
    exec,
    run,
    ip,
    spawn: (argv, options) => {
      const child = startProcess(['ip', ...inside(argv)], options)
      context.onSpawn(child)
      return child
    },
    addAddress: (interfaceName, address) => ip([addAddressCommand(interfaceName, address)]),
    removeAddress: (interfaceName, address) => ip([`addr del ${address} dev ${interfaceName}`]),
    setRoute: (to, target) => ip([setRouteCommand(to, target)]),
    nextHopsOf: async (prefix) => {
      const family = prefix.includes(':') ? '-6' : '-4'
      const result = await context.exec('ip', ['-n', kernelName, '-j', family, 'route', 'show', 'exact', prefix])
      return nextHopsFromJson(succeeded(result, `${name}: ip route show ${prefix}`))
    },
    setLink: (interfaceName, state) => ip([`link set ${interfaceName} ${state}`]),
    setSysctls: async (values) => {
      const settings = Object.entries(values).map(([key, value]) => `${key}=${value}`)
      if (settings.length > 0) await run(['sysctl', '-qw', ...settings])
    },
  }
}

/** As a shell takes it for one word. */
const quoted = (word: string): string => (/^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)

/** An `ip` command. Duplicate address detection is off: an address is usable at once. */
export const addAddressCommand = (interfaceName: string, address: InterfaceAddress): string =>
  `addr add ${address} dev ${interfaceName}${address.includes(':') ? ' nodad' : ''}`

function setRouteCommand(
  to: Parameters<Namespace['setRoute']>[0],
  target: Parameters<Namespace['setRoute']>[1],
): string {
  const destination = to === 'default6' ? '::/0' : to === 'default' ? '0.0.0.0/0' : to
  if (target === 'blackhole') return `route replace blackhole ${destination}`
  if ('interface' in target) return `route replace ${destination} dev ${target.interface}`
  const hops = target.via.map((hop) => `via ${hop.via}${hop.interface === undefined ? '' : ` dev ${hop.interface}`}`)
  if (hops.length === 1) return `route replace ${destination} ${hops[0]}`
  const legs = target.via.map((hop, i) => `nexthop ${hops[i]} weight ${hop.weight ?? 1}`)
  return `route replace ${destination} ${legs.join(' ')}`
}

/**
 * Reads `ip -j route show`: one route with `gateway` or `nexthops`, or one route a leg, as daemons install IPv6. Of routes with
 * different metrics only the best counts: the kernel never spreads over several.
 */
export function nextHopsFromJson(json: string): readonly NextHop[] {
  const parsed: unknown = json.trim() === '' ? [] : JSON.parse(json)
  const routes = Array.isArray(parsed) ? parsed.filter(isRecord) : []
  const best = Math.min(...routes.map(metricOf))
  return routes
    .filter((route) => metricOf(route) === best)
    .flatMap((route) => {
      const legs = Array.isArray(route['nexthops']) ? route['nexthops'] : [route]
      return legs.flatMap((leg: unknown) => nextHopOfLeg(leg))
    })
}

const metricOf = ({ metric }: Readonly<Record<string, unknown>>): number => (typeof metric === 'number' ? metric : 0)

function nextHopOfLeg(leg: unknown): readonly NextHop[] {
  if (!isRecord(leg)) return []
  const nested = isRecord(leg['via']) ? leg['via']['host'] : undefined
  const via = typeof leg['gateway'] === 'string' ? leg['gateway'] : nested
  if (typeof via !== 'string') return []
  return [
    {
      via: must(parseIp(via)),
      ...(typeof leg['dev'] === 'string' ? { interface: leg['dev'] } : {}),
      ...(typeof leg['weight'] === 'number' ? { weight: leg['weight'] } : {}),
    },
  ]
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Standard output of a program that must have succeeded. */
export function succeeded(result: ExecResult, what: string): string {
  if (result.status === 0) return result.stdout
  throw new Error(`${what}: status ${result.status}: ${result.stderr.trim()} ${result.stdout.trim()}`)
}

/** `10.0.0.0/24` as the interface address of a host in it: `addressIn(prefix, ip)`. Throws when `ip` is of another family. */
export function addressIn(prefix: Prefix, ip: Ip): InterfaceAddress {
  if (prefixAddress(prefix).includes(':') !== ip.includes(':'))
    throw new Error(`${ip} is not of the family of ${prefix}`)
  return `${ip}/${prefixLength(prefix)}`
}
