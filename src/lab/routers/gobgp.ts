// GoBGP 3: a RIB without a kernel underneath (that would need zebra), good for seeing what another implementation decodes.

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Prefix, prefixFamily } from '../../net/prefix.ts'
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

export function createGobgp(options: RouterOptions): Router {
  const { name, namespace } = options
  const directory = makeRouterDirectory(options)
  const configuration = path.join(directory, 'gobgpd.toml')
  const logPath = path.join(directory, 'gobgpd.log')
  let daemon: LabProcess | undefined
  const gobgp = (...args: readonly string[]): Promise<string> => namespace.run(['gobgp', ...args])

  return {
    name,
    kind: 'gobgp',
    namespace,
    programsKernel: false,
    logPath,
    start: async () => {
      writeFileSync(configuration, renderGobgpConfiguration(options), { mode: 0o600 })
      daemon = namespace.spawn(
        ['gobgpd', '-f', configuration, '-l', 'debug', '--pprof-disable', '--api-hosts', '127.0.0.1:50051'],
        { logPath },
      )
      const answers = async (): Promise<boolean> => (await namespace.exec(['gobgp', 'global'])).status === 0
      await daemon.waitUntil(answers, { what: `${name} answers` })
      for (const prefix of options.originates ?? [])
        await gobgp('global', 'rib', 'add', '-a', familyWord(prefix), prefix)
    },
    stop: async (signal = 'SIGTERM') => {
      await daemon?.stop({ signal })
      daemon = undefined
    },
    sessions: async () => parseGobgpNeighbors(parseJson(await gobgp('neighbor', '-j'))),
    routes: async (prefix) => {
      const answer = await namespace.exec(['gobgp', 'global', 'rib', '-a', familyWord(prefix), prefix, '-j'])
      return answer.status === 0 ? parseGobgpRib(parseJson(answer.stdout)) : []
    },
    kernelNextHops: (prefix) => kernelNextHopsOf(namespace, prefix),
    refresh: async (peer) => void (await gobgp('neighbor', neighborOf(options, peer).neighbor.address, 'softresetin')),
    shutdown: async (peer, text) => {
      // Only `shutdown` sends the text, and only `disable` lasts.
      await gobgp('neighbor', neighborOf(options, peer).neighbor.address, 'shutdown', '--reason', text)
      await gobgp('neighbor', neighborOf(options, peer).neighbor.address, 'disable')
    },
    enable: async (peer) => void (await gobgp('neighbor', neighborOf(options, peer).neighbor.address, 'enable')),
  }
}

const familyWord = (prefix: Prefix): string => (prefixFamily(prefix) === 'IPv4' ? 'ipv4' : 'ipv6')

/** The configuration file. */
function renderGobgpConfiguration(options: RouterOptions): string {
  return `${[
    '[global.config]',
    `as = ${options.asn}`,
    `router-id = "${options.routerId}"`,
    '[global.use-multiple-paths.config]',
    'enabled = true',
    ...options.neighbors.flatMap((neighbor) => neighborLines(options, neighbor)),
    options.extraConfiguration ?? '',
  ].join('\n')}\n`
}

function neighborLines(options: RouterOptions, neighbor: NeighborOptions): readonly string[] {
  const hold = options.holdTimeSeconds ?? holdTimeDefaultSeconds
  const { password, ttlSecurityHops, multihop } = neighbor
  return [
    '[[neighbors]]',
    '[neighbors.config]',
    `neighbor-address = "${neighborAddress(neighbor)}"`,
    `peer-as = ${neighbor.asn}`,
    ...(password === undefined ? [] : [`auth-password = "${password}"`]),
    '[neighbors.timers.config]',
    'idle-hold-time-after-reset = 1',
    'connect-retry = 1',
    `hold-time = ${hold}`,
    `keepalive-interval = ${Math.floor(hold / 3)}`,
    ...(neighbor.passive === true ? ['[neighbors.transport.config]', 'passive-mode = true'] : []),
    ...(ttlSecurityHops === undefined
      ? []
      : ['[neighbors.ttl-security.config]', 'enabled = true', `ttl-min = ${256 - ttlSecurityHops}`]),
    ...(multihop === undefined
      ? []
      : ['[neighbors.ebgp-multihop.config]', 'enabled = true', `multihop-ttl = ${multihop}`]),
    ...['ipv4-unicast', 'ipv6-unicast'].flatMap((family) => [
      '[[neighbors.afi-safis]]',
      '[neighbors.afi-safis.config]',
      `afi-safi-name = "${family}"`,
      '[neighbors.afi-safis.add-paths.config]',
      `receive = ${neighbor.addPath}`,
    ]),
  ]
}

// PeerState.SessionState of GoBGP's API.
const stateWords = ['Unknown', 'Idle', 'Connect', 'Active', 'OpenSent', 'OpenConfirm', 'Established']

/** Reads `gobgp neighbor -j`. */
export function parseGobgpNeighbors(answer: unknown): readonly RouterSession[] {
  return asList(answer)
    .filter(isObject)
    .flatMap((neighbor) => {
      const state = asObject(neighbor['state'])
      const address = asText(state['neighbor_address']) ?? asText(asObject(neighbor['conf'])['neighbor_address'])
      if (address === undefined) return []
      const word = stateWords[asNumber(state['session_state']) ?? 0] ?? 'Unknown'
      const families = asList(neighbor['afi_safis']).map((family) => asObject(asObject(family)['state']))
      return [
        {
          peer: addressFrom(address),
          established: word === 'Established',
          state: word,
          paths: families.reduce((sum, family) => sum + (asNumber(family['accepted']) ?? 0), 0),
        },
      ]
    })
}

const attribute = {
  origin: 1,
  asPath: 2,
  nextHop: 3,
  med: 4,
  localPref: 5,
  communities: 8,
  mpReach: 14,
  largeCommunities: 32,
}
const originWords = ['IGP', 'EGP', 'INCOMPLETE']

/** Reads `gobgp global rib <prefix> -j`. GoBGP does not show the path ids it received. */
export function parseGobgpRib(answer: unknown): readonly RouterPath[] {
  const paths = Object.values(asObject(answer)).flatMap(asList).map(asObject)
  return sortPaths(
    paths.flatMap((entry) => {
      const attributes = asList(entry['attrs']).map(asObject)
      const one = (type: number): Readonly<Record<string, unknown>> => attributes.find((a) => a['type'] === type) ?? {}
      const nextHop = asText(one(attribute.nextHop)['nexthop']) ?? asText(one(attribute.mpReach)['nexthop'])
      if (nextHop === undefined) return []
      const med = asNumber(one(attribute.med)['metric'])
      const localPref = asNumber(one(attribute.localPref)['value'])
      const origin = originWords[asNumber(one(attribute.origin)['value']) ?? -1]
      return [
        {
          nextHop: addressFrom(nextHop),
          asPath: asList(one(attribute.asPath)['as_paths']).flatMap((part) =>
            asList(asObject(part)['asns']).map(Number),
          ),
          ...(origin === undefined ? {} : { origin }),
          ...(med === undefined ? {} : { med }),
          ...(localPref === undefined ? {} : { localPref }),
          communities: [
            ...asList(one(attribute.communities)['communities'])
              .map(Number)
              .map((c) => `${c >>> 16}:${c & 0xffff}`),
            ...asList(one(attribute.largeCommunities)['value']).map((value) => {
              const { ASN, LocalData1, LocalData2 } = asObject(value) as Readonly<Record<string, unknown>>
              return [ASN, LocalData1, LocalData2].map(Number).join(':')
            }),
          ],
        },
      ]
    }),
  )
}
