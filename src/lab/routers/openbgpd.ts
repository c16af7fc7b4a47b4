// OpenBGPD (portable): on Linux a RIB without a kernel underneath. It is the strictest decoder of the four.

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { LabProcess } from '../netns/process.ts'
import { asList, asNumber, asObject, asText, isObject, parseJson } from './json.ts'
import {
  addressFrom,
  holdTimeDefaultSeconds,
  kernelNextHopsOf,
  makeRouterDirectory,
  type NeighborOptions,
  neighborAddress,
  neighborOf,
  type Router,
  type RouterOptions,
  type RouterPath,
  type RouterSession,
  sortPaths,
} from './router.ts'

/** FRR's bgpd has the same name. */
export const openbgpdProgram = '/usr/sbin/bgpd'

// It locks its children into /run/openbgpd, which the package leaves to systemd to create. A namespace started by `ip netns
// exec` has its own mounts, so an own /run is put there and the machine's stays as it is.
const startScript = 'mount -t tmpfs tmpfs /run && mkdir /run/openbgpd && exec "$@"'

export function createOpenbgpd(options: RouterOptions): Router {
  const { name, namespace } = options
  const directory = makeRouterDirectory(options)
  const configuration = path.join(directory, 'bgpd.conf')
  const socket = path.join(directory, 'bgpd.sock')
  const logPath = path.join(directory, 'bgpd.log')
  let daemon: LabProcess | undefined
  const bgpctl = (...args: readonly string[]): Promise<string> => namespace.run(['bgpctl', '-s', socket, ...args])

  return {
    name,
    kind: 'openbgpd',
    namespace,
    programsKernel: false,
    logPath,
    start: async () => {
      writeFileSync(configuration, renderOpenbgpdConfiguration(options, socket), { mode: 0o600 })
      const argv = ['sh', '-c', startScript, 'start', openbgpdProgram, '-d', '-v', '-f', configuration]
      daemon = namespace.spawn(argv, { logPath })
      const answers = async (): Promise<boolean> =>
        (await namespace.exec(['bgpctl', '-s', socket, 'show', 'summary'])).status === 0
      await daemon.waitUntil(answers, { what: `${name} answers` })
    },
    stop: async (signal = 'SIGTERM') => {
      await daemon?.stop({ signal })
      daemon = undefined
    },
    sessions: async () => parseOpenbgpdNeighbors(parseJson(await bgpctl('-j', 'show', 'neighbor'))),
    routes: async (prefix) => parseOpenbgpdRib(parseJson(await bgpctl('-j', 'show', 'rib', 'detail', prefix, 'all'))),
    kernelNextHops: (prefix) => kernelNextHopsOf(namespace, prefix),
    refresh: async (peer) => void (await bgpctl('neighbor', neighborOf(options, peer).neighbor.address, 'refresh')),
    shutdown: async (peer, text) =>
      void (await bgpctl('neighbor', neighborOf(options, peer).neighbor.address, 'down', text)),
    enable: async (peer) => void (await bgpctl('neighbor', neighborOf(options, peer).neighbor.address, 'up')),
  }
}

/** The configuration file. */
function renderOpenbgpdConfiguration(options: RouterOptions, socket: string): string {
  const hold = options.holdTimeSeconds ?? holdTimeDefaultSeconds
  return `${[
    `AS ${options.asn}`,
    `router-id ${options.routerId}`,
    `socket "${socket}"`,
    'fib-update no',
    `holdtime ${hold}`,
    'holdtime min 3',
    'connect-retry 1',
    ...options.neighbors.flatMap(neighborLines),
    ...(options.originates ?? []).map((prefix) => `network ${prefix}`),
    'allow from any',
    'deny to any',
    ...(options.originates ?? []).map((prefix) => `allow to any prefix ${prefix}`),
    options.extraConfiguration ?? '',
  ].join('\n')}\n`
}

function neighborLines(neighbor: NeighborOptions): readonly string[] {
  const { password, ttlSecurityHops, multihop } = neighbor
  return [
    `neighbor ${neighborAddress(neighbor)} {`,
    `  remote-as ${neighbor.asn}`,
    '  announce IPv4 unicast',
    '  announce IPv6 unicast',
    `  announce add-path recv ${neighbor.addPath ? 'yes' : 'no'}`,
    ...(password === undefined ? [] : [`  tcp md5sig password ${password}`]),
    ...(ttlSecurityHops === undefined ? [] : ['  ttl-security yes']),
    ...(multihop === undefined ? [] : [`  multihop ${multihop}`]),
    ...(neighbor.passive === true ? ['  passive'] : []),
    '}',
  ]
}

/** Reads `bgpctl -j show neighbor`. */
export function parseOpenbgpdNeighbors(answer: unknown): readonly RouterSession[] {
  return asList(asObject(answer)['neighbors'])
    .filter(isObject)
    .flatMap((neighbor) => {
      const address = asText(neighbor['remote_addr'])
      if (address === undefined) return []
      const state = asText(neighbor['state']) ?? 'unknown'
      const stats = asObject(neighbor['stats'])
      const paths = asNumber(asObject(stats['prefixes'])['received']) ?? 0
      return [{ peer: addressFrom(address), established: state === 'Established', state, paths }]
    })
}

/** Reads `bgpctl -j show rib <prefix> all`. */
export function parseOpenbgpdRib(answer: unknown): readonly RouterPath[] {
  return sortPaths(
    asList(asObject(answer)['rib'])
      .filter(isObject)
      .flatMap((entry): readonly RouterPath[] => {
        const nextHop = asText(entry['exit_nexthop'])
        if (nextHop === undefined) return []
        const pathId = asNumber(entry['path_id'])
        const origin = asText(entry['origin'])
        const med = asNumber(entry['metric'])
        const localPref = asNumber(entry['localpref'])
        return [
          {
            nextHop: addressFrom(nextHop),
            asPath: (asText(entry['aspath']) ?? '')
              .split(' ')
              .filter((asn) => asn !== '')
              .map(Number),
            ...(pathId === undefined ? {} : { pathId }),
            ...(origin === undefined ? {} : { origin }),
            ...(med === undefined ? {} : { med }),
            ...(localPref === undefined ? {} : { localPref }),
            communities: [entry['communities'], entry['large_communities']].flatMap(asList).map(String),
          },
        ]
      }),
  )
}
