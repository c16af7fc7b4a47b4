// Where each kind lives in the API: group, version, plural, scope. One table, so that no path is spelled twice.

import type { Kind } from './objects.ts'

export interface Resource {
  readonly kind: string
  /** `v1`, or `group/version`. */
  readonly apiVersion: string
  readonly plural: string
  readonly namespaced: boolean
}

const bellhopApiVersion = 'bellhop.io/v1alpha1'

const ours = (kind: Kind, plural: string): Resource => ({
  kind,
  apiVersion: bellhopApiVersion,
  plural,
  namespaced: false,
})

/** The kinds of the cluster view. */
export const resources: Readonly<Record<Kind, Resource>> = {
  Service: { kind: 'Service', apiVersion: 'v1', plural: 'services', namespaced: true },
  EndpointSlice: {
    kind: 'EndpointSlice',
    apiVersion: 'discovery.k8s.io/v1',
    plural: 'endpointslices',
    namespaced: true,
  },
  Node: { kind: 'Node', apiVersion: 'v1', plural: 'nodes', namespaced: false },
  Namespace: { kind: 'Namespace', apiVersion: 'v1', plural: 'namespaces', namespaced: false },
  Secret: { kind: 'Secret', apiVersion: 'v1', plural: 'secrets', namespaced: true },
  BgpConf: ours('BgpConf', 'bgpconfs'),
  BgpPeer: ours('BgpPeer', 'bgppeers'),
  VipPool: ours('VipPool', 'vippools'),
  Vip: ours('Vip', 'vips'),
  BgpPolicy: ours('BgpPolicy', 'bgppolicies'),
}

export const leaseResource: Resource = {
  kind: 'Lease',
  apiVersion: 'coordination.k8s.io/v1',
  plural: 'leases',
  namespaced: true,
}

export const eventResource: Resource = { kind: 'Event', apiVersion: 'v1', plural: 'events', namespaced: true }

export interface PathOptions {
  /** Absent on a namespaced resource: all namespaces. */
  readonly namespace?: string
  readonly name?: string
  readonly subresource?: string
}

/** The URL path of a collection, an object or a subresource. */
export function resourcePath(resource: Resource, options: PathOptions = {}): string {
  const root = resource.apiVersion.includes('/') ? `/apis/${resource.apiVersion}` : `/api/${resource.apiVersion}`
  const scope =
    resource.namespaced && options.namespace !== undefined ? `/namespaces/${encodeURIComponent(options.namespace)}` : ''
  const name = options.name === undefined ? '' : `/${encodeURIComponent(options.name)}`
  const subresource = options.subresource === undefined ? '' : `/${options.subresource}`
  return `${root}${scope}/${resource.plural}${name}${subresource}`
}
