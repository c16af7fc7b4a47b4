// Values that Kubernetes fills in when a built-in kind leaves them out. Pure, idempotent, one function a kind; only fields that
// somebody in the lab reads or that kubectl shows are filled in.

import { isObject, type Json, type JsonObject, objectAt, objectsAt, stringAt, stringsAt, withValue } from '../json.ts'

type Defaulter = (object: JsonObject) => JsonObject

/** `object` with the members of `defaults` that it lacks. */
const fill = (object: JsonObject, defaults: JsonObject): JsonObject => {
  const missing = Object.entries(defaults).filter(([key]) => object[key] === undefined || object[key] === null)
  return missing.length === 0 ? object : { ...object, ...Object.fromEntries(missing) }
}

const within = (object: JsonObject, member: string, change: Defaulter): JsonObject =>
  isObject(object[member]) ? { ...object, [member]: change(object[member]) } : object

const each = (object: JsonObject, member: string, change: Defaulter): JsonObject => {
  const items = object[member]
  if (!Array.isArray(items)) return object
  return { ...object, [member]: items.map((item: Json) => (isObject(item) ? change(item) : item)) }
}

const pullPolicy = (image: string): string =>
  image.includes('@') || (/:[^/]+$/.test(image) && !image.endsWith(':latest')) ? 'IfNotPresent' : 'Always'

const probe: Defaulter = (object) =>
  within(
    fill(object, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 }),
    'httpGet',
    (get) => fill(get, { path: '/', scheme: 'HTTP' }),
  )

const container: Defaulter = (object) => {
  const filled = fill(object, {
    imagePullPolicy: pullPolicy(stringAt(object, 'image') ?? ''),
    resources: {},
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
  })
  const withPorts = each(filled, 'ports', (port) => fill(port, { protocol: 'TCP' }))
  return ['readinessProbe', 'livenessProbe', 'startupProbe'].reduce((at, name) => within(at, name, probe), withPorts)
}

const podSpec: Defaulter = (spec) => {
  const filled = fill(spec, {
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
  })
  return each(each(filled, 'containers', container), 'initContainers', container)
}

const template: Defaulter = (spec) =>
  within(spec, 'template', (pod) => within(fill(pod, { metadata: {} }), 'spec', podSpec))

export const podDefaults: Defaulter = (pod) =>
  within(fill(pod, { status: { phase: 'Pending', qosClass: 'BestEffort' } }), 'spec', (spec) =>
    fill(podSpec(spec), {
      enableServiceLinks: true,
      serviceAccountName: 'default',
      preemptionPolicy: 'PreemptLowerPriority',
    }),
  )

export const deploymentDefaults: Defaulter = (deployment) =>
  within(deployment, 'spec', (spec) =>
    within(
      template(
        fill(spec, {
          replicas: 1,
          strategy: { type: 'RollingUpdate' },
          revisionHistoryLimit: 10,
          progressDeadlineSeconds: 600,
        }),
      ),
      'strategy',
      (strategy) => {
        const typed = fill(strategy, { type: 'RollingUpdate' })
        if (typed['type'] !== 'RollingUpdate') return typed
        const rolling = fill(objectAt(typed, 'rollingUpdate'), { maxSurge: '25%', maxUnavailable: '25%' })
        return { ...typed, rollingUpdate: rolling }
      },
    ),
  )

export const replicaSetDefaults: Defaulter = (set) =>
  within(set, 'spec', (spec) => template(fill(spec, { replicas: 1 })))

export const daemonSetDefaults: Defaulter = (set) =>
  within(set, 'spec', (spec) =>
    template(
      fill(spec, {
        revisionHistoryLimit: 10,
        updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } },
      }),
    ),
  )

/** stringData is written into data, in base64, and not kept. */
export const secretDefaults: Defaulter = (secret) => {
  const { stringData, ...rest } = fill(secret, { type: 'Opaque' })
  if (!isObject(stringData)) return rest
  const encoded = Object.entries(stringData).map(([key, value]) => [key, Buffer.from(String(value)).toString('base64')])
  return { ...rest, data: { ...objectAt(rest, 'data'), ...Object.fromEntries(encoded) } }
}

export const namespaceDefaults: Defaulter = (namespace) => {
  const name = stringAt(namespace, 'metadata', 'name') ?? ''
  const labelled = withValue(namespace, ['metadata', 'labels', 'kubernetes.io/metadata.name'], name)
  const deleting = stringAt(namespace, 'metadata', 'deletionTimestamp') !== undefined
  const held = deleting ? labelled : fill(labelled, { spec: { finalizers: ['kubernetes'] } })
  return { ...held, status: { ...objectAt(held, 'status'), phase: deleting ? 'Terminating' : 'Active' } }
}

export const endpointSliceDefaults: Defaulter = (slice) =>
  each(fill(slice, { endpoints: [], ports: [] }), 'ports', (port) => fill(port, { name: '', protocol: 'TCP' }))

export const endpointsDefaults: Defaulter = (endpoints) =>
  each(endpoints, 'subsets', (subset) => each(subset, 'ports', (port) => fill(port, { protocol: 'TCP' })))

const servicePort: Defaulter = (port) => {
  const filled = fill(port, { protocol: 'TCP' })
  const target = filled['targetPort']
  return target === undefined || target === 0 || target === '' ? { ...filled, targetPort: filled['port'] } : filled
}

export const serviceDefaults: Defaulter = (service) =>
  within(service, 'spec', (spec) => {
    const type = stringAt(spec, 'type') ?? 'ClusterIP'
    const external = type === 'NodePort' || type === 'LoadBalancer' || stringsAt(spec, 'externalIPs').length > 0
    const sticky = stringAt(spec, 'sessionAffinity') === 'ClientIP'
    const { sessionAffinityConfig, ...rest } = each(spec, 'ports', servicePort)
    return fill(rest, {
      type,
      sessionAffinity: 'None',
      ...(sticky ? { sessionAffinityConfig: sessionAffinityConfig ?? { clientIP: { timeoutSeconds: 10800 } } } : {}),
      ...(type === 'ExternalName' ? {} : { internalTrafficPolicy: 'Cluster' }),
      ...(external && type !== 'ExternalName' ? { externalTrafficPolicy: 'Cluster' } : {}),
      ...(type === 'LoadBalancer' ? { allocateLoadBalancerNodePorts: true } : {}),
    })
  })

const rbacGroup = 'rbac.authorization.k8s.io'

export const bindingDefaults: Defaulter = (binding) =>
  each(
    within(binding, 'roleRef', (role) => fill(role, { apiGroup: rbacGroup })),
    'subjects',
    (subject) => (subject['kind'] === 'ServiceAccount' ? subject : fill(subject, { apiGroup: rbacGroup })),
  )

export const priorityClassDefaults: Defaulter = (priority) =>
  fill(priority, { preemptionPolicy: 'PreemptLowerPriority' })

export const networkPolicyDefaults: Defaulter = (policy) =>
  within(policy, 'spec', (spec) => {
    const egress = objectsAt(spec, 'egress').length > 0
    return fill(spec, { policyTypes: egress ? ['Ingress', 'Egress'] : ['Ingress'] })
  })

export const crdDefaults: Defaulter = (crd) =>
  within(crd, 'spec', (spec) => {
    const kind = stringAt(spec, 'names', 'kind') ?? ''
    const named = within(spec, 'names', (names) =>
      fill(names, { singular: kind.toLowerCase(), listKind: `${kind}List` }),
    )
    return fill(named, { conversion: { strategy: 'None' } })
  })

/** Versions of a CRD that objects may have been stored in, for its status. */
export function storedVersions(crd: JsonObject): readonly string[] {
  const storage = objectsAt(crd, 'spec', 'versions').find((version) => version['storage'] === true)
  const name = stringAt(storage, 'name')
  const before = stringsAt(crd, 'status', 'storedVersions')
  return name === undefined || before.includes(name) ? before : [...before, name]
}
