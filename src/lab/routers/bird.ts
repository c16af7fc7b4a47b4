// BIRD 2: configuration, control socket, and what it prints.

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Ip } from '../../net/ip.ts'
import type { Prefix } from '../../net/prefix.ts'
import { type Namespace, succeeded } from '../netns/namespace.ts'
import type { LabProcess } from '../netns/process.ts'
import {
  addressFrom,
  bfdIntervalMs,
  bfdMultiplier,
  holdTimeDefaultSeconds,
  kernelNextHopsOf,
  makeRouterDirectory,
  multipathDefault,
  type NeighborOptions,
  neighborAddress,
  neighborOf,
  ofFamily,
  type Router,
  type RouterOptions,
  type RouterPath,
  type RouterSession,
  sortPaths,
} from './router.ts'

export function createBird(options: RouterOptions): Router {
  const { name, namespace } = options
  const directory = makeRouterDirectory(options)
  const file = (base: string): string => path.join(directory, base)
  const logPath = file('bird.log')
  let daemon: LabProcess | undefined
  const birdc = (command: string): Promise<string> => namespace.run(['birdc', '-r', '-s', file('bird.ctl'), command])
  const control = (command: string): Promise<string> => namespace.run(['birdc', '-s', file('bird.ctl'), command])
  const protocolOf = (peer: Ip): string => protocolName(neighborOf(options, peer).index)

  return {
    name,
    kind: 'bird',
    namespace,
    programsKernel: true,
    logPath,
    start: async () => {
      writeFileSync(file('bird.conf'), renderBirdConfiguration(options), { mode: 0o600 })
      daemon = namespace.spawn(
        ['bird', '-f', '-c', file('bird.conf'), '-s', file('bird.ctl'), '-P', file('bird.pid')],
        { logPath },
      )
      const answers = async (): Promise<boolean> => (await birdc('show status')).includes('Daemon is up')
      await daemon.waitUntil(answers, { what: `${name} answers` })
    },
    stop: async (signal = 'SIGTERM') => {
      await daemon?.stop({ signal })
      daemon = undefined
    },
    sessions: async () => parseBirdProtocols(await birdc('show protocols all')),
    routes: async (prefix) => parseBirdRoutes(await showRoute(namespace, file('bird.ctl'), prefix)),
    kernelNextHops: (prefix) => kernelNextHopsOf(namespace, prefix),
    refresh: async (peer) => void (await control(`reload in ${protocolOf(peer)}`)),
    shutdown: async (peer, text) => void (await control(`disable ${protocolOf(peer)} "${text}"`)),
    enable: async (peer) => void (await control(`enable ${protocolOf(peer)}`)),
    operator: {
      shell: ['birdc', '-s', file('bird.ctl')],
      showRoute: (prefix) => ['birdc', '-s', file('bird.ctl'), 'show', 'route', prefix],
    },
  }
}

/** An exact prefix that is not there is an error to birdc. */
async function showRoute(namespace: Namespace, socket: string, prefix: Prefix): Promise<string> {
  const what = ['birdc', '-r', '-s', socket, `show route ${prefix} all`]
  const result = await namespace.exec(what)
  return result.stdout.includes('Network not found') ? '' : succeeded(result, what.join(' '))
}

const protocolName = (index: number): string => `n${index}`

/** The configuration file. */
function renderBirdConfiguration(options: RouterOptions): string {
  const { routerId, neighbors, multipathMax = multipathDefault, extraConfiguration = '' } = options
  const kernel = (family: 4 | 6): string =>
    `protocol kernel k${family} {
  merge paths on limit ${multipathMax};
  ipv${family} { import none; export filter { if source = RTS_BGP then accept; reject; }; };
}`
  const bfd = `protocol bfd { interface "*" { interval ${bfdIntervalMs} ms; multiplier ${bfdMultiplier};${renderBfdKey(neighbors)} }; }`
  return `${[
    'log stderr all;',
    `router id ${routerId};`,
    'protocol device { scan time 5; }',
    'protocol direct { ipv4; ipv6; }',
    kernel(4),
    kernel(6),
    ...(neighbors.some((neighbor) => neighbor.bfd === true) ? [bfd] : []),
    ...(['ipv4', 'ipv6'] as const).map((family) => renderStatic(options, family)),
    ...neighbors.map((neighbor, index) => renderNeighbor(options, neighbor, index)),
    extraConfiguration,
  ].join('\n')}\n`
}

const renderStatic = ({ originates }: RouterOptions, family: 'ipv4' | 'ipv6'): string => {
  const routes = ofFamily(originates, family).map((prefix) => `route ${prefix} blackhole;`)
  return routes.length === 0 ? '' : `protocol static { ${family}; ${routes.join(' ')} }`
}

function renderNeighbor(options: RouterOptions, neighbor: NeighborOptions, index: number): string {
  const { ttlSecurityHops, multihop, password } = neighbor
  const distance = ttlSecurityHops !== undefined && ttlSecurityHops > 1 ? ttlSecurityHops : multihop
  const out = options.originates === undefined ? 'export none;' : 'export where source = RTS_STATIC;'
  const channel = neighbor.addPath ? 'add paths rx;' : ''
  return [
    `protocol bgp ${protocolName(index)} {`,
    `  local as ${options.asn};`,
    `  neighbor ${neighborAddress(neighbor)} as ${neighbor.asn};`,
    // On iBGP, BIRD would otherwise resolve next hops recursively and find no ECMP among them.
    `  ${distance === undefined ? 'direct' : `multihop ${distance}`};`,
    `  hold time ${options.holdTimeSeconds ?? holdTimeDefaultSeconds};`,
    '  connect delay time 1; connect retry time 1; error wait time 1, 1; error forget time 1;',
    ...(password === undefined ? [] : [`  password "${password}";`]),
    ...(ttlSecurityHops === undefined ? [] : ['  ttl security on;']),
    ...(neighbor.passive === true ? ['  passive on;'] : []),
    ...(neighbor.bfd === true ? ['  bfd on;'] : []),
    `  ipv4 { import all; ${out} ${channel}${neighbor.extendedNextHop === true ? ' extended next hop on;' : ''} };`,
    `  ipv6 { import all; ${out} ${channel} };`,
    '}',
  ].join('\n')
}

/** Reads `show protocols all`. */
export function parseBirdProtocols(text: string): readonly RouterSession[] {
  const blocks = text.split(/^(?=\S)/m).filter((block) => /^\S+\s+BGP\s/.test(block))
  return blocks.flatMap((block) => {
    const peer = /Neighbor address: (\S+)/.exec(block)?.[1]
    const state = /BGP state:\s+(\S+)/.exec(block)?.[1] ?? 'Down'
    if (peer === undefined) return []
    const imported = [...block.matchAll(/Routes:\s+(\d+) imported/g)].map((match) => Number(match[1]))
    return [
      {
        peer: addressFrom(peer),
        established: state === 'Established',
        state,
        paths: imported.reduce((sum, count) => sum + count, 0),
      },
    ]
  })
}

// `(64512,100) (64512,101)`, `(64512, 1, 2)`
const communitiesIn = (text: string | undefined): readonly string[] =>
  [...(text ?? '').matchAll(/\(([\d, ]+)\)/g)].map(([, numbers = '']) => numbers.split(/, */).join(':'))

/** Reads `show route <prefix> all`; only routes learnt by BGP. BIRD 2 does not show path ids. */
export function parseBirdRoutes(text: string): readonly RouterPath[] {
  const entries = text.split(/^(?=\S*\s+unicast \[)/m).filter((entry) => entry.includes('Type: BGP'))
  const paths = entries.map((entry): RouterPath => {
    const value = (key: string): string | undefined => new RegExp(`BGP\\.${key}: (.*)`).exec(entry)?.[1]
    const asPath = (value('as_path') ?? '').split(' ').filter((asn) => asn !== '')
    const med = value('med')
    const localPref = value('local_pref')
    const origin = value('origin')
    return {
      nextHop: addressFrom((value('next_hop') ?? '').split(' ')[0] ?? ''),
      asPath: asPath.map(Number),
      ...(origin === undefined ? {} : { origin }),
      ...(med === undefined ? {} : { med: Number(med) }),
      ...(localPref === undefined ? {} : { localPref: Number(localPref) }),
      communities: [value('community'), value('large_community')].flatMap(communitiesIn),
    }
  })
  return sortPaths(paths)
}

// BIRD has one key an interface, not one a neighbour: that of the first neighbour that has one.
function renderBfdKey(neighbors: readonly NeighborOptions[]): string {
  const key = neighbors.find(({ bfdAuthentication }) => bfdAuthentication !== undefined)?.bfdAuthentication
  if (key === undefined) return ''
  return ` authentication ${key.type.replaceAll('-', ' ')}; password "${key.password}" { id ${key.keyId}; };`
}
