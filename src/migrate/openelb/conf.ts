// BgpConf: what all sessions have in common. OpenELB reads the one named default, as Bellhop does.

import type { RawObject } from '../../k8s/json.ts'
import { parseAsn } from '../../net/asn.ts'
import { parseIp } from '../../net/ip.ts'
import { routerIdWords } from '../peers.ts'
import type { Cursor, Source } from '../source.ts'
import { asnOf } from '../values.ts'
import { isV1alpha1 } from './sources.ts'

export interface OpenElbConf {
  readonly source: Source
  readonly asn: number | undefined
  /** By rack label: the AS number that speakers of that rack use. Undefined: racks mean nothing. */
  readonly asPerRack: ReadonlyMap<string, number> | undefined
  /** BgpConf.spec but for the AS number. */
  readonly spec: RawObject
}

/** The conf that counts; the others say that they do not. */
export function openElbConf(sources: readonly Source[]): {
  readonly conf: OpenElbConf | undefined
  readonly ignored: readonly Source[]
} {
  // Porter took a BgpConf of any name.
  const chosen =
    sources.find(({ name }) => name === 'default') ??
    (sources.length === 1 && sources[0] !== undefined && isV1alpha1(sources[0]) ? sources[0] : undefined)
  const ignored = sources.filter((source) => source !== chosen)
  for (const { spec } of ignored) {
    spec.note('lost', '', 'OpenELB reads only the BgpConf named default')
    markAll(spec)
  }
  return { conf: chosen === undefined ? undefined : readConf(chosen), ignored }
}

/** Every field of BgpConf: an object that counts for nothing needs no word on each. */
function markAll(spec: Cursor): void {
  for (const key of [
    'as',
    'asPerRack',
    'routerId',
    'routerID',
    'listenPort',
    'port',
    'listenAddresses',
    'families',
    'useMultiplePaths',
    'gracefulRestart',
    'policy',
  ])
    spec.raw(key)
}

function readConf(source: Source): OpenElbConf {
  const { spec } = source
  const first = isV1alpha1(source)
  if (source.name !== 'default') spec.note('changed', '', 'is named default now: Bellhop reads no other BgpConf')
  const asn = asnOf(spec, 'as')
  if (spec.raw('as') === undefined) spec.note('problem', 'as', 'is missing: the AS number of the cluster is not known')
  spec.drop(first ? 'routerID' : 'routerId', routerIdWords)
  spec.drop('families', 'Bellhop announces the families of each BgpPeer')
  spec.drop('useMultiplePaths', 'concerns routes that are received; Bellhop uses none')
  spec.drop('gracefulRestart', 'OpenELB itself reads it on BgpPeers only')
  spec.drop(
    'policy',
    'the ConfigMap with GoBGP policies is not converted: write a BgpPolicy for the communities, MED or prepending that it sets, and announce: false for what it rejects',
    'problem',
  )
  return {
    source,
    asn,
    asPerRack: racksOf(spec),
    spec: { listenPort: listenPort(spec, first ? 'port' : 'listenPort'), listenAddresses: listenAddresses(spec) },
  }
}

function racksOf(spec: Cursor): ReadonlyMap<string, number> | undefined {
  const racks = Object.entries(spec.textMap('asPerRack'))
  if (racks.length === 0) return undefined
  spec.note('changed', 'asPerRack', 'stands as localAsn in the BgpPeers of each rack')
  return new Map(
    racks.flatMap(([rack, text]) => {
      const asn = parseAsn(Number(text))
      if (!asn.ok) spec.note('problem', 'asPerRack', `${rack}: ${text} is not an AS number that a session can use`)
      return asn.ok ? [[rack, asn.value] as const] : []
    }),
  )
}

function listenPort(spec: Cursor, key: string): number | undefined {
  const port = spec.integer(key)
  if (port === undefined || port === 0 || port === 179) return undefined
  if (port < 0) return 0
  if (port <= 65_535) return port
  spec.note('problem', key, `${port} is no port; left out`)
  return undefined
}

const everywhere = new Set(['0.0.0.0', '::'])

function listenAddresses(spec: Cursor): readonly string[] | undefined {
  const texts = spec.texts('listenAddresses')
  const good = texts.filter((text) => parseIp(text).ok)
  for (const text of texts)
    if (!parseIp(text).ok) spec.note('problem', 'listenAddresses', `"${text}" is not an IP address; left out`)
  if (good.length === 0 || good.some((text) => everywhere.has(text))) return undefined
  spec.note('changed', 'listenAddresses', 'every host that a controller runs on must have one of these addresses')
  return [...new Set(good)]
}
