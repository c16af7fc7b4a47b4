// Discovery: which groups, versions and kinds are served, in the old form (one document per group version) and aggregated
// (apidiscovery.k8s.io/v2), computed from the registry at each request.

import { reviewKinds } from '../auth/reviews.ts'
import type { JsonObject } from '../json.ts'
import type { ApiGroup, Registry } from '../registry/registry.ts'
import type { ResourceType } from '../registry/resource-type.ts'
import { compareVersions } from '../registry/version-order.ts'

const storedVerbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
const subresourceVerbs = ['get', 'patch', 'update']

/** Subresources that are created to be answered, by `group/plural`. */
const answeredSubresources: Readonly<
  Record<string, readonly { readonly name: string; readonly group: string; readonly kind: string }[]>
> = {
  '/pods': [
    { name: 'binding', group: '', kind: 'Binding' },
    { name: 'eviction', group: 'policy', kind: 'Eviction' },
  ],
  '/serviceaccounts': [{ name: 'token', group: 'authentication.k8s.io', kind: 'TokenRequest' }],
}

/** GET /api */
export const coreVersions = (address: string): JsonObject => ({
  kind: 'APIVersions',
  versions: ['v1'],
  serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: address }],
})

/** GET /apis */
export const groupList = (registry: Registry): JsonObject => ({
  kind: 'APIGroupList',
  apiVersion: 'v1',
  groups: namedGroups(registry).map(groupObject),
})

/** GET /apis/<group>; undefined for a group that is not served. */
export function group(registry: Registry, name: string): JsonObject | undefined {
  const found = namedGroups(registry).find((each) => each.name === name)
  return found === undefined ? undefined : { kind: 'APIGroup', apiVersion: 'v1', ...groupObject(found) }
}

function groupObject(found: ApiGroup): JsonObject {
  const versions = found.versions.map((version) => ({ groupVersion: `${found.name}/${version}`, version }))
  return { name: found.name, versions, preferredVersion: versions[0] }
}

/** All groups but the core one, with those of the review kinds. */
function namedGroups(registry: Registry): readonly ApiGroup[] {
  const groups = new Map<string, Set<string>>()
  const add = (name: string, version: string): void => {
    groups.set(name, (groups.get(name) ?? new Set()).add(version))
  }
  for (const { name, versions } of registry.groups())
    if (name !== '') for (const version of versions) add(name, version)
  for (const review of reviewKinds) add(review.group, review.version)
  return [...groups].map(([name, versions]) => ({ name, versions: [...versions].sort(compareVersions) }))
}

/** GET /api/v1 and /apis/<group>/<version>; undefined for a version that is not served. */
export function resourceList(registry: Registry, groupName: string, version: string): JsonObject | undefined {
  const resources = [...registry.in(groupName, version).flatMap(resourceRows), ...reviewRows(groupName, version)]
  if (resources.length === 0) return undefined
  const groupVersion = groupName === '' ? version : `${groupName}/${version}`
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources }
}

function resourceRows(type: ResourceType): readonly JsonObject[] {
  const base = { namespaced: type.namespaced }
  const main: JsonObject = {
    name: type.plural,
    singularName: type.singular,
    ...base,
    kind: type.kind,
    verbs: storedVerbs,
    ...(type.shortNames.length === 0 ? {} : { shortNames: type.shortNames }),
    ...(type.categories.length === 0 ? {} : { categories: type.categories }),
  }
  const answered = answeredSubresources[type.bucket] ?? []
  const part = (name: string, extra: JsonObject): JsonObject => ({
    name: `${type.plural}/${name}`,
    singularName: '',
    ...base,
    verbs: subresourceVerbs,
    ...extra,
  })
  return [
    main,
    ...(type.status ? [part('status', { kind: type.kind })] : []),
    ...(type.scale === undefined ? [] : [part('scale', { group: 'autoscaling', version: 'v1', kind: 'Scale' })]),
    ...answered.map(({ name, group, kind }) => part(name, { group, version: 'v1', kind, verbs: ['create'] })),
  ]
}

const reviewRows = (groupName: string, version: string): readonly JsonObject[] =>
  reviewKinds
    .filter((review) => review.group === groupName && review.version === version)
    .map(({ plural, kind, namespaced }) => ({
      name: plural,
      singularName: kind.toLowerCase(),
      namespaced,
      kind,
      verbs: ['create'],
    }))

/** GET /api or /apis as aggregated discovery. */
export function aggregated(registry: Registry, scope: 'core' | 'named'): JsonObject {
  const groups: readonly ApiGroup[] = scope === 'core' ? [{ name: '', versions: ['v1'] }] : namedGroups(registry)
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map(({ name, versions }) => ({
      metadata: name === '' ? { creationTimestamp: null } : { name, creationTimestamp: null },
      versions: versions.map((version) => ({
        version,
        resources: [
          ...registry.in(name, version).map(aggregatedResource),
          ...reviewKinds.filter((review) => review.group === name && review.version === version).map(aggregatedReview),
        ],
        freshness: 'Current',
      })),
    })),
  }
}

const scopeOf = (namespaced: boolean): string => (namespaced ? 'Namespaced' : 'Cluster')

function aggregatedResource(type: ResourceType): JsonObject {
  const { group: typeGroup, version, kind } = type
  const answered = answeredSubresources[type.bucket] ?? []
  const part = (subresource: string, responseKind: JsonObject, verbs = subresourceVerbs): JsonObject => ({
    subresource,
    responseKind,
    verbs,
  })
  const parts = [
    ...(type.status ? [part('status', { group: typeGroup, version, kind })] : []),
    ...(type.scale === undefined ? [] : [part('scale', { group: 'autoscaling', version: 'v1', kind: 'Scale' })]),
    ...answered.map(({ name, group, kind }) => part(name, { group, version: 'v1', kind }, ['create'])),
  ]
  return {
    resource: type.plural,
    responseKind: { group: typeGroup, version, kind },
    scope: scopeOf(type.namespaced),
    singularResource: type.singular,
    verbs: storedVerbs,
    ...(type.shortNames.length === 0 ? {} : { shortNames: type.shortNames }),
    ...(type.categories.length === 0 ? {} : { categories: type.categories }),
    ...(parts.length === 0 ? {} : { subresources: parts }),
  }
}

const aggregatedReview = ({
  group: reviewGroup,
  version,
  kind,
  plural,
  namespaced,
}: (typeof reviewKinds)[number]): JsonObject => ({
  resource: plural,
  responseKind: { group: reviewGroup, version, kind },
  scope: scopeOf(namespaced),
  singularResource: kind.toLowerCase(),
  verbs: ['create'],
})
