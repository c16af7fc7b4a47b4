// Where `bellhop migrate` gets its objects: YAML files, folders of them and standard input, or a cluster that is only read.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { parseAllDocuments } from 'yaml'
import { createKubeClient, type KubeClient } from '../k8s/client.ts'
import type { CredentialsSource } from '../k8s/credentials.ts'
import { asList, asObject, type RawObject } from '../k8s/json.ts'
import { unwrapLists } from '../migrate/migrate.ts'
import type { Clock } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'

/** What somebody gave us that can not be read; the message names it. */
export class InputError extends Error {}

// ---------------------------------------------------------------------------------------------------------- files

/** All objects of files, folders (their .yaml, .yml and .json files, not deeper) and `-`. Throws InputError. */
export function readObjects(places: readonly string[]): readonly RawObject[] {
  return places.flatMap((place) => filesOf(place).flatMap((file) => parseObjects(readText(file), file)))
}

function filesOf(place: string): readonly string[] {
  if (place === '-') return ['-']
  try {
    if (!statSync(place).isDirectory()) return [place]
    return readdirSync(place)
      .filter((name) => /\.(ya?ml|json)$/.test(name))
      .sort()
      .map((name) => path.join(place, name))
  } catch (error) {
    throw unreadable(place, error)
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    throw unreadable(file, error)
  }
}

const unreadable = (place: string, error: unknown): InputError =>
  new InputError(`${place}: ${error instanceof Error ? error.message : String(error)}`)

/** The objects of a YAML stream or of JSON; lists are taken apart. `file` is for messages. Throws InputError. */
export function parseObjects(text: string, file: string): readonly RawObject[] {
  const documents = parseAllDocuments(text, {
    // As kubectl reads it: 1.1, where yes and off are booleans, but without its times and base-60 numbers (64512:10 is text).
    version: '1.1',
    merge: true,
    customTags: (tags) => tags.filter((tag) => typeof tag === 'string' || (tag.tag !== timestampTag && !isBase60(tag))),
  })
  const objects = [...documents].flatMap((document): readonly RawObject[] => {
    const [error] = document.errors
    if (error !== undefined) throw new InputError(`${file}: ${error.message}`)
    const value: unknown = document.toJS()
    if (value === null || value === undefined) return []
    const object = asObject(value)
    if (object === undefined || object['kind'] === undefined)
      throw new InputError(`${file}: holds something that is no Kubernetes object (no kind)`)
    return [object]
  })
  return unwrapLists(objects)
}

const timestampTag = 'tag:yaml.org,2002:timestamp'

const isBase60 = (tag: object): boolean => 'format' in tag && tag.format === 'TIME'

// -------------------------------------------------------------------------------------------------------- cluster

interface Collection {
  readonly path: string
  readonly apiVersion: string
  readonly kind: string
}

const collection = (apiVersion: string, plural: string, kind: string): Collection => ({
  path: `${apiVersion.includes('/') ? '/apis' : '/api'}/${apiVersion}/${plural}`,
  apiVersion,
  kind,
})

/** Versions of a kind, the one to prefer first: the first that is served is read. */
const metalLbCollections: readonly (readonly Collection[])[] = [
  [collection('metallb.io/v1beta1', 'ipaddresspools', 'IPAddressPool')],
  [
    collection('metallb.io/v1beta2', 'bgppeers', 'BGPPeer'),
    // Reading v1beta2 objects by this version loses passwordSecret and others: only where there is nothing newer.
    collection('metallb.io/v1beta1', 'bgppeers', 'BGPPeer'),
  ],
  [collection('metallb.io/v1beta1', 'bgpadvertisements', 'BGPAdvertisement')],
  [collection('metallb.io/v1beta1', 'l2advertisements', 'L2Advertisement')],
  [collection('metallb.io/v1beta1', 'bfdprofiles', 'BFDProfile')],
  [collection('metallb.io/v1beta1', 'communities', 'Community')],
]

const openElbCollections: readonly (readonly Collection[])[] = ['BgpConf', 'BgpPeer', 'Eip'].map((kind) =>
  ['v1alpha2', 'v1alpha1'].map((version) =>
    collection(`network.kubesphere.io/${version}`, `${kind.toLowerCase()}s`, kind),
  ),
)

/** What a cluster holds for a conversion; nothing is written to it. */
export interface ClusterObjects {
  readonly server: string
  readonly configuration: readonly RawObject[]
  readonly services: readonly RawObject[]
  readonly namespaces: readonly RawObject[]
}

/** Reads the cluster. What is not installed is not there; anything else that goes wrong is an InputError. */
export async function readCluster(
  credentials: CredentialsSource,
  options: {
    readonly clock: Clock
    readonly userAgent: string
    readonly configuration: readonly ('openelb' | 'metallb')[]
  },
): Promise<ClusterObjects> {
  const created = await createKubeClient({
    credentials,
    clock: options.clock,
    log: silentLog,
    userAgent: options.userAgent,
  })
  if (!created.ok) throw new InputError(created.error.message)
  const client = created.value
  try {
    const configuration: RawObject[] = []
    if (options.configuration.includes('metallb')) {
      for (const versions of metalLbCollections) configuration.push(...(await listFirst(client, versions)))
      configuration.push(...(await getConfigMap(client)))
    }
    if (options.configuration.includes('openelb'))
      for (const versions of openElbCollections) configuration.push(...(await listOpenElb(client, versions)))
    return {
      server: client.server,
      configuration,
      services: (await list(client, collection('v1', 'services', 'Service'))) ?? [],
      namespaces: (await list(client, collection('v1', 'namespaces', 'Namespace'))) ?? [],
    }
  } finally {
    client.close()
  }
}

/** Undefined when the server does not know the kind. */
async function list(
  client: KubeClient,
  { path: where, apiVersion, kind }: Collection,
): Promise<readonly RawObject[] | undefined> {
  const answer = await client.request({ method: 'GET', path: where })
  if (answer.ok)
    return (asList(answer.value['items']) ?? []).flatMap((item) => {
      const object = asObject(item)
      return object === undefined ? [] : [{ ...object, apiVersion, kind }]
    })
  if (answer.error.status === 404) return undefined
  throw new InputError(`${client.server}${where}: ${answer.error.message}`)
}

async function listFirst(client: KubeClient, versions: readonly Collection[]): Promise<readonly RawObject[]> {
  for (const version of versions) {
    const found = await list(client, version)
    if (found !== undefined) return found
  }
  return []
}

// Its two versions are served from one storage without conversion: an object that Porter wrote looks empty in the newer one.
async function listOpenElb(client: KubeClient, versions: readonly Collection[]): Promise<readonly RawObject[]> {
  const [newer, older] = await Promise.all(versions.map((version) => list(client, version)))
  if (newer === undefined) return older ?? []
  const nameOf = (raw: RawObject): unknown => asObject(raw['metadata'])?.['name']
  return newer.map((raw) => {
    const same = older?.find((candidate) => nameOf(candidate) === nameOf(raw))
    const isOlder = asObject(asObject(same?.['spec'])?.['config']) !== undefined
    return raw['kind'] === 'BgpPeer' && same !== undefined && isOlder ? same : raw
  })
}

async function getConfigMap(client: KubeClient): Promise<readonly RawObject[]> {
  const where = '/api/v1/namespaces/metallb-system/configmaps/config'
  const answer = await client.request({ method: 'GET', path: where })
  if (answer.ok) return [{ ...answer.value, apiVersion: 'v1', kind: 'ConfigMap' }]
  if (answer.error.status === 404) return []
  throw new InputError(`${client.server}${where}: ${answer.error.message}`)
}
