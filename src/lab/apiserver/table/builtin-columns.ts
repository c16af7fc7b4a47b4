// The columns of the built-in kinds as people know them from `kubectl get` and `kubectl get -o wide`.

import { arrayAt, type JsonObject, numberAt, objectAt, objectsAt, stringAt, stringsAt } from '../json.ts'
import type { Column } from '../registry/resource-type.ts'
import { ageOf } from './age.ts'
import { ageColumn, column, integer, joined, labelText, nameColumn, orElse, selectorText, wide } from './columns.ts'

/** For kinds without columns of their own. */
export const plainColumns: readonly Column[] = [nameColumn, ageColumn]

/** As the API server shows kinds it has no columns for. */
export const createdAtColumns: readonly Column[] = [
  nameColumn,
  column('Created At', (object) => stringAt(object, 'metadata', 'creationTimestamp') ?? '<unknown>'),
]

export const namespaceColumns: readonly Column[] = [
  nameColumn,
  column('Status', (ns) => stringAt(ns, 'status', 'phase') ?? ''),
  ageColumn,
]

export const serviceCidrColumns: readonly Column[] = [
  nameColumn,
  column('CIDRs', (cidr) => stringsAt(cidr, 'spec', 'cidrs').join(',')),
  ageColumn,
]

// Services ------------------------------------------------------------------------------------------------------------

function externalIp(service: JsonObject): string {
  const ingress = objectsAt(service, 'status', 'loadBalancer', 'ingress').map(
    (entry) => stringAt(entry, 'ip') ?? stringAt(entry, 'hostname') ?? '',
  )
  const manual = stringsAt(service, 'spec', 'externalIPs')
  switch (stringAt(service, 'spec', 'type')) {
    case 'LoadBalancer':
      return joined([...new Set([...ingress, ...manual])], '<pending>')
    case 'ExternalName':
      return stringAt(service, 'spec', 'externalName') ?? '<none>'
    default:
      return joined(manual)
  }
}

function servicePorts(service: JsonObject): string {
  return joined(
    objectsAt(service, 'spec', 'ports').map((port) => {
      const nodePort = numberAt(port, 'nodePort') ?? 0
      const protocol = stringAt(port, 'protocol') ?? 'TCP'
      return `${numberAt(port, 'port')}${nodePort > 0 ? `:${nodePort}` : ''}/${protocol}`
    }),
  )
}

export const serviceColumns: readonly Column[] = [
  nameColumn,
  column('Type', (service) => stringAt(service, 'spec', 'type') ?? ''),
  column('Cluster-IP', (service) => orElse(stringAt(service, 'spec', 'clusterIP'), '<none>')),
  column('External-IP', externalIp),
  column('Port(s)', servicePorts),
  ageColumn,
  wide('Selector', (service) => labelText(objectAt(service, 'spec', 'selector'))),
]

// Pods ----------------------------------------------------------------------------------------------------------------

function podStatus(pod: JsonObject): string {
  const reason = stringAt(pod, 'status', 'reason')
  let status = reason ?? stringAt(pod, 'status', 'phase') ?? 'Unknown'
  for (const container of objectsAt(pod, 'status', 'containerStatuses')) {
    const waiting = stringAt(container, 'state', 'waiting', 'reason')
    const terminated = stringAt(container, 'state', 'terminated', 'reason')
    status = waiting ?? terminated ?? status
  }
  if (stringAt(pod, 'metadata', 'deletionTimestamp') === undefined) return status
  return reason === 'NodeLost' ? 'Unknown' : 'Terminating'
}

function podReady(pod: JsonObject): string {
  const ready = objectsAt(pod, 'status', 'containerStatuses').filter((status) => status['ready'] === true).length
  return `${ready}/${arrayAt(pod, 'spec', 'containers').length}`
}

const podRestarts = (pod: JsonObject): string =>
  String(
    objectsAt(pod, 'status', 'containerStatuses').reduce(
      (sum, status) => sum + (numberAt(status, 'restartCount') ?? 0),
      0,
    ),
  )

function readinessGates(pod: JsonObject): string {
  const gates = objectsAt(pod, 'spec', 'readinessGates').map((gate) => stringAt(gate, 'conditionType'))
  if (gates.length === 0) return '<none>'
  const met = objectsAt(pod, 'status', 'conditions').filter(
    (condition) => gates.includes(stringAt(condition, 'type')) && stringAt(condition, 'status') === 'True',
  )
  return `${met.length}/${gates.length}`
}

export const podColumns: readonly Column[] = [
  nameColumn,
  column('Ready', podReady),
  column('Status', podStatus),
  column('Restarts', podRestarts),
  ageColumn,
  wide('IP', (pod) => orElse(stringAt(pod, 'status', 'podIP'), '<none>')),
  wide('Node', (pod) => orElse(stringAt(pod, 'spec', 'nodeName'), '<none>')),
  wide('Nominated Node', (pod) => orElse(stringAt(pod, 'status', 'nominatedNodeName'), '<none>')),
  wide('Readiness Gates', readinessGates),
]

// Nodes ---------------------------------------------------------------------------------------------------------------

function nodeStatus(node: JsonObject): string {
  const ready = objectsAt(node, 'status', 'conditions').find((condition) => stringAt(condition, 'type') === 'Ready')
  const word = ready === undefined ? 'Unknown' : stringAt(ready, 'status') === 'True' ? 'Ready' : 'NotReady'
  return objectAt(node, 'spec')['unschedulable'] === true ? `${word},SchedulingDisabled` : word
}

function nodeRoles(node: JsonObject): string {
  const prefix = 'node-role.kubernetes.io/'
  const roles = Object.keys(objectAt(node, 'metadata', 'labels')).filter((label) => label.startsWith(prefix))
  return joined(roles.map((label) => label.slice(prefix.length)).sort())
}

const nodeAddress =
  (type: string): Column['cell'] =>
  (node) =>
    orElse(
      stringAt(
        objectsAt(node, 'status', 'addresses').find((address) => stringAt(address, 'type') === type),
        'address',
      ),
      '<none>',
    )

const nodeInfo =
  (name: string): Column['cell'] =>
  (node) =>
    orElse(stringAt(node, 'status', 'nodeInfo', name), '<unknown>')

export const nodeColumns: readonly Column[] = [
  nameColumn,
  column('Status', nodeStatus),
  column('Roles', nodeRoles),
  ageColumn,
  column('Version', (node) => stringAt(node, 'status', 'nodeInfo', 'kubeletVersion') ?? ''),
  wide('Internal-IP', nodeAddress('InternalIP')),
  wide('External-IP', nodeAddress('ExternalIP')),
  wide('OS-Image', nodeInfo('osImage')),
  wide('Kernel-Version', nodeInfo('kernelVersion')),
  wide('Container-Runtime', nodeInfo('containerRuntimeVersion')),
]

// Endpoints -----------------------------------------------------------------------------------------------------------

/** At most `shown` items, and how many more there are. */
function firstFew(items: readonly string[], shown: number, otherwise: string): string {
  if (items.length <= shown) return joined(items, otherwise)
  return `${items.slice(0, shown).join(',')} + ${items.length - shown} more...`
}

export const endpointSliceColumns: readonly Column[] = [
  nameColumn,
  column('AddressType', (slice) => stringAt(slice, 'addressType') ?? ''),
  column('Ports', (slice) =>
    firstFew(
      objectsAt(slice, 'ports').map((port) => String(numberAt(port, 'port') ?? '*')),
      3,
      '<unset>',
    ),
  ),
  column('Endpoints', (slice) =>
    firstFew(
      objectsAt(slice, 'endpoints').flatMap((endpoint) => stringsAt(endpoint, 'addresses')),
      3,
      '<unset>',
    ),
  ),
  ageColumn,
]

export const endpointsColumns: readonly Column[] = [
  nameColumn,
  column('Endpoints', (endpoints) =>
    firstFew(
      objectsAt(endpoints, 'subsets').flatMap((subset) =>
        objectsAt(subset, 'addresses').flatMap((address) =>
          objectsAt(subset, 'ports').map((port) => `${stringAt(address, 'ip')}:${numberAt(port, 'port')}`),
        ),
      ),
      3,
      '<none>',
    ),
  ),
  ageColumn,
]

// Small kinds -----------------------------------------------------------------------------------------------------------

const entries = (object: JsonObject, ...members: readonly string[]): number =>
  members.reduce((sum, member) => sum + Object.keys(objectAt(object, member)).length, 0)

export const secretColumns: readonly Column[] = [
  nameColumn,
  column('Type', (secret) => stringAt(secret, 'type') ?? ''),
  integer('Data', (secret) => entries(secret, 'data')),
  ageColumn,
]

export const configMapColumns: readonly Column[] = [
  nameColumn,
  integer('Data', (configMap) => entries(configMap, 'data', 'binaryData')),
  ageColumn,
]

export const serviceAccountColumns: readonly Column[] = [
  nameColumn,
  integer('Secrets', (account) => arrayAt(account, 'secrets').length),
  ageColumn,
]

export const leaseColumns: readonly Column[] = [
  nameColumn,
  column('Holder', (lease) => stringAt(lease, 'spec', 'holderIdentity') ?? ''),
  ageColumn,
]

const eventTime = (event: JsonObject): string | undefined =>
  stringAt(event, 'series', 'lastObservedTime') ??
  stringAt(event, 'lastTimestamp') ??
  stringAt(event, 'eventTime') ??
  stringAt(event, 'metadata', 'creationTimestamp')

export const eventColumns: readonly Column[] = [
  column('Last Seen', (event, now) => ageOf(eventTime(event), now)),
  column('Type', (event) => stringAt(event, 'type') ?? ''),
  column('Reason', (event) => stringAt(event, 'reason') ?? ''),
  column('Object', (event) => {
    const about = objectAt(event, 'involvedObject')
    return `${(stringAt(about, 'kind') ?? '').toLowerCase()}/${stringAt(about, 'name') ?? ''}`
  }),
  wide('Subobject', (event) => stringAt(event, 'involvedObject', 'fieldPath') ?? ''),
  wide('Source', (event) => {
    const component = stringAt(event, 'source', 'component') ?? stringAt(event, 'reportingComponent') ?? ''
    const host = stringAt(event, 'source', 'host') ?? stringAt(event, 'reportingInstance')
    return host === undefined || host === '' ? component : `${component}, ${host}`
  }),
  column('Message', (event) => (stringAt(event, 'message') ?? '').trim()),
  wide('First Seen', (event, now) => ageOf(stringAt(event, 'firstTimestamp') ?? eventTime(event), now)),
  wide('Count', (event) => String(numberAt(event, 'series', 'count') ?? numberAt(event, 'count') ?? 1)),
  { ...wide('Name', (event) => stringAt(event, 'metadata', 'name') ?? ''), format: 'name' },
]

// Workloads -------------------------------------------------------------------------------------------------------------

const status = (object: JsonObject, field: string): number => numberAt(object, 'status', field) ?? 0
const containersOf = (object: JsonObject): readonly JsonObject[] =>
  objectsAt(object, 'spec', 'template', 'spec', 'containers')

const containerColumns: readonly Column[] = [
  wide('Containers', (object) =>
    containersOf(object)
      .map((c) => stringAt(c, 'name') ?? '')
      .join(','),
  ),
  wide('Images', (object) =>
    containersOf(object)
      .map((c) => stringAt(c, 'image') ?? '')
      .join(','),
  ),
  wide('Selector', (object) => selectorText(objectAt(object, 'spec', 'selector'))),
]

export const deploymentColumns: readonly Column[] = [
  nameColumn,
  column(
    'Ready',
    (deployment) => `${status(deployment, 'readyReplicas')}/${numberAt(deployment, 'spec', 'replicas') ?? 0}`,
  ),
  integer('Up-to-date', (deployment) => status(deployment, 'updatedReplicas')),
  integer('Available', (deployment) => status(deployment, 'availableReplicas')),
  ageColumn,
  ...containerColumns,
]

export const daemonSetColumns: readonly Column[] = [
  nameColumn,
  integer('Desired', (set) => status(set, 'desiredNumberScheduled')),
  integer('Current', (set) => status(set, 'currentNumberScheduled')),
  integer('Ready', (set) => status(set, 'numberReady')),
  integer('Up-to-date', (set) => status(set, 'updatedNumberScheduled')),
  integer('Available', (set) => status(set, 'numberAvailable')),
  column('Node Selector', (set) => labelText(objectAt(set, 'spec', 'template', 'spec', 'nodeSelector'))),
  ageColumn,
  ...containerColumns,
]

export const replicaSetColumns: readonly Column[] = [
  nameColumn,
  integer('Desired', (set) => numberAt(set, 'spec', 'replicas') ?? 0),
  integer('Current', (set) => status(set, 'replicas')),
  integer('Ready', (set) => status(set, 'readyReplicas')),
  ageColumn,
  ...containerColumns,
]

// Policies and access ---------------------------------------------------------------------------------------------------

const subjects = (binding: JsonObject, kind: string): string =>
  objectsAt(binding, 'subjects')
    .filter((subject) => stringAt(subject, 'kind') === kind)
    .map((subject) => {
      const name = stringAt(subject, 'name') ?? ''
      return kind === 'ServiceAccount' ? `${stringAt(subject, 'namespace') ?? ''}/${name}` : name
    })
    .join(', ')

export const bindingColumns: readonly Column[] = [
  nameColumn,
  column('Role', (binding) => `${stringAt(binding, 'roleRef', 'kind')}/${stringAt(binding, 'roleRef', 'name')}`),
  ageColumn,
  wide('Users', (binding) => subjects(binding, 'User')),
  wide('Groups', (binding) => subjects(binding, 'Group')),
  wide('ServiceAccounts', (binding) => subjects(binding, 'ServiceAccount')),
]

const orNotAvailable = (value: unknown): string => (value === undefined ? 'N/A' : String(value))

export const disruptionBudgetColumns: readonly Column[] = [
  nameColumn,
  column('Min Available', (budget) => orNotAvailable(objectAt(budget, 'spec')['minAvailable'])),
  column('Max Unavailable', (budget) => orNotAvailable(objectAt(budget, 'spec')['maxUnavailable'])),
  integer('Allowed Disruptions', (budget) => status(budget, 'disruptionsAllowed')),
  ageColumn,
]

export const networkPolicyColumns: readonly Column[] = [
  nameColumn,
  column('Pod-Selector', (policy) => selectorText(objectAt(policy, 'spec', 'podSelector'))),
  ageColumn,
]

export const priorityClassColumns: readonly Column[] = [
  nameColumn,
  integer('Value', (priority) => numberAt(priority, 'value') ?? 0),
  { ...column('Global-Default', (priority) => priority['globalDefault'] === true), type: 'boolean' },
  ageColumn,
  column('PreemptionPolicy', (priority) => stringAt(priority, 'preemptionPolicy') ?? ''),
]
