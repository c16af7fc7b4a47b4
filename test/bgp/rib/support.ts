// Short ways to write sessions and routes in the tests of the RIB.

import type { Family, SessionCodec } from '../../../src/bgp/packet/message.ts'
import { type AdjRibOut, createAdjRibOut, type ExportContext } from '../../../src/bgp/rib/adj-rib-out.ts'
import type { Path, Route, RouteAttributes } from '../../../src/bgp/rib/route.ts'
import { parseAsn } from '../../../src/net/asn.ts'
import { type Ip, parseIp } from '../../../src/net/ip.ts'
import { type Prefix, parsePrefix } from '../../../src/net/prefix.ts'
import { must } from '../../../src/runtime/result.ts'

export const ip = (text: string): Ip => must(parseIp(text))
export const prefix = (text: string): Prefix => must(parsePrefix(text))

export const bothFamilies: readonly Family[] = ['ipv4-unicast', 'ipv6-unicast']

/** A session of both families with ADD-PATH, four-octet AS numbers and messages of 4096 octets, unless told otherwise. */
export const codecWith = (changes: Partial<SessionCodec> = {}): SessionCodec => ({
  fourOctetAs: true,
  sessionType: 'ebgp',
  addPathReceive: new Set(),
  addPathSend: new Set(bothFamilies),
  families: new Set(bothFamilies),
  messageBytesMaxReceive: 4096,
  messageBytesMaxSend: 4096,
  ...changes,
})

export interface ContextChanges extends Partial<Omit<ExportContext, 'codec'>> {
  readonly codec?: Partial<SessionCodec>
}

export const contextWith = ({ codec, ...changes }: ContextChanges = {}): ExportContext => ({
  localAsn: must(parseAsn(64512)),
  peerAsn: must(parseAsn(64513)),
  pathsLimit: new Map(),
  seed: 'test',
  codec: codecWith(codec),
  ...changes,
})

export const plainAttributes: RouteAttributes = { origin: 'IGP', prepend: 0, communities: [], largeCommunities: [] }

/** A route over nodes 1, 2, ...: node n is 10.0.0.n or fd00::n, with path id n. */
export function routeOver(
  text: string,
  nodes: readonly number[],
  attributes: Partial<RouteAttributes> = {},
  linkBandwidth?: number,
): Route {
  const paths: Path[] = nodes.map((node) => ({
    pathId: node,
    nextHop: ip(text.includes(':') ? `fd00::${node.toString(16)}` : `10.0.${node >> 8}.${node & 255}`),
    ...(linkBandwidth === undefined ? {} : { linkBandwidth }),
  }))
  return { prefix: prefix(text), attributes: { ...plainAttributes, ...attributes }, paths }
}

/** The route, with these nodes leaving. */
export const withLeaving = ({ paths, ...route }: Route, leaving: readonly number[]): Route => ({
  ...route,
  paths: paths.map((path) => (leaving.includes(path.pathId) ? { ...path, leaving: true } : path)),
})

/** An AdjRibOut with a table of its own, which follows every update. */
export function ribWithTable(context: ExportContext): AdjRibOut {
  const table = new Map<Prefix, Route>()
  const rib = createAdjRibOut(context, table)
  const update: AdjRibOut['update'] = (prefix, route) => {
    rib.update(prefix, route)
    if (route === undefined) table.delete(prefix)
    else table.set(prefix, route)
  }
  return Object.create(rib, { update: { value: update } })
}

/** Everything that `next` has to say. */
export function drain(rib: AdjRibOut): readonly Uint8Array[] {
  const messages: Uint8Array[] = []
  for (let message = rib.next(); message !== undefined; message = rib.next()) messages.push(message)
  return messages
}

/** Sets routes by their prefix and returns the messages. */
export function announce(rib: AdjRibOut, ...routes: readonly Route[]): readonly Uint8Array[] {
  for (const route of routes) rib.update(route.prefix, route)
  return drain(rib)
}
