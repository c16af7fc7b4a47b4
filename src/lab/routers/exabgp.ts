// ExaBGP: no router, but a decoder that says everything it hears. It keeps no table, so its table is folded here from what
// it reported since it was started.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Ip, parseIp } from '../../net/ip.ts'
import { must } from '../../runtime/result.ts'
import type { Namespace } from '../netns/namespace.ts'
import type { LabProcess } from '../netns/process.ts'
import { asList, asNumber, asObject, asText, isObject } from './json.ts'
import {
  holdTimeDefaultSeconds,
  kernelNextHopsOf,
  makeRouterDirectory,
  type NeighborOptions,
  neighborOf,
  ofFamily,
  type Router,
  type RouterOptions,
  type RouterPath,
  type RouterSession,
  sortPaths,
} from './router.ts'

/** `shutdown` has no text with ExaBGP (its Cease carries a fixed one), and the session comes back by itself. */
export function createExabgp(options: RouterOptions): Router {
  const { name, namespace } = options
  const directory = makeRouterDirectory(options)
  const file = (base: string): string => path.join(directory, base)
  const logPath = file('exabgp.log')
  let daemon: LabProcess | undefined
  const table = (): ExabgpTable => {
    const text = existsSync(file('events')) ? readFileSync(file('events'), 'utf8') : ''
    // The last line may still be being written.
    return foldExabgpEvents(text.slice(0, text.lastIndexOf('\n') + 1).split('\n'))
  }
  const command = (line: string): void => writeFileSync(file('commands'), `${line}\n`, { flag: 'a' })

  return {
    name,
    kind: 'exabgp',
    namespace,
    programsKernel: false,
    logPath,
    start: async () => {
      rmSync(file('events'), { force: true })
      writeFileSync(file('commands'), '')
      // ExaBGP speaks to a child of its own: what it hears goes to a file, what is appended to another is told to it.
      const pipes = `#!/bin/sh\ntail -n +1 -F ${file('commands')} --pid=$$ &\nexec cat >> ${file('events')}\n`
      writeFileSync(file('pipes'), pipes, { mode: 0o755 })
      const sources = await Promise.all(options.neighbors.map(({ address }) => sourceTowards(namespace, address)))
      writeFileSync(file('exabgp.conf'), renderExabgpConfiguration(options, file('pipes'), sources), { mode: 0o600 })
      const env = {
        'exabgp.daemon.user': 'root',
        'exabgp.api.cli': 'false',
        'exabgp.log.destination': 'stderr',
        'exabgp.tcp.bind': '0.0.0.0 ::',
      }
      daemon = namespace.spawn(['exabgp', file('exabgp.conf')], { env, logPath })
      await daemon.waitUntil(() => existsSync(file('events')), { what: `${name} has started its child` })
    },
    stop: async (signal = 'SIGTERM') => {
      await daemon?.stop({ signal })
      daemon = undefined
    },
    sessions: async () => {
      const { up, paths } = table()
      return options.neighbors.map(({ address }): RouterSession => {
        const established = daemon !== undefined && up.has(address)
        const count = [...paths.values()].filter((entry) => entry.peer === address).length
        return { peer: address, established, state: established ? 'up' : 'down', paths: established ? count : 0 }
      })
    },
    routes: async (prefix) =>
      sortPaths([...table().paths.values()].filter((entry) => entry.prefix === prefix).map(({ path: found }) => found)),
    kernelNextHops: (prefix) => kernelNextHopsOf(namespace, prefix),
    refresh: async (peer) => {
      const { address } = neighborOf(options, peer).neighbor
      for (const family of ['ipv4', 'ipv6']) command(`neighbor ${address} announce route-refresh ${family} unicast`)
    },
    shutdown: async (peer) => command(`neighbor ${neighborOf(options, peer).neighbor.address} teardown 2`),
    enable: async () => {},
  }
}

// ExaBGP wants to be told its own address.
async function sourceTowards(namespace: Namespace, peer: Ip): Promise<Ip> {
  const [route] = asList(JSON.parse(await namespace.run(['ip', '-j', 'route', 'get', peer])))
  return must(parseIp(asText(asObject(route)['prefsrc']) ?? ''))
}

/** The configuration file. `pipes` is the program that ExaBGP talks to, `sources` its own address towards each neighbour. */
function renderExabgpConfiguration(options: RouterOptions, pipes: string, sources: readonly Ip[]): string {
  return `${[
    `process pipes { run ${pipes}; encoder json; }`,
    ...options.neighbors.map((neighbor, i) => renderNeighbor(options, neighbor, sources[i] ?? options.routerId)),
    options.extraConfiguration ?? '',
  ].join('\n')}\n`
}

// Its `self` is the address of the session, whatever the family. Nobody forwards by what ExaBGP announces.
const ownIpv6 = '2001:db8::1'

function renderNeighbor(options: RouterOptions, neighbor: NeighborOptions, source: Ip): string {
  const { password, ttlSecurityHops, multihop } = neighbor
  const extended = neighbor.extendedNextHop === true
  return [
    `neighbor ${neighbor.address} {`,
    `  router-id ${options.routerId}; local-address ${source}; local-as ${options.asn}; peer-as ${neighbor.asn};`,
    `  hold-time ${options.holdTimeSeconds ?? holdTimeDefaultSeconds};`,
    ...(password === undefined ? [] : [`  md5-password '${password}';`]),
    ...(ttlSecurityHops === undefined ? [] : [`  outgoing-ttl 255; incoming-ttl ${256 - ttlSecurityHops};`]),
    ...(multihop === undefined ? [] : [`  outgoing-ttl ${multihop};`]),
    ...(neighbor.passive === true ? ['  passive true;'] : []),
    '  family { ipv4 unicast; ipv6 unicast; }',
    `  capability { asn4 enable; route-refresh enable; add-path ${neighbor.addPath ? 'receive' : 'disable'}; ${extended ? 'nexthop enable; ' : ''}}`,
    ...(extended ? ['  nexthop { ipv4 unicast ipv6; }'] : []),
    ...(['ipv4', 'ipv6'] as const).map((family) => {
      const own = ofFamily(options.originates, family).map(
        (prefix) => `unicast ${prefix} next-hop ${family === 'ipv4' ? 'self' : ownIpv6};`,
      )
      return own.length === 0 ? '' : `  announce { ${family} { ${own.join(' ')} } }`
    }),
    '  api { processes [ pipes ]; neighbor-changes; receive { parsed; update; } }',
    '}',
  ].join('\n')
}

export interface ExabgpTable {
  readonly up: ReadonlySet<Ip>
  /** By peer, prefix and path id. */
  readonly paths: ReadonlyMap<string, { readonly peer: Ip; readonly prefix: string; readonly path: RouterPath }>
}

/** Folds the JSON lines that ExaBGP wrote into what it would know if it kept a table. */
export function foldExabgpEvents(lines: readonly string[]): ExabgpTable {
  const up = new Set<Ip>()
  const paths = new Map<string, { readonly peer: Ip; readonly prefix: string; readonly path: RouterPath }>()
  for (const line of lines) {
    // It prints the octets of a Cease as they are, which no JSON may contain.
    const event = asObject(line.startsWith('{') ? JSON.parse(line.replaceAll(/\p{Cc}/gu, ' ')) : undefined)
    const neighbor = asObject(event['neighbor'])
    const address = asText(asObject(neighbor['address'])['peer'])
    if (address === undefined) continue
    const peer = must(parseIp(address))
    if (event['type'] === 'state') {
      if (neighbor['state'] === 'up') up.add(peer)
      else up.delete(peer)
      for (const [key, entry] of paths) if (entry.peer === peer) paths.delete(key)
    }
    const update = asObject(asObject(neighbor['message'])['update'])
    for (const { key } of nlriOf(Object.values(asObject(update['withdraw'])), peer)) paths.delete(key)
    for (const family of Object.values(asObject(update['announce'])))
      for (const [nextHop, nlri] of Object.entries(asObject(family)))
        for (const { key, prefix, pathId } of nlriOf([nlri], peer))
          paths.set(key, { peer, prefix, path: pathFrom(nextHop, pathId, asObject(update['attribute'])) })
  }
  return { up, paths }
}

interface ReportedNlri {
  readonly key: string
  readonly prefix: string
  readonly pathId: number | undefined
}

function nlriOf(lists: readonly unknown[], peer: Ip): readonly ReportedNlri[] {
  return lists.flatMap(asList).flatMap((entry) => {
    const prefix = asText(isObject(entry) ? entry['nlri'] : entry)
    if (prefix === undefined) return []
    // The path id is written as dotted decimal.
    const dotted = asText(asObject(entry)['path-information'])
    const pathId = dotted?.split('.').reduce((value, octet) => value * 256 + Number(octet), 0)
    return [{ key: `${peer} ${prefix} ${pathId ?? ''}`, prefix, pathId }]
  })
}

function pathFrom(
  nextHop: string,
  pathId: number | undefined,
  attributes: Readonly<Record<string, unknown>>,
): RouterPath {
  const med = asNumber(attributes['med'])
  const localPref = asNumber(attributes['local-preference'])
  const origin = asText(attributes['origin'])?.toUpperCase()
  return {
    nextHop: must(parseIp(nextHop)),
    asPath: asList(attributes['as-path']).map(Number),
    ...(pathId === undefined ? {} : { pathId }),
    ...(origin === undefined ? {} : { origin }),
    ...(med === undefined ? {} : { med }),
    ...(localPref === undefined ? {} : { localPref }),
    communities: [attributes['community'], attributes['large-community']]
      .flatMap(asList)
      .map((community) => asList(community).join(':')),
  }
}
