// What every cluster has from its first moment: the system namespaces, the `kubernetes` Service, the ranges of Services' addresses, and the roles without which
// nobody but an administrator could even discover the API.

import type { AddressRanges } from './admission/address-allocator.ts'
import type { Cluster } from './cluster.ts'
import type { JsonObject } from './json.ts'
import { createObject, internalWrite } from './resources/write.ts'

/** Creates the objects of a new cluster; those that exist are left alone. */
export function bootstrap(cluster: Cluster, ranges: AddressRanges): void {
  const serviceCidr: Manifest = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    metadata: { name: 'kubernetes' },
    spec: { cidrs: Object.values(ranges) },
  }
  for (const object of [...namespaces, kubernetesService, serviceCidr, ...roles]) ensure(cluster, object)
}

function ensure(cluster: Cluster, object: JsonObject & { readonly apiVersion: string; readonly kind: string }): void {
  const type = cluster.registry.ofKind(object.apiVersion, object.kind)
  if (type === undefined) throw new Error(`no such kind: ${object.apiVersion} ${object.kind}`)
  const { name = '', namespace = '' } = object['metadata'] as { readonly name?: string; readonly namespace?: string }
  if (cluster.store.get(type.bucket, namespace, name) === undefined)
    createObject(cluster, { type, namespace }, object, internalWrite)
}

type Manifest = JsonObject & { readonly apiVersion: string; readonly kind: string }

const namespaces: readonly Manifest[] = ['default', 'kube-system', 'kube-public', 'kube-node-lease'].map((name) => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name },
}))

const kubernetesService: Manifest = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: 'kubernetes',
    namespace: 'default',
    labels: { component: 'apiserver', provider: 'kubernetes' },
  },
  spec: { ports: [{ name: 'https', port: 443, targetPort: 6443 }] },
}

const rbac = 'rbac.authorization.k8s.io/v1'
const labels = { 'kubernetes.io/bootstrapping': 'rbac-defaults' }

function clusterRole(name: string, rules: readonly JsonObject[], groups: readonly string[]): readonly Manifest[] {
  const subjects = groups.map((group) => ({ kind: 'Group', name: group, apiGroup: 'rbac.authorization.k8s.io' }))
  return [
    { apiVersion: rbac, kind: 'ClusterRole', metadata: { name, labels }, rules },
    {
      apiVersion: rbac,
      kind: 'ClusterRoleBinding',
      metadata: { name, labels },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects,
    },
  ]
}

const everything = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
]
const discoveryPaths = [
  '/api',
  '/api/*',
  '/apis',
  '/apis/*',
  '/healthz',
  '/livez',
  '/openapi',
  '/openapi/*',
  '/readyz',
  '/version',
  '/version/',
]
const selfReviews = ['selfsubjectaccessreviews', 'selfsubjectrulesreviews']
const whoAmI = { verbs: ['create'], apiGroups: ['authentication.k8s.io'], resources: ['selfsubjectreviews'] }

const roles: readonly Manifest[] = [
  ...clusterRole('cluster-admin', everything, ['system:masters']),
  ...clusterRole('system:discovery', [{ verbs: ['get'], nonResourceURLs: discoveryPaths }], ['system:authenticated']),
  ...clusterRole(
    'system:basic-user',
    [{ verbs: ['create'], apiGroups: ['authorization.k8s.io'], resources: selfReviews }, whoAmI],
    ['system:authenticated'],
  ),
]
