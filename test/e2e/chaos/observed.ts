// What the world looks like from outside Bellhop: whole routing tables of the leaves, as their daemons and kernels have them, and the
// addresses that a node's rules let through. Whole tables, because what nobody would ask for by name is what must not be there.

import path from 'node:path'
import type { Lab } from '../../../src/lab/lab.ts'
import { asList, asObject, asText, parseJson } from '../../../src/lab/routers/json.ts'
import type { Router } from '../../../src/lab/routers/router.ts'
import type { LabNode } from '../../../src/lab/topology/topology.ts'
import { parseIp } from '../../../src/net/ip.ts'
import { parsePrefix, prefixAddress, prefixLength } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'

/** By address of the VIP: next hops, sorted. */
export type Table = ReadonlyMap<string, readonly string[]>

/** What a leaf was told, by neighbour. A neighbour without a session is not in it. */
export async function toldTables(lab: Lab, router: Router): Promise<ReadonlyMap<string, Table>> {
  const sessions = (await router.sessions()).filter(({ established }) => established).map(({ peer }) => peer as string)
  const directory = path.join(lab.topology.network.directory, router.name)
  const entries = router.kind === 'bird' ? await birdTold(router, directory, lab) : await frrTold(router, directory)
  return new Map(sessions.map((peer) => [peer, tableOf(entries.filter(({ neighbor }) => neighbor === peer))]))
}

/** Where a leaf's kernel sends the packets for VIPs. */
export async function kernelTable({ namespace }: Router): Promise<Table> {
  const entries: Entry[] = []
  for (const family of ['-4', '-6'])
    for (const route of asList(parseJson(await namespace.run(['ip', '-j', family, 'route', 'show']))).map(asObject)) {
      const vip = vipOf(asText(route['dst']) ?? '')
      const protocol = asText(route['protocol'])
      if (vip === undefined || protocol === 'kernel') continue
      const legs = asList(route['nexthops']).map(asObject)
      for (const leg of legs.length > 0 ? legs : [route]) {
        const nextHop = asText(leg['gateway']) ?? asText(asObject(leg['via'])['host'])
        entries.push({ neighbor: '', vip, nextHop: nextHop ?? 'nowhere' })
      }
    }
  return tableOf(entries)
}

interface Entry {
  readonly neighbor: string
  readonly vip: string
  readonly nextHop: string
}

const tableOf = (entries: readonly Entry[]): Table =>
  new Map(
    [...Map.groupBy(entries, ({ vip }) => vip)].map(([vip, list]) => [
      vip,
      [...new Set(list.map(({ nextHop }) => nextHop))].sort(),
    ]),
  )

const vipPattern = /^(203\.0\.113\.\d+|2001:db8:1:[0-9a-f:]+)(\/32|\/128)?$/

/** A host route in what VIPs come from. */
const vipOf = (text: string): string | undefined => {
  const address = vipPattern.exec(text)?.[1]
  return address === undefined ? undefined : must(parseIp(address))
}

// An entry begins with the prefix, and every further path of the same prefix with blanks; protocol n0 is the first node.
async function birdTold(router: Router, directory: string, lab: Lab): Promise<readonly Entry[]> {
  const show = ['birdc', '-r', '-s', path.join(directory, 'bird.ctl'), 'show', 'route', 'all']
  const entries: Entry[] = []
  let vip: string | undefined
  let neighbor = ''
  for (const line of (await router.namespace.run(show)).split('\n')) {
    const head = /^(\S*)\s+(unicast|unreachable|blackhole) \[(\S+) /.exec(line)
    if (head !== null) {
      if (head[1] !== '') vip = vipOf(head[1] ?? '')
      neighbor = lab.topology.nodes[Number(/^n(\d+)$/.exec(head[3] ?? '')?.[1])]?.address.ipv4 ?? ''
    }
    const nextHop = /BGP\.next_hop: (\S+)/.exec(line)?.[1]
    if (nextHop !== undefined && vip !== undefined) entries.push({ neighbor, vip, nextHop: must(parseIp(nextHop)) })
  }
  return entries
}

async function frrTold(router: Router, directory: string): Promise<readonly Entry[]> {
  const entries: Entry[] = []
  for (const family of ['ipv4', 'ipv6']) {
    const show = `show bgp ${family} unicast json detail`
    const command = ['vtysh', '--vty_socket', directory, '--config_dir', directory, '-c', show]
    for (const [prefix, found] of Object.entries(
      asObject(asObject(parseJson(await router.namespace.run(command)))['routes']),
    )) {
      const vip = vipOf(prefix)
      const paths = Array.isArray(found) ? found : asList(asObject(found)['paths'])
      if (vip === undefined) continue
      for (const each of paths.map(asObject)) {
        const neighbor = asText(asObject(each['peer'])['peerId']) ?? ''
        const nextHop = asList(each['nexthops'])
          .map((hop) => asText(asObject(hop)['ip']))
          .find((ip) => ip !== undefined && !ip.startsWith('fe80:'))
        if (nextHop !== undefined) entries.push({ neighbor, vip, nextHop: must(parseIp(nextHop)) })
      }
    }
  }
  return entries
}

/** The addresses for which a node's rules of ours accept connections, of both families. */
export async function openedAddresses({ namespace }: LabNode): Promise<readonly string[]> {
  const rules = await namespace.run(['sh', '-c', 'iptables-save -t filter; ip6tables-save -t filter'])
  return rules
    .split('\n')
    .filter((rule) => rule.startsWith('-A BELLHOP-') && rule.endsWith('-j ACCEPT'))
    .flatMap((rule) => addressesIn(/--ctorigdst (\S+)/.exec(rule)?.[1] ?? ''))
    .sort()
}

// VIPs that lie side by side may stand in one rule.
function addressesIn(text: string): readonly string[] {
  const block = text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`
  const prefix = must(parsePrefix(block))
  const bits = text.includes(':') ? 128 : 32
  const count = 2 ** (bits - prefixLength(prefix))
  if (count > 4096) return [text]
  const first = prefixAddress(prefix)
  return Array.from({ length: count }, (_, i) => plus(first, i))
}

function plus(address: string, offset: number): string {
  const separator = address.includes(':') ? ':' : '.'
  const radix = separator === ':' ? 16 : 10
  const at = address.lastIndexOf(separator) + 1
  const last = Number.parseInt(address.slice(at) || '0', radix) + offset
  return must(parseIp(address.slice(0, at) + last.toString(radix)))
}
