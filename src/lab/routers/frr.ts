// FRR: zebra and bgpd (and bfdd where asked for), started directly, without watchfrr or the packaged services.

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { familyOf, type Ip, parseIp } from '../../net/ip.ts'
import { type Prefix, prefixFamily } from '../../net/prefix.ts'
import { must } from '../../runtime/result.ts'
import type { LabProcess } from '../netns/process.ts'
import { asList, asNumber, asObject, asText, isObject, parseJson } from './json.ts'
import {
  addressFrom,
  bfdIntervalMs,
  bfdMultiplier,
  holdTimeDefaultSeconds,
  kernelNextHopsOf,
  makeRouterDirectory,
  multipathDefault,
  type NeighborOptions,
  neighborOf,
  ofFamily,
  type Router,
  type RouterOptions,
  type RouterPath,
  type RouterSession,
  sortPaths,
} from './router.ts'

/** Where Debian puts the daemons. */
export const frrDaemonDirectory = '/usr/lib/frr'

const questions = { zebra: 'show zebra', bgpd: 'show bgp summary json', bfdd: 'show bfd peers json' } as const

export function createFrr(options: RouterOptions): Router {
  const { name, namespace } = options
  const directory = makeRouterDirectory(options)
  const file = (base: string): string => path.join(directory, base)
  const logPath = file('frr.log')
  let daemons: readonly LabProcess[] = []

  const shell = ['vtysh', '--vty_socket', directory, '--config_dir', directory]
  const vtysh = (...commands: readonly string[]): Promise<string> =>
    namespace.run([...shell, ...commands.flatMap((c) => ['-c', c])])
  const configureBgp = async (line: string): Promise<void> =>
    void (await vtysh('configure terminal', `router bgp ${options.asn}`, line))

  const startDaemon = async (
    daemon: keyof typeof questions,
    configuration: string,
    extra: readonly string[],
  ): Promise<LabProcess> => {
    writeFileSync(file(`${daemon}.conf`), configuration)
    // The daemons drop to a user of their own, which must be able to make its sockets here.
    await namespace.run(['chown', '-R', 'frr:frr', directory])
    const paths = ['-f', file(`${daemon}.conf`), '-i', file(`${daemon}.pid`), '-z', file('zserv.api')]
    const argv = [`${frrDaemonDirectory}/${daemon}`, ...paths, '--vty_socket', directory, '-P', '0', ...extra]
    const child = namespace.spawn([...argv, '--log', 'stdout', '--log-level', 'debugging'], { logPath })
    // A question that only this daemon answers: vtysh itself, or a neighbour, would answer for it otherwise.
    const answers = async (): Promise<boolean> => (await vtysh(questions[daemon])) !== ''
    await child.waitUntil(answers, { what: `${daemon} of ${name} answers` })
    return child
  }

  return {
    name,
    kind: 'frr',
    namespace,
    programsKernel: true,
    logPath,
    start: async () => {
      writeFileSync(file('vtysh.conf'), '')
      // Without the option zebra changes an IPv6 route by deleting it first: packets find no route for a moment.
      const started = [await startDaemon('zebra', `hostname ${name}\n`, ['--v6-rr-semantics'])]
      if (options.neighbors.some(({ bfd }) => bfd === true))
        started.push(await startDaemon('bfdd', `hostname ${name}\n`, ['--bfdctl', file('bfdd.sock')]))
      started.push(await startDaemon('bgpd', renderFrrConfiguration(options), []))
      daemons = started
    },
    stop: async (signal = 'SIGTERM') => {
      // bgpd first, so that zebra is there to take its routes out of the kernel.
      for (const daemon of [...daemons].reverse()) await daemon.stop({ signal })
      daemons = []
    },
    sessions: async () => parseFrrSummary(parseJson(await vtysh('show bgp summary json'))),
    routes: async (prefix) =>
      parseFrrPaths(parseJson(await vtysh(`show bgp ${familyWord(prefix)} unicast ${prefix} json`))),
    kernelNextHops: (prefix) => kernelNextHopsOf(namespace, prefix),
    refresh: async (peer) => void (await vtysh(`clear bgp ${neighborOf(options, peer).neighbor.address} soft in`)),
    shutdown: (peer, text) =>
      configureBgp(`neighbor ${neighborOf(options, peer).neighbor.address} shutdown message ${text}`),
    enable: (peer) => configureBgp(`no neighbor ${neighborOf(options, peer).neighbor.address} shutdown`),
    operator: {
      shell,
      showRoute: (prefix) => [...shell, '-c', `show bgp ${familyWord(prefix)} unicast ${prefix}`],
    },
  }
}

const familyWord = (prefix: Prefix): string => (prefixFamily(prefix) === 'IPv4' ? 'ipv4' : 'ipv6')

/** The configuration of bgpd. Without an inbound policy FRR accepts nothing over eBGP (RFC 8212). */
function renderFrrConfiguration(options: RouterOptions): string {
  const { asn, routerId, neighbors, extraConfiguration = '' } = options
  return `${[
    'frr defaults traditional',
    `hostname ${options.name}`,
    // Policies first and applied at once: else FRR accepts nothing for five seconds and then asks for everything again.
    'bgp route-map delay-timer 0',
    'route-map ACCEPT permit 10',
    'exit',
    'route-map DENY deny 10',
    'exit',
    'bgp as-path access-list OWN permit ^$',
    'route-map OWN permit 10',
    ' match as-path OWN',
    'exit',
    `router bgp ${asn}`,
    ` bgp router-id ${routerId}`,
    ' bgp log-neighbor-changes',
    ' no bgp default ipv4-unicast',
    ' no bgp network import-check',
    ...neighbors.flatMap((neighbor) => neighborLines(options, neighbor)),
    ...(['ipv4', 'ipv6'] as const).flatMap((family) => familyLines(options, family)),
    'exit',
    extraConfiguration,
  ].join('\n')}\n`
}

function neighborLines(options: RouterOptions, neighbor: NeighborOptions): readonly string[] {
  const hold = options.holdTimeSeconds ?? holdTimeDefaultSeconds
  const of = ` neighbor ${neighbor.address}`
  return [
    `${of} remote-as ${neighbor.asn}`,
    `${of} timers ${Math.floor(hold / 3)} ${hold}`,
    `${of} timers connect 1`,
    ...(neighbor.interface === undefined ? [] : [`${of} interface ${neighbor.interface}`]),
    ...(neighbor.extendedNextHop === true ? [`${of} capability extended-nexthop`] : []),
    ...(neighbor.password === undefined ? [] : [`${of} password ${neighbor.password}`]),
    ...(neighbor.ttlSecurityHops === undefined ? [] : [`${of} ttl-security hops ${neighbor.ttlSecurityHops}`]),
    ...(neighbor.multihop === undefined ? [] : [`${of} ebgp-multihop ${neighbor.multihop}`]),
    ...(neighbor.passive === true ? [`${of} passive`] : []),
    ...(neighbor.bfd === true ? [`${of} bfd ${bfdMultiplier} ${bfdIntervalMs} ${bfdIntervalMs}`] : []),
  ]
}

function familyLines(options: RouterOptions, family: 'ipv4' | 'ipv6'): readonly string[] {
  const { multipathMax = multipathDefault, originates } = options
  return [
    ` address-family ${family} unicast`,
    ...options.neighbors.flatMap(({ address, addPath }) => [
      `  neighbor ${address} activate`,
      `  neighbor ${address} route-map ACCEPT in`,
      `  neighbor ${address} route-map ${originates === undefined ? 'DENY' : 'OWN'} out`,
      ...(addPath ? [] : [`  neighbor ${address} disable-addpath-rx`]),
    ]),
    ...ofFamily(originates, family).map((prefix) => `  network ${prefix}`),
    `  maximum-paths ${multipathMax}`,
    `  maximum-paths ibgp ${multipathMax}`,
    ' exit-address-family',
  ]
}

/** Reads `show bgp summary json`. */
export function parseFrrSummary(summary: unknown): readonly RouterSession[] {
  const sessions = new Map<Ip, RouterSession>()
  for (const family of Object.values(asObject(summary))) {
    for (const [address, peer] of Object.entries(asObject(asObject(family)['peers']))) {
      const { state, pfxRcd } = asObject(peer) as { readonly state?: unknown; readonly pfxRcd?: unknown }
      const ip = addressFrom(address)
      const word = asText(state) ?? 'unknown'
      const before = sessions.get(ip)?.paths ?? 0
      const paths = before + (asNumber(pfxRcd) ?? 0)
      sessions.set(ip, { peer: ip, established: word === 'Established', state: word, paths })
    }
  }
  return [...sessions.values()]
}

/** Reads `show bgp <family> unicast <prefix> json`. */
export function parseFrrPaths(answer: unknown): readonly RouterPath[] {
  const paths = asList(asObject(answer)['paths']).filter(isObject)
  return sortPaths(
    paths.flatMap((entry) => {
      const nextHop = asList(entry['nexthops'])
        .map((hop) => asText(asObject(hop)['ip']))
        .find((ip) => ip !== undefined && !(familyOf(must(parseIp(ip))) === 'IPv6' && ip.startsWith('fe80:')))
      if (nextHop === undefined) return []
      const pathId = asNumber(entry['addpathRxId'])
      const med = asNumber(entry['metric'])
      const localPref = asNumber(entry['locPrf'])
      const origin = asText(entry['origin'])
      const segments = asList(asObject(entry['aspath'])['segments'])
      return [
        {
          nextHop: must(parseIp(nextHop)),
          asPath: segments.flatMap((segment) => asList(asObject(segment)['list']).map(Number)),
          ...(pathId === undefined || pathId === 0 ? {} : { pathId }),
          ...(origin === undefined ? {} : { origin }),
          ...(med === undefined ? {} : { med }),
          ...(localPref === undefined ? {} : { localPref }),
          communities: [entry['community'], entry['largeCommunity']].flatMap((list) =>
            (asText(asObject(list)['string']) ?? '').split(' ').filter((community) => community !== ''),
          ),
        },
      ]
    }),
  )
}
