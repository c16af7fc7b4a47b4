// How lists and maps inside the built-in kinds merge: the keys of lists for server-side apply and for strategic merge
// patches, and which maps have a single owner. Everything not listed is an atomic list or a map merged by member.
// Source: the listType, mapType and patchStrategy markers in Kubernetes' API types (v1.32).

export interface ListRule {
  readonly listType: 'set' | 'map' | 'atomic'
  readonly mapKeys?: readonly string[]
  readonly keyDefaults?: Readonly<Record<string, string>>
  /** Strategic merge by this member. */
  readonly patchKey?: string
  /** Strategic merge of scalars as a set. */
  readonly patchSet?: true
}

const by = (key: string): ListRule => ({ listType: 'map', mapKeys: [key], patchKey: key })
const byType = by('type')
const byName = by('name')
const tcp = { protocol: 'TCP' }

/** `Type.field` to rule. */
export const listRules: Readonly<Record<string, ListRule>> = {
  'V1ObjectMeta.ownerReferences': by('uid'),
  'V1ObjectMeta.finalizers': { listType: 'set', patchSet: true },
  'V1ServiceSpec.ports': { listType: 'map', mapKeys: ['port', 'protocol'], keyDefaults: tcp, patchKey: 'port' },
  'V1ServiceStatus.conditions': byType,
  'V1ServiceAccount.secrets': byName,
  'V1NodeSpec.podCIDRs': { listType: 'set', patchSet: true },
  'V1NodeStatus.conditions': byType,
  // Strategic merge by type, although a node may have two of one type: the API's own old mistake. Apply takes it as one value.
  'V1NodeStatus.addresses': { listType: 'atomic', patchKey: 'type' },
  'V1NamespaceStatus.conditions': byType,
  'V1EndpointSlice.endpoints': { listType: 'atomic' },
  'V1Endpoint.addresses': { listType: 'set' },
  'V1PodSpec.volumes': byName,
  'V1PodSpec.initContainers': byName,
  'V1PodSpec.containers': byName,
  'V1PodSpec.ephemeralContainers': byName,
  'V1PodSpec.imagePullSecrets': byName,
  'V1PodSpec.hostAliases': by('ip'),
  'V1PodSpec.resourceClaims': byName,
  'V1PodSpec.schedulingGates': byName,
  'V1PodSpec.topologySpreadConstraints': {
    listType: 'map',
    mapKeys: ['topologyKey', 'whenUnsatisfiable'],
    patchKey: 'topologyKey',
  },
  'V1Container.ports': {
    listType: 'map',
    mapKeys: ['containerPort', 'protocol'],
    keyDefaults: tcp,
    patchKey: 'containerPort',
  },
  'V1Container.env': byName,
  'V1Container.volumeMounts': by('mountPath'),
  'V1Container.volumeDevices': by('devicePath'),
  'V1EphemeralContainer.ports': {
    listType: 'map',
    mapKeys: ['containerPort', 'protocol'],
    keyDefaults: tcp,
    patchKey: 'containerPort',
  },
  'V1EphemeralContainer.env': byName,
  'V1EphemeralContainer.volumeMounts': by('mountPath'),
  'V1ResourceRequirements.claims': { listType: 'map', mapKeys: ['name'] },
  'V1PodStatus.conditions': byType,
  'V1PodStatus.podIPs': by('ip'),
  'V1PodStatus.hostIPs': { listType: 'atomic', patchKey: 'ip' },
  'V1PodStatus.resourceClaimStatuses': byName,
  'V1DeploymentStatus.conditions': byType,
  'V1DaemonSetStatus.conditions': byType,
  'V1ReplicaSetStatus.conditions': byType,
  'V1PodDisruptionBudgetStatus.conditions': byType,
  'V1CustomResourceDefinitionStatus.conditions': { listType: 'map', mapKeys: ['type'] },
}

/** Types whose value has one owner as a whole. */
export const atomicTypes: ReadonlySet<string> = new Set([
  'V1LabelSelector',
  'V1LocalObjectReference',
  'V1ObjectReference',
  'V1TypedLocalObjectReference',
  'V1SecretKeySelector',
  'V1ConfigMapKeySelector',
  'V1ObjectFieldSelector',
  'V1ResourceFieldSelector',
  'V1FileKeySelector',
  'V1NodeSelector',
  'V1NodeSelectorTerm',
  'V1OwnerReference',
  'V1RoleRef',
  'RbacV1Subject',
])

/** Maps (`Type.field`) with one owner as a whole. */
export const atomicMaps: ReadonlySet<string> = new Set(['V1ServiceSpec.selector', 'V1PodSpec.nodeSelector'])
