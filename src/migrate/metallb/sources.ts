// MetalLB's configuration as one set of sources, whichever form it has: custom resources, or the ConfigMap of versions before 0.13,
// whose entries are read as if they were those resources, with its own spelling of the fields.

import { parse } from 'yaml'
import { asList, asObject, asText, type RawObject } from '../../k8s/json.ts'
import { createSource, metadataOf, type Source } from '../source.ts'
import type { Origin } from '../types.ts'
import { kubernetesName } from '../values.ts'

/** A BGPAdvertisement or L2Advertisement. An entry of the ConfigMap belongs to one pool and says so by where it stands. */
export interface AdvertisementSource {
  readonly source: Source
  readonly pool?: string
}

export interface MetalLbSources {
  readonly pools: readonly Source[]
  readonly peers: readonly Source[]
  readonly bgpAdvertisements: readonly AdvertisementSource[]
  readonly l2Advertisements: readonly AdvertisementSource[]
  readonly bfdProfiles: readonly Source[]
  readonly communities: readonly Source[]
  /** What could not be read at all, and what is no configuration. */
  readonly others: readonly Origin[]
}

const none: MetalLbSources = {
  pools: [],
  peers: [],
  bgpAdvertisements: [],
  l2Advertisements: [],
  bfdProfiles: [],
  communities: [],
  others: [],
}

/** Kinds that MetalLB writes itself. */
const written = new Set(['ServiceL2Status', 'ServiceBGPStatus', 'ConfigurationState', 'BGPSessionStatus'])

/** Sorts raw objects of `metallb.io` and the ConfigMap into what they configure. */
export function metalLbSources(objects: readonly RawObject[]): MetalLbSources {
  const parts = objects.map(sourcesOf)
  return {
    pools: parts.flatMap(({ pools }) => pools),
    peers: parts.flatMap(({ peers }) => peers),
    bgpAdvertisements: parts.flatMap(({ bgpAdvertisements }) => bgpAdvertisements),
    l2Advertisements: parts.flatMap(({ l2Advertisements }) => l2Advertisements),
    bfdProfiles: parts.flatMap((part) => part.bfdProfiles),
    communities: parts.flatMap(({ communities }) => communities),
    others: parts.flatMap(({ others }) => others),
  }
}

function sourcesOf(raw: RawObject): MetalLbSources {
  const kind = asText(raw['kind']) ?? ''
  if (kind === 'ConfigMap') return fromConfigMap(raw)
  if (written.has(kind)) return none
  const source = customResource(raw, kind)
  switch (kind) {
    case 'IPAddressPool':
      return { ...none, pools: [source] }
    case 'BGPPeer':
      return { ...none, peers: [source] }
    case 'BGPAdvertisement':
      return { ...none, bgpAdvertisements: [{ source }] }
    case 'L2Advertisement':
      return { ...none, l2Advertisements: [{ source }] }
    case 'BFDProfile':
      return { ...none, bfdProfiles: [source] }
    case 'Community':
      return { ...none, communities: [source] }
    default:
      return { ...none, others: [unknownKind(source)] }
  }
}

function unknownKind({ kind, title }: Source): Origin {
  return { title, notes: [{ level: 'problem', path: '', text: `the kind ${kind} has no equal in Bellhop` }] }
}

function customResource(raw: RawObject, kind: string): Source {
  const metadata = metadataOf(raw)
  const where = metadata.namespace === '' ? metadata.name : `${metadata.namespace}/${metadata.name}`
  return createSource(raw['spec'], 'spec', {
    product: 'MetalLB',
    kind,
    apiVersion: asText(raw['apiVersion']) ?? '',
    ...metadata,
    title: `MetalLB ${kind} ${where}`,
  })
}

// ------------------------------------------------------------------------------------------------- the ConfigMap

/** The ConfigMap's words for fields of the custom resources; the others are the same in lower case with dashes. */
const spellings: Readonly<Record<string, string>> = {
  myASN: 'my-asn',
  peerASN: 'peer-asn',
  routerID: 'router-id',
  ebgpMultiHop: 'ebgp-multihop',
  avoidBuggyIPs: 'avoid-buggy-ips',
  localPref: 'localpref',
  aggregationLengthV6: 'aggregation-length-v6',
}

const spelling = (key: string): string =>
  spellings[key] ?? key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

function fromConfigMap(raw: RawObject): MetalLbSources {
  const { namespace, name } = metadataOf(raw)
  const title = `MetalLB ConfigMap ${namespace}/${name}`
  const text = asText(asObject(raw['data'])?.['config'])
  const config = text === undefined ? undefined : asObject(parseYaml(text))
  if (config === undefined) {
    const because = text === undefined ? 'has no entry config' : 'is not YAML that could be read'
    return { ...none, others: [{ title, notes: [{ level: 'problem', path: 'data.config', text: because }] }] }
  }
  const facts = { product: 'MetalLB', kind: 'ConfigMap', apiVersion: 'v1', namespace, name, title, spelling } as const
  const entry = (value: unknown, path: string, kind: string, entryName: string): Source =>
    createSource(value, `config.${path}`, { ...facts, kind, name: entryName, title: `${title}, ${path}` })
  const pools = (asList(config['address-pools']) ?? []).map((value, i) => poolEntry(value, i, entry))
  const root = createSource(config, 'config', facts)
  for (const section of ['address-pools', 'peers', 'bgp-communities', 'bfd-profiles']) root.spec.raw(section)
  const rest = root.origin()
  const communities = asObject(config['bgp-communities'])
  return {
    pools: pools.map(({ pool }) => pool),
    peers: (asList(config['peers']) ?? []).map((value, i) => {
      const address = asText(asObject(value)?.['peer-address']) ?? String(i)
      return entry(value, `peers[${i}]`, 'BGPPeer', kubernetesName(`peer-${address.replaceAll(':', '-')}`))
    }),
    bgpAdvertisements: pools.flatMap(({ bgp }) => bgp),
    l2Advertisements: pools.flatMap(({ layer2 }) => layer2),
    bfdProfiles: (asList(config['bfd-profiles']) ?? []).map((value, i) =>
      entry(value, `bfd-profiles[${i}]`, 'BFDProfile', asText(asObject(value)?.['name']) ?? ''),
    ),
    communities:
      communities === undefined
        ? []
        : [
            createSource({ 'bgp-communities': communities }, 'config', {
              ...facts,
              kind: 'Community',
              title: `${title}, bgp-communities`,
            }),
          ],
    others: rest.notes.length === 0 ? [] : [rest],
  }
}

interface PoolEntry {
  readonly pool: Source
  readonly bgp: readonly AdvertisementSource[]
  readonly layer2: readonly AdvertisementSource[]
}

function poolEntry(
  value: unknown,
  i: number,
  entry: (value: unknown, path: string, kind: string, name: string) => Source,
): PoolEntry {
  const raw = asObject(value) ?? {}
  const name = asText(raw['name']) ?? `pool-${i}`
  const pool = entry(value, `address-pools[${i}]`, 'IPAddressPool', kubernetesName(name))
  if (kubernetesName(name) !== name)
    pool.spec.note('problem', 'name', `"${name}" is no name for an object; Services that name the pool must be edited`)
  pool.spec.raw('name')
  const protocol = pool.spec.text('protocol')
  const advertised = asList(pool.spec.raw('bgpAdvertisements')) ?? []
  if (protocol === 'layer2')
    return {
      pool,
      bgp: [],
      layer2: [{ source: entry({}, `address-pools[${i}]`, 'L2Advertisement', name), pool: pool.name }],
    }
  if (protocol !== 'bgp') pool.spec.note('problem', 'protocol', `${protocol} is not a protocol: bgp is assumed`)
  // Without a list MetalLB announced host routes without attributes.
  const advertisements = advertised.length === 0 ? [{}] : advertised
  return {
    pool,
    layer2: [],
    bgp: advertisements.map((item, k) => ({
      source: entry(
        item,
        `address-pools[${i}].bgp-advertisements[${k}]`,
        'BGPAdvertisement',
        advertisements.length === 1 ? pool.name : `${pool.name}-${k + 1}`,
      ),
      pool: pool.name,
    })),
  }
}

function parseYaml(text: string): unknown {
  try {
    return parse(text)
  } catch {
    return undefined
  }
}
