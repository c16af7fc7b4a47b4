// The built-in kinds: one row each. A kind that the lab needs and that is not here is added as one more row (and to the
// roots of schema/generate-builtin-types.ts).

import * as defaults from '../admission/defaults.ts'
import { type JsonObject, objectAt, stringAt, valueAt } from '../json.ts'
import { builtinType } from '../schema/builtin-schema.ts'
import * as columns from '../table/builtin-columns.ts'
import { selectorText } from '../table/columns.ts'
import { eventConversion } from './event-conversion.ts'
import type { ResourceType, ScalePaths } from './resource-type.ts'

interface Row extends Partial<ResourceType> {
  readonly kind: string
  readonly plural: string
  readonly model: string
}

const field =
  (...path: readonly string[]) =>
  (object: JsonObject): string => {
    const value = valueAt(object, ...path)
    return value === undefined || value === null ? '' : String(value)
  }

const replicas: ScalePaths = {
  spec: ['spec', 'replicas'],
  status: ['status', 'replicas'],
  selector: (object) => selectorText(objectAt(object, 'spec', 'selector')),
}

const podFields = {
  'spec.nodeName': field('spec', 'nodeName'),
  'spec.restartPolicy': field('spec', 'restartPolicy'),
  'spec.schedulerName': field('spec', 'schedulerName'),
  'spec.serviceAccountName': field('spec', 'serviceAccountName'),
  'status.phase': field('status', 'phase'),
  'status.podIP': field('status', 'podIP'),
  'status.nominatedNodeName': field('status', 'nominatedNodeName'),
}

const involved = (prefix: string): ResourceType['fieldSelectors'] =>
  Object.fromEntries(
    ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'].map((name) => [
      `${prefix}.${name}`,
      field('involvedObject', name),
    ]),
  )

const eventFields = {
  reason: field('reason'),
  type: field('type'),
  source: (event: JsonObject) => stringAt(event, 'source', 'component') ?? stringAt(event, 'reportingComponent') ?? '',
  reportingComponent: field('reportingComponent'),
}

function group(name: string, version: string, rows: readonly Row[]): readonly ResourceType[] {
  return rows.map(({ model, ...row }) => ({
    group: name,
    version,
    singular: row.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    namespaced: true,
    bucket: `${name}/${row.plural}`,
    type: builtinType(model),
    status: false,
    generation: false,
    createOnUpdate: false,
    nameRule: 'subdomain',
    columns: columns.plainColumns,
    fieldSelectors: {},
    ...row,
  }))
}

export const builtinKinds: readonly ResourceType[] = [
  ...group('', 'v1', [
    {
      kind: 'Namespace',
      plural: 'namespaces',
      model: 'V1Namespace',
      shortNames: ['ns'],
      namespaced: false,
      status: true,
      nameRule: 'label',
      columns: columns.namespaceColumns,
      fieldSelectors: { 'status.phase': field('status', 'phase') },
      defaults: defaults.namespaceDefaults,
    },
    {
      kind: 'Node',
      plural: 'nodes',
      model: 'V1Node',
      shortNames: ['no'],
      namespaced: false,
      status: true,
      columns: columns.nodeColumns,
      fieldSelectors: { 'spec.unschedulable': (node) => String(objectAt(node, 'spec')['unschedulable'] === true) },
    },
    {
      kind: 'Pod',
      plural: 'pods',
      model: 'V1Pod',
      shortNames: ['po'],
      categories: ['all'],
      status: true,
      columns: columns.podColumns,
      fieldSelectors: podFields,
      defaults: defaults.podDefaults,
    },
    {
      kind: 'Service',
      plural: 'services',
      model: 'V1Service',
      shortNames: ['svc'],
      categories: ['all'],
      status: true,
      nameRule: 'serviceLabel',
      columns: columns.serviceColumns,
      fieldSelectors: { 'spec.clusterIP': field('spec', 'clusterIP'), 'spec.type': field('spec', 'type') },
      defaults: defaults.serviceDefaults,
    },
    {
      kind: 'Endpoints',
      plural: 'endpoints',
      model: 'V1Endpoints',
      shortNames: ['ep'],
      singular: 'endpoints',
      createOnUpdate: true,
      columns: columns.endpointsColumns,
      defaults: defaults.endpointsDefaults,
    },
    {
      kind: 'Secret',
      plural: 'secrets',
      model: 'V1Secret',
      columns: columns.secretColumns,
      fieldSelectors: { type: field('type') },
      defaults: defaults.secretDefaults,
    },
    {
      kind: 'ConfigMap',
      plural: 'configmaps',
      model: 'V1ConfigMap',
      shortNames: ['cm'],
      columns: columns.configMapColumns,
    },
    {
      kind: 'ServiceAccount',
      plural: 'serviceaccounts',
      model: 'V1ServiceAccount',
      shortNames: ['sa'],
      columns: columns.serviceAccountColumns,
    },
    {
      kind: 'Event',
      plural: 'events',
      model: 'CoreV1Event',
      shortNames: ['ev'],
      createOnUpdate: true,
      columns: columns.eventColumns,
      fieldSelectors: { ...involved('involvedObject'), ...eventFields },
    },
  ]),
  ...group('events.k8s.io', 'v1', [
    {
      kind: 'Event',
      plural: 'events',
      model: 'EventsV1Event',
      shortNames: ['ev'],
      createOnUpdate: true,
      bucket: '/events',
      columns: columns.eventColumns,
      fieldSelectors: { ...involved('regarding'), ...eventFields },
      conversion: eventConversion,
    },
  ]),
  ...group('discovery.k8s.io', 'v1', [
    {
      kind: 'EndpointSlice',
      plural: 'endpointslices',
      model: 'V1EndpointSlice',
      generation: true,
      createOnUpdate: true,
      columns: columns.endpointSliceColumns,
      defaults: defaults.endpointSliceDefaults,
    },
  ]),
  ...group('coordination.k8s.io', 'v1', [
    { kind: 'Lease', plural: 'leases', model: 'V1Lease', createOnUpdate: true, columns: columns.leaseColumns },
  ]),
  ...group('apps', 'v1', [
    {
      kind: 'Deployment',
      plural: 'deployments',
      model: 'V1Deployment',
      shortNames: ['deploy'],
      categories: ['all'],
      status: true,
      scale: replicas,
      generation: true,
      columns: columns.deploymentColumns,
      defaults: defaults.deploymentDefaults,
    },
    {
      kind: 'DaemonSet',
      plural: 'daemonsets',
      model: 'V1DaemonSet',
      shortNames: ['ds'],
      categories: ['all'],
      status: true,
      generation: true,
      columns: columns.daemonSetColumns,
      defaults: defaults.daemonSetDefaults,
    },
    {
      kind: 'ReplicaSet',
      plural: 'replicasets',
      model: 'V1ReplicaSet',
      shortNames: ['rs'],
      categories: ['all'],
      status: true,
      scale: replicas,
      generation: true,
      columns: columns.replicaSetColumns,
      fieldSelectors: { 'status.replicas': (set) => field('status', 'replicas')(set) || '0' },
      defaults: defaults.replicaSetDefaults,
    },
  ]),
  ...group('rbac.authorization.k8s.io', 'v1', [
    { kind: 'Role', plural: 'roles', model: 'V1Role', nameRule: 'path', columns: columns.createdAtColumns },
    {
      kind: 'ClusterRole',
      plural: 'clusterroles',
      model: 'V1ClusterRole',
      namespaced: false,
      nameRule: 'path',
      columns: columns.createdAtColumns,
    },
    {
      kind: 'RoleBinding',
      plural: 'rolebindings',
      model: 'V1RoleBinding',
      nameRule: 'path',
      columns: columns.bindingColumns,
      defaults: defaults.bindingDefaults,
    },
    {
      kind: 'ClusterRoleBinding',
      plural: 'clusterrolebindings',
      model: 'V1ClusterRoleBinding',
      namespaced: false,
      nameRule: 'path',
      columns: columns.bindingColumns,
      defaults: defaults.bindingDefaults,
    },
  ]),
  ...group('apiextensions.k8s.io', 'v1', [
    {
      kind: 'CustomResourceDefinition',
      plural: 'customresourcedefinitions',
      model: 'V1CustomResourceDefinition',
      shortNames: ['crd', 'crds'],
      categories: ['api-extensions'],
      namespaced: false,
      status: true,
      generation: true,
      columns: columns.createdAtColumns,
      defaults: defaults.crdDefaults,
    },
  ]),
  ...group('policy', 'v1', [
    {
      kind: 'PodDisruptionBudget',
      plural: 'poddisruptionbudgets',
      model: 'V1PodDisruptionBudget',
      shortNames: ['pdb'],
      status: true,
      generation: true,
      columns: columns.disruptionBudgetColumns,
    },
  ]),
  ...group('networking.k8s.io', 'v1', [
    {
      kind: 'NetworkPolicy',
      plural: 'networkpolicies',
      model: 'V1NetworkPolicy',
      shortNames: ['netpol'],
      generation: true,
      columns: columns.networkPolicyColumns,
      defaults: defaults.networkPolicyDefaults,
    },
    {
      kind: 'ServiceCIDR',
      plural: 'servicecidrs',
      model: 'V1ServiceCIDR',
      namespaced: false,
      status: true,
      columns: columns.serviceCidrColumns,
    },
  ]),
  ...group('scheduling.k8s.io', 'v1', [
    {
      kind: 'PriorityClass',
      plural: 'priorityclasses',
      model: 'V1PriorityClass',
      shortNames: ['pc'],
      namespaced: false,
      columns: columns.priorityClassColumns,
      defaults: defaults.priorityClassDefaults,
    },
  ]),
]
