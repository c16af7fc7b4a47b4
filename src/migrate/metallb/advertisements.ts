// BGPAdvertisement and L2Advertisement. MetalLB announces what an advertisement selects; Bellhop announces every pool to every router
// unless a BgpPolicy says no. So an advertisement becomes a policy only where it sets or restricts something, and what no
// advertisement selects becomes a policy that says no.

import type { RawObject } from '../../k8s/json.ts'
import { type LabelSelector, matchesSelector } from '../../k8s/objects.ts'
import { describeSelector, renderSelector, sameSelector, unite } from '../selectors.ts'
import type { Cursor } from '../source.ts'
import { bellhopObject, type Migrated, type Origin } from '../types.ts'
import { kubernetesName } from '../values.ts'
import type { CommunityNames } from './communities.ts'
import type { PoolDraft } from './pools.ts'
import type { AdvertisementSource } from './sources.ts'

/** What an advertisement selects: names, or all there are. */
type Selected = 'all' | ReadonlySet<string>

const selects = (selected: Selected, name: string): boolean => selected === 'all' || selected.has(name)

// ------------------------------------------------------------------------------------------------------- layer 2

/** How the addresses of a pool are announced. */
export type PoolMode = { readonly mode: 'bgp' } | { readonly mode: 'layer2'; readonly layer2: RawObject | undefined }

/** A pool that both an L2Advertisement and a BGPAdvertisement select goes by BGP if there are routers. */
export function poolModes(
  pools: readonly PoolDraft[],
  layer2: readonly AdvertisementSource[],
  bgp: readonly Advertisement[],
  { hasPeers }: { readonly hasPeers: boolean },
): ReadonlyMap<string, PoolMode> {
  const read = layer2.map((advertisement) => ({ advertisement, ...layer2Settings(advertisement, pools) }))
  return new Map(
    pools.map(({ name }): readonly [string, PoolMode] => {
      const mine = read.filter((settings) => selects(settings.pools, name))
      const byBgp = hasPeers && bgp.some((advertisement) => selects(advertisement.pools, name))
      if (mine.length === 0) return [name, { mode: 'bgp' }]
      if (!byBgp) return [name, { mode: 'layer2', layer2: uniteLayer2(mine) }]
      for (const { advertisement } of mine)
        advertisement.source.spec.note(
          'problem',
          '',
          `pool ${name} is announced by BGP too: a VipPool has one mode, and bgp is taken. For clients on the nodes' own link set mode: layer2`,
        )
      return [name, { mode: 'bgp' }]
    }),
  )
}

interface Layer2Settings {
  readonly advertisement: AdvertisementSource
  readonly pools: Selected
  readonly interfaces: readonly string[]
  readonly nodes: ReturnType<typeof unite>
}

function layer2Settings(
  advertisement: AdvertisementSource,
  pools: readonly PoolDraft[],
): Omit<Layer2Settings, 'advertisement'> {
  const { spec } = advertisement.source
  const selectors = spec.selectors('nodeSelectors')
  const nodes = unite(selectors)
  if (nodes.type === 'several')
    spec.note(
      'problem',
      'nodeSelectors',
      'Bellhop takes one node selector, and these can not be written as one: every node may answer. Give the nodes one label and set layer2.nodeSelector',
    )
  spec.drop(
    'serviceSelectors',
    'Bellhop decides by pool, not by Service, who answers on the link: every Service with an address of the pools is announced',
    'problem',
  )
  spec.drop('preferredNodeSelectors', 'Bellhop spreads the addresses over the nodes and prefers none')
  return { pools: selectedPools(advertisement, pools), interfaces: spec.texts('interfaces'), nodes }
}

// Several advertisements of one pool: each adds nodes and interfaces.
function uniteLayer2(settings: readonly Layer2Settings[]): RawObject | undefined {
  const interfaces = settings.every((one) => one.interfaces.length > 0)
    ? [...new Set(settings.flatMap((one) => one.interfaces))]
    : []
  const selectors = settings.flatMap(({ nodes }) => (nodes.type === 'one' ? [nodes.selector] : []))
  const united = selectors.length === settings.length ? unite(selectors) : { type: 'all' as const }
  if (united.type === 'several')
    settings[0]?.advertisement.source.spec.note(
      'problem',
      'nodeSelectors',
      'with those of the other L2Advertisements of the pool they can not be written as one selector: every node may answer',
    )
  if (interfaces.length === 0 && united.type !== 'one') return undefined
  return {
    ...(interfaces.length > 0 ? { interfaces } : {}),
    ...(united.type === 'one' ? { nodeSelector: renderSelector(united.selector) } : {}),
  }
}

// ----------------------------------------------------------------------------------------------------------- BGP

export interface Advertisement {
  readonly from: AdvertisementSource
  readonly name: string
  readonly pools: Selected
  readonly peers: Selected
  /** Of Services, any of which may match; empty = all Services. */
  readonly services: readonly LabelSelector[]
  readonly nodes: ReturnType<typeof unite>
  readonly communities: readonly string[]
  readonly localPref: number | undefined
  readonly ipv4: number
  readonly ipv6: number
}

/** Reads an advertisement. `peerNames`: what each name of a BGPPeer is called now; one that is absent has no session. */
export function readAdvertisement(
  from: AdvertisementSource,
  pools: readonly PoolDraft[],
  peerNames: ReadonlyMap<string, string>,
  communities: CommunityNames,
): Advertisement {
  const { spec, name } = from.source
  return {
    from,
    name,
    pools: selectedPools(from, pools),
    peers: selectedPeers(spec, peerNames),
    services: spec.selectors('serviceSelectors'),
    nodes: unite(spec.selectors('nodeSelectors')),
    communities: spec.texts('communities').flatMap((text) => {
      const written = communities.resolve(text)
      if (written === undefined)
        spec.note('problem', 'communities', `"${text}" is neither a community nor the name of one; left out`)
      return written ?? []
    }),
    localPref: spec.integer('localPref') || undefined,
    ipv4: aggregation(spec, 'aggregationLength', { host: 32, least: 8 }),
    ipv6: aggregation(spec, 'aggregationLengthV6', { host: 128, least: 16 }),
  }
}

function aggregation(
  spec: Cursor,
  key: string,
  { host, least }: { readonly host: number; readonly least: number },
): number {
  const length = spec.integer(key) ?? host
  if (length >= least && length <= host) return length
  spec.note('problem', key, `/${length} is not possible, only /${least} to /${host}: each VIP is announced by itself`)
  return host
}

function selectedPools({ source: { spec }, pool }: AdvertisementSource, pools: readonly PoolDraft[]): Selected {
  if (pool !== undefined) return new Set([pool])
  const named = spec.texts('ipAddressPools')
  const selectors = spec.selectors('ipAddressPoolSelectors')
  if (named.length === 0 && selectors.length === 0) return 'all'
  const unknown = named.filter((name) => pools.every((candidate) => candidate.name !== name))
  if (unknown.length > 0)
    spec.note('lost', 'ipAddressPools', `there is no pool ${unknown.join(', ')}; MetalLB ignored it too`)
  const matching = pools
    .filter(({ source }) => selectors.some((selector) => matchesSelector(selector, source.labels)))
    .map((candidate) => candidate.name)
  if (selectors.length > 0)
    spec.note(
      'changed',
      'ipAddressPoolSelectors',
      `"${selectors.map(describeSelector).join('" or "')}" selects ${matching.join(', ') || 'no pool'} now; Bellhop names pools, so a pool that is labelled later must be added`,
    )
  return new Set([...named.filter((name) => !unknown.includes(name)), ...matching])
}

function selectedPeers(spec: Cursor, peerNames: ReadonlyMap<string, string>): Selected {
  const named = spec.texts('peers')
  if (named.length === 0) return 'all'
  const unknown = named.filter((name) => !peerNames.has(name))
  if (unknown.length > 0) spec.note('lost', 'peers', `there is no BgpPeer for ${unknown.join(', ')}`)
  return new Set(named.flatMap((name) => peerNames.get(name) ?? []))
}

// ------------------------------------------------------------------------------------------------------ policies

/** Decides above every attribute and every policy that somebody adds later without a thought of it. */
const neverPriority = 1000
/** Decides only where no advertisement for the Service does. */
const otherwisePriority = -1000

export interface Policies {
  readonly objects: readonly Migrated[]
  readonly without: readonly Origin[]
  /** Nodes that the announcements to a router are limited to. */
  readonly nodesOf: (peer: string) => LabelSelector | undefined
}

/** All that the advertisements say, for the pools that go by BGP and the routers there are. */
export function advertisementPolicies(
  advertisements: readonly Advertisement[],
  pools: readonly string[],
  peers: readonly string[],
): Policies {
  const nodes = nodeRestrictions(advertisements, pools, peers)
  const dropped = shadowed(advertisements, pools, peers)
  const restricted = restrictedPairs(advertisements, pools, peers)
  const objects: Migrated[] = []
  const without: Origin[] = []
  for (const advertisement of advertisements) {
    const { from, services } = advertisement
    const needed = setsAttributes(advertisement) || services.length > 0
    const made = needed && !dropped.has(advertisement) ? policiesOf(advertisement) : []
    if (!needed)
      from.source.spec.note(
        'changed',
        '',
        peers.length === 0
          ? 'there is no router to announce to'
          : 'needs no BgpPolicy: it sets nothing, and Bellhop announces every pool to every router by itself',
      )
    const [first, ...rest] = made
    if (first === undefined) without.push(from.source.origin())
    else
      objects.push(
        { object: first, origins: [from.source.origin()] },
        ...rest.map((object) => ({ object, origins: [] })),
      )
  }
  return { objects: [...objects, ...denials(restricted, peers)], without, nodesOf: (peer) => nodes.get(peer) }
}

const setsAttributes = ({ communities, localPref, ipv4, ipv6 }: Advertisement): boolean =>
  communities.length > 0 || localPref !== undefined || ipv4 !== 32 || ipv6 !== 128

// Service selectors are alternatives: one policy each, all of which say the same.
function policiesOf(advertisement: Advertisement): readonly ReturnType<typeof bellhopObject>[] {
  const { name, pools, peers, services, communities, localPref, ipv4, ipv6 } = advertisement
  const united = unite(services)
  const selectors = united.type === 'all' ? [undefined] : united.type === 'one' ? [united.selector] : services
  return selectors.map((selector, i) =>
    bellhopObject('BgpPolicy', selectors.length === 1 ? name : `${name}-${i + 1}`, {
      pools: pools === 'all' ? undefined : [...pools],
      peers: peers === 'all' ? undefined : [...new Set(peers)],
      serviceSelector: selector === undefined ? undefined : renderSelector(selector),
      communities: communities.length === 0 ? undefined : [...new Set(communities)],
      localPref,
      aggregationLength:
        ipv4 === 32 && ipv6 === 128
          ? undefined
          : { ...(ipv4 === 32 ? {} : { ipv4 }), ...(ipv6 === 128 ? {} : { ipv6 }) },
    }),
  )
}

/** Pairs that an advertisement reaches. */
const reaches = (advertisement: Advertisement, pool: string, peer: string): boolean =>
  selects(advertisement.pools, pool) && selects(advertisement.peers, peer)

// A VIP is one route in Bellhop. Where MetalLB announced a host route and an aggregate of it, the longer one stays.
function shadowed(
  advertisements: readonly Advertisement[],
  pools: readonly string[],
  peers: readonly string[],
): ReadonlySet<Advertisement> {
  const dropped = new Set<Advertisement>()
  const longer = (a: Advertisement, b: Advertisement): boolean =>
    a.ipv4 > b.ipv4 || (a.ipv4 === b.ipv4 && a.ipv6 > b.ipv6)
  for (const shorter of advertisements)
    for (const other of advertisements) {
      const meet = pools.some((pool) =>
        peers.some((peer) => reaches(shorter, pool, peer) && reaches(other, pool, peer)),
      )
      if (!meet || !longer(other, shorter) || dropped.has(shorter)) continue
      dropped.add(shorter)
      shorter.from.source.spec.note(
        'problem',
        '',
        `left out: ${other.name} announces the same VIPs with longer prefixes, and a VIP is one route in Bellhop. If routers further away need the aggregate, originate it on your routers, and see whether the communities of ${other.name} let its routes get that far`,
      )
    }
  return dropped
}

/** By pool: routers it is never announced to, and routers where only some Services are announced. */
interface Restriction {
  readonly pool: string
  readonly never: readonly string[]
  readonly some: readonly string[]
}

function restrictedPairs(
  advertisements: readonly Advertisement[],
  pools: readonly string[],
  peers: readonly string[],
): readonly Restriction[] {
  return pools.map((pool) => {
    const reaching = (peer: string): readonly Advertisement[] =>
      advertisements.filter((advertisement) => reaches(advertisement, pool, peer))
    return {
      pool,
      never: peers.filter((peer) => reaching(peer).length === 0),
      some: peers.filter((peer) => {
        const found = reaching(peer)
        return found.length > 0 && found.every(({ services }) => services.length > 0)
      }),
    }
  })
}

function denials(restrictions: readonly Restriction[], peers: readonly string[]): readonly Migrated[] {
  return restrictions.flatMap(({ pool, never, some }) => {
    const deny = (name: string, routers: readonly string[], priority: number, text: string): readonly Migrated[] => {
      if (routers.length === 0) return []
      const object = bellhopObject('BgpPolicy', kubernetesName(`${pool}-${name}`), {
        priority,
        pools: [pool],
        peers: routers.length === peers.length ? undefined : routers,
        announce: false,
      })
      return [
        {
          object,
          origins: [{ title: `MetalLB IPAddressPool ${pool}`, notes: [{ level: 'changed', path: '', text }] }],
        },
      ]
    }
    const nobody = never.length === peers.length
    return [
      ...deny(
        'not-announced',
        never,
        neverPriority,
        nobody
          ? 'no advertisement selects the pool, so MetalLB gave its addresses out and announced none. If that was an oversight, leave this policy out'
          : 'no advertisement for these routers selects the pool',
      ),
      ...deny(
        'unless-advertised',
        some,
        otherwisePriority,
        'only Services that an advertisement selects were announced; the policies made of those have a higher priority',
      ),
    ]
  })
}

// MetalLB's advertisements choose next hops, Bellhop's routers do. It is the same where all that reaches a router chooses the same.
function nodeRestrictions(
  advertisements: readonly Advertisement[],
  pools: readonly string[],
  peers: readonly string[],
): ReadonlyMap<string, LabelSelector> {
  const restrictions = new Map<string, LabelSelector>()
  const unable = new Set<Advertisement>()
  for (const peer of peers) {
    const reaching = advertisements.filter((advertisement) => pools.some((pool) => reaches(advertisement, pool, peer)))
    const [first] = reaching
    const same = reaching.every(({ nodes }) => sameNodes(nodes, first?.nodes))
    if (first?.nodes.type === 'one' && same) restrictions.set(peer, first.nodes.selector)
    else for (const advertisement of reaching) if (advertisement.nodes.type !== 'all') unable.add(advertisement)
  }
  for (const advertisement of advertisements) {
    const { spec } = advertisement.from.source
    if (unable.has(advertisement))
      spec.note(
        'problem',
        'nodeSelectors',
        'in Bellhop a router hears of the same nodes for all pools (BgpPeer nodeSelector), and here they differ: every node with ready endpoints is a next hop. Label nodes that must never be one node.kubernetes.io/exclude-from-external-load-balancers',
      )
    else if (advertisement.nodes.type !== 'all')
      spec.note(
        'changed',
        'nodeSelectors',
        'stands as nodeSelector in the BgpPeers: all that a router hears of is limited to these nodes',
      )
  }
  return restrictions
}

function sameNodes(a: Advertisement['nodes'], b: Advertisement['nodes'] | undefined): boolean {
  if (a.type === 'one' && b?.type === 'one') return sameSelector(a.selector, b.selector)
  return a.type === 'all' && b?.type === 'all'
}
