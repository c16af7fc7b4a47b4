// Objects of OpenELB (Porter) and MetalLB to Bellhop's: the whole conversion, as a function of raw objects. Reads nothing, writes
// nothing; the command line and whoever else wants to know call it with what they found.

import { asList, asObject, asText, type RawObject } from '../k8s/json.ts'
import type { BgpPeer, Service } from '../k8s/objects.ts'
import { parseObject } from '../k8s/schemas/parse.ts'
import { parseRange, rangeContains } from '../net/range.ts'
import { advertisementPolicies, type PoolMode, poolModes, readAdvertisement } from './metallb/advertisements.ts'
import { bfdProfiles } from './metallb/bfd.ts'
import { communityNames } from './metallb/communities.ts'
import { metalLbPeer } from './metallb/peers.ts'
import { metalLbPools, type PoolDraft } from './metallb/pools.ts'
import { metalLbSources } from './metallb/sources.ts'
import { openElbConf } from './openelb/conf.ts'
import { openElbPools } from './openelb/eips.ts'
import { openElbPeer } from './openelb/peers.ts'
import { openElbSources } from './openelb/sources.ts'
import { type Peers, peerObjects, settlePeers } from './peers.ts'
import type { Source } from './source.ts'
import { bellhopObject, type Migrated, type Migration, type Note, type Origin } from './types.ts'

export type Product = 'openelb' | 'metallb'

export interface MigrateOptions {
  /** Whose objects to convert. */
  readonly from: Product
  /** The Services there are, if they are known: whether addresses are shared between namespaces. */
  readonly services?: readonly Service[]
  /** Who is to speak to MetalLB's routers: the controllers (default), or every node as before. */
  readonly speaker?: BgpPeer['speaker']
}

const openElbGroup = 'network.kubesphere.io/'
const metalLbGroup = 'metallb.io/'

/** Whether the object is one that a conversion of this product reads. */
export function belongsTo(product: Product, raw: RawObject): boolean {
  const apiVersion = asText(raw['apiVersion']) ?? ''
  if (product === 'openelb') return apiVersion.startsWith(openElbGroup)
  return apiVersion.startsWith(metalLbGroup) || isMetalLbConfigMap(raw)
}

// Before 0.13. Its name is fixed, its namespace nearly; what is inside settles it.
function isMetalLbConfigMap(raw: RawObject): boolean {
  const text = asText(asObject(raw['data'])?.['config'])
  return (
    raw['kind'] === 'ConfigMap' &&
    text !== undefined &&
    (asText(asObject(raw['metadata'])?.['namespace']) === 'metallb-system' || /^(address-pools|peers):/m.test(text))
  )
}

/** Whose objects these are. */
export const productsIn = (objects: readonly RawObject[]): readonly Product[] =>
  (['openelb', 'metallb'] as const).filter((product) => objects.some((raw) => belongsTo(product, raw)))

/** Lists taken apart: `kubectl get -o yaml` wraps objects, and leaves their kind to the list in some cases. */
export function unwrapLists(objects: readonly RawObject[]): readonly RawObject[] {
  return objects.flatMap((raw) => {
    const kind = asText(raw['kind']) ?? ''
    const items = asList(raw['items'])
    if (!kind.endsWith('List') || items === undefined) return [raw]
    const inherited = kind === 'List' ? {} : { apiVersion: raw['apiVersion'], kind: kind.slice(0, -'List'.length) }
    return unwrapLists(
      items.flatMap((item) => {
        const object = asObject(item)
        return object === undefined ? [] : [{ ...inherited, ...object }]
      }),
    )
  })
}

/** Converts. Objects of other kinds are passed over; an object that is there twice counts as it comes last, as with kubectl apply. */
export function migrate(objects: readonly RawObject[], options: MigrateOptions): Migration {
  const { from, services, speaker = 'controller' } = options
  const all = latest(unwrapLists(objects))
  const openElb = openElbSources(from !== 'openelb' ? [] : all.filter((raw) => belongsTo('openelb', raw)))
  const metalLb = metalLbSources(from !== 'metallb' ? [] : all.filter((raw) => belongsTo('metallb', raw)))

  const { conf, ignored } = openElbConf(openElb.confs)
  const profiles = bfdProfiles(metalLb.bfdProfiles)
  const readPeers = [
    ...openElb.peers.map((source) => ({ source, draft: openElbPeer(source, conf) })),
    ...metalLb.peers.map((source) => ({ source, draft: metalLbPeer(source, profiles, speaker) })),
  ]
  profiles.finish()
  const peers = settlePeers(
    readPeers.flatMap(({ draft }) => draft ?? []),
    conf?.asn,
    speaker,
  )
  const communities = communityNames(metalLb.communities, { keepNames: peers.asn !== undefined })

  const eips = openElbPools(openElb.eips)
  const pools = metalLbPools(metalLb.pools)
  const advertisements = metalLb.bgpAdvertisements.map((source) =>
    readAdvertisement(source, pools, metalLbPeerNames(peers), communities),
  )
  const modes = poolModes(pools, metalLb.l2Advertisements, advertisements, { hasPeers: peers.peers.length > 0 })
  const byBgp = pools.map(({ name }) => name).filter((name) => modes.get(name)?.mode === 'bgp')
  const policies = advertisementPolicies(advertisements, byBgp, namesOfPeers(peers, 'MetalLB'))
  const poolDrafts: readonly PoolDraft[] = [
    ...eips,
    ...pools.map((draft) => ({ ...draft, spec: { ...draft.spec, ...modeFields(modes.get(draft.name)) } })),
  ].map((draft) => ({
    source: draft.source,
    name: draft.name,
    spec: { ...draft.spec, sharing: sharingOf(draft, services) },
  }))

  for (const { source, spec } of poolDrafts)
    if (asText(spec['mode']) === 'layer2') source.spec.note('changed', '', layer2Words)

  const made: readonly Migrated[] = [
    ...confObjects(conf, peers, metalLb.communities, communities.named),
    ...peerObjects(peers, policies.nodesOf),
    ...poolDrafts.map(({ source, name, spec }) => ({
      object: bellhopObject('VipPool', name, spec),
      origins: [source.origin()],
    })),
    ...policies.objects,
  ]
  const told = made.some(({ object }) => object.kind === 'BgpConf')
  const leftSources: readonly Source[] = [
    ...ignored,
    ...readPeers.flatMap(({ source, draft }) => (draft === undefined ? [source] : [])),
    ...peers.merged.map(({ source }) => source),
    ...[...openElb.eips, ...metalLb.pools].filter((source) => poolDrafts.every((draft) => draft.source !== source)),
    ...metalLb.l2Advertisements.map(({ source }) => source),
    ...metalLb.bfdProfiles,
    ...(told ? [] : [...metalLb.communities, ...(conf === undefined ? [] : [conf.source])]),
  ]
  const without = [
    ...leftSources.map((source) => source.origin()),
    ...policies.without,
    ...openElb.others,
    ...metalLb.others,
  ].filter(({ notes }) => notes.length > 0)
  return checked({ objects: uniqueNames(made), without })
}

function latest(objects: readonly RawObject[]): readonly RawObject[] {
  const byKey = new Map<string, RawObject>()
  for (const raw of objects) {
    const metadata = asObject(raw['metadata'])
    const group = (asText(raw['apiVersion']) ?? '').split('/')[0]
    const key = [group, raw['kind'], metadata?.['namespace'], metadata?.['name']].join('|')
    byKey.delete(key)
    byKey.set(key, raw)
  }
  return [...byKey.values()]
}

const namesOfPeers = ({ peers }: Peers, product: Source['product']): readonly string[] =>
  peers.filter(({ source }) => source.product === product).map(({ name }) => name)

function metalLbPeerNames(peers: Peers): ReadonlyMap<string, string> {
  return new Map([...namesOfPeers(peers, 'MetalLB').map((name) => [name, name] as const), ...peers.mergedInto])
}

// Both may run side by side: whoever comes second is silent.
const layer2Words =
  'mode layer2: a node asks on its link before it takes an address. It takes these within ten seconds after their present announcer was stopped'

const modeFields = (mode: PoolMode | undefined): RawObject =>
  mode?.mode === 'layer2' ? { mode: 'layer2', layer2: mode.layer2 } : {}

// -------------------------------------------------------------------------------------------------------- BgpConf

function confObjects(
  conf: ReturnType<typeof openElbConf>['conf'],
  { asn, peers }: Peers,
  communitySources: readonly Source[],
  communities: ReadonlyMap<string, string>,
): readonly Migrated[] {
  if (asn === undefined) {
    for (const { spec } of communitySources) spec.note('lost', '', 'no router, so no BgpConf to hold the names')
    conf?.source.spec.note('problem', '', 'left out: without an AS number there is no BgpConf')
    return []
  }
  const others = peers.filter(({ ownAsn }) => ownAsn !== undefined && ownAsn !== asn).map(({ name }) => name)
  const notes: readonly Note[] =
    others.length === 0
      ? []
      : [
          {
            level: 'changed',
            path: '',
            text: `AS ${asn} is the number of most peers; ${others.join(', ')} use another one, as localAsn`,
          },
        ]
  const own: Origin =
    conf === undefined ? { title: 'the AS number of the BGPPeers (myASN)', notes } : conf.source.origin()
  const object = bellhopObject('BgpConf', 'default', {
    asn,
    ...conf?.spec,
    communities: communities.size === 0 ? undefined : Object.fromEntries(communities),
  })
  return [{ object, origins: [own, ...communitySources.map((source) => source.origin())] }]
}

// -------------------------------------------------------------------------------------------------------- sharing

// The others let Services of any namespace share an address; Bellhop lets those of one, unless the pool says otherwise. A Service
// that shares across namespaces would lose its address, so only knowledge of the Services narrows it.
function sharingOf(
  { source, spec }: { readonly source: Source; readonly spec: RawObject },
  services: readonly Service[] | undefined,
): 'AnyNamespace' | undefined {
  const product = source.product
  if (services === undefined) {
    source.spec.note(
      'changed',
      '',
      `sharing: AnyNamespace, as in ${product}. Where no two namespaces share an address, take the line away`,
    )
    return 'AnyNamespace'
  }
  const ranges = (asList(spec['addresses']) ?? []).flatMap((text) => {
    const range = parseRange(String(text))
    return range.ok ? [range.value] : []
  })
  const holders = new Map<string, Set<string>>()
  for (const { meta, ingress } of services)
    for (const { ip } of ingress)
      if (ranges.some((range) => rangeContains(range, ip)))
        holders.set(ip, (holders.get(ip) ?? new Set()).add(meta.namespace))
  const shared = [...holders].filter(([, namespaces]) => namespaces.size > 1).map(([ip]) => ip)
  if (shared.length === 0) return undefined
  source.spec.note(
    'changed',
    '',
    `sharing: AnyNamespace, because Services of several namespaces have ${shared.join(', ')}`,
  )
  return 'AnyNamespace'
}

// ------------------------------------------------------------------------------------------------------ last checks

// Two products, or the parts of one object, may come to the same name.
function uniqueNames(made: readonly Migrated[]): readonly Migrated[] {
  const taken = new Set<string>()
  return made.map(({ object, origins }) => {
    const free = (name: string): boolean => !taken.has(`${object.kind} ${name}`)
    let name = object.metadata.name
    for (let i = 2; !free(name); i++) name = `${object.metadata.name}-${i}`
    taken.add(`${object.kind} ${name}`)
    if (name === object.metadata.name) return { object, origins }
    const note: Note = {
      level: object.kind === 'BgpPolicy' ? 'changed' : 'problem',
      path: 'metadata.name',
      text: `is called ${name}: there is another ${object.kind} ${object.metadata.name}. What refers to the old name must be edited`,
    }
    const [first, ...rest] = origins
    const renamed = { title: first?.title ?? '', notes: [note, ...(first?.notes ?? [])] }
    return { object: { ...object, metadata: { name } }, origins: [renamed, ...rest] }
  })
}

// What our own reader would refuse is not handed out: it is told as a problem instead.
function checked({ objects, without }: Migration): Migration {
  const refused = new Map<Migrated, readonly Note[]>()
  for (const migrated of objects) {
    const parsed = parseObject(migrated.object.kind, migrated.object)
    if (parsed.type !== 'refusal') continue
    refused.set(
      migrated,
      parsed.refusal.problems.map(
        ({ path, message }): Note => ({ level: 'problem', path: '', text: `left out: ${path} ${message}` }),
      ),
    )
  }
  return {
    objects: objects.filter((migrated) => !refused.has(migrated)),
    without: [
      ...[...refused].map(([{ object, origins }, notes]) => ({
        title: origins[0]?.title ?? `${object.kind} ${object.metadata.name}`,
        notes: [...notes, ...origins.flatMap((origin) => origin.notes)],
      })),
      ...without,
    ],
  }
}
