// The Kubernetes objects of a large cluster, as an API server would hold them: what real controllers put into such objects is here
// too where its size matters. Everything follows from an index, so that the same cluster can be described twice.

import type { JsonObject } from '../src/lab/apiserver/json.ts'
import type { Ip } from '../src/net/ip.ts'
import { ipFromBigInt } from '../src/net/ip.ts'
import { loadBalancerFinalizer } from '../src/vip/service-class.ts'

export const namespaceName = 'shop'
export const bellhopNamespace = 'bellhop-system'
export const vipCidr = '203.0.0.0/16'

const firstVip = 0xcb00_0000n
const firstNode = 0x0a80_0001n
const firstPod = 0x6440_0000n

export const vipOf = (index: number): Ip => ipFromBigInt('IPv4', firstVip + BigInt(index))
export const serviceName = (index: number): string => `service-${String(index).padStart(5, '0')}`
export const nodeName = (index: number): string => `node-${String(index).padStart(4, '0')}.example.net`

const time = '2024-01-01T00:00:00Z'
const podUid = (pod: number): string => `00000000-0000-4000-8000-${String(pod).padStart(12, '0')}`

export function nodeObject(index: number, { ready }: { readonly ready: boolean }): JsonObject {
  const condition = (type: string, status: string): JsonObject => ({
    type,
    status,
    reason: `Kubelet${type}`,
    message: `kubelet says ${type} is ${status}`,
    lastHeartbeatTime: time,
    lastTransitionTime: time,
  })
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: nodeName(index),
      labels: {
        'kubernetes.io/os': 'linux',
        'kubernetes.io/hostname': nodeName(index),
        'topology.kubernetes.io/zone': `zone-${index % 3}`,
      },
    },
    spec: {},
    status: {
      addresses: [
        { type: 'InternalIP', address: ipFromBigInt('IPv4', firstNode + BigInt(index)) },
        { type: 'Hostname', address: nodeName(index) },
      ],
      conditions: [
        condition('MemoryPressure', 'False'),
        condition('DiskPressure', 'False'),
        condition('PIDPressure', 'False'),
        condition('Ready', ready ? 'True' : 'False'),
      ],
      // What a kubelet reports of the node's images is most of a Node.
      images: Array.from({ length: 40 }, (_, i) => ({
        names: [`registry.example.net/team-${i}/image@sha256:${String(i).repeat(32).slice(0, 64)}`],
        sizeBytes: 100_000_000 + i,
      })),
    },
  }
}

/** A Service of type LoadBalancer. `settled`: it has had its address for long. */
export function serviceObject(index: number, { settled }: { readonly settled: boolean }): JsonObject {
  const ip = vipOf(index)
  const condition = {
    type: 'bellhop.io/Allocated',
    status: 'True',
    reason: 'Allocated',
    message: `${ip} from pool default`,
    lastTransitionTime: time,
  }
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: serviceName(index),
      namespace: namespaceName,
      ...(settled ? { finalizers: [loadBalancerFinalizer] } : {}),
      labels: { app: serviceName(index), 'app.kubernetes.io/managed-by': 'Helm' },
      annotations: { 'meta.helm.sh/release-name': serviceName(index), 'meta.helm.sh/release-namespace': namespaceName },
    },
    spec: {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Cluster',
      // There are fewer node ports than this in a cluster, and nobody needs them here.
      allocateLoadBalancerNodePorts: false,
      selector: { app: serviceName(index) },
      ports: [
        { name: 'http', protocol: 'TCP', port: 80, targetPort: 8080 },
        { name: 'https', protocol: 'TCP', port: 443, targetPort: 8443 },
      ],
    },
    ...(settled ? { status: { loadBalancer: { ingress: [{ ip, ipMode: 'VIP' }] }, conditions: [condition] } } : {}),
  }
}

export interface EndpointState {
  /** Identifies the pod: its address and name follow from it. */
  readonly pod: number
  readonly node: string
  readonly state: 'ready' | 'unready' | 'terminating'
}

/** The endpoints of a Service, on nodes that are spread so that each node hosts the same share. */
export const endpointsOf = (index: number, each: number, nodes: number): readonly EndpointState[] =>
  Array.from({ length: each }, (_, k) => ({
    pod: index * each + k,
    node: nodeName((index * each + k) % nodes),
    state: 'ready',
  }))

export function sliceObject(service: string, suffix: string, endpoints: readonly EndpointState[]): JsonObject {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service}-${suffix}`,
      namespace: namespaceName,
      labels: {
        'kubernetes.io/service-name': service,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        app: service,
      },
      annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': time },
    },
    addressType: 'IPv4',
    ports: [
      { name: 'http', protocol: 'TCP', port: 8080 },
      { name: 'https', protocol: 'TCP', port: 8443 },
    ],
    endpoints: endpoints.map(({ pod, node, state }) => ({
      addresses: [ipFromBigInt('IPv4', firstPod + BigInt(pod))],
      conditions: { ready: state === 'ready', serving: state !== 'unready', terminating: state === 'terminating' },
      nodeName: node,
      targetRef: { kind: 'Pod', namespace: namespaceName, name: `${service}-7d4b9c-${pod}`, uid: podUid(pod) },
    })),
  }
}

export interface RouterAddress {
  readonly address: string
  readonly port: number
  readonly asn: number
}

export const clusterAsn = 64512

/** What an operator configures: sessions with the routers and one pool. */
export const configurationObjects = (routers: readonly RouterAddress[]): readonly JsonObject[] => [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespaceName } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: bellhopNamespace } },
  {
    apiVersion: 'bellhop.io/v1alpha1',
    kind: 'BgpConf',
    metadata: { name: 'default' },
    spec: { asn: clusterAsn, listenPort: 0 },
  },
  {
    apiVersion: 'bellhop.io/v1alpha1',
    kind: 'VipPool',
    metadata: { name: 'default' },
    spec: { addresses: [vipCidr] },
  },
  ...routers.map(({ address, port, asn }, i) => ({
    apiVersion: 'bellhop.io/v1alpha1',
    kind: 'BgpPeer',
    metadata: { name: `leaf${i + 1}` },
    spec: {
      ...{ address, port, asn },
      families: ['ipv4-unicast'],
      timers: { holdSeconds: 90, keepaliveSeconds: 30, connectRetrySeconds: 1 },
    },
  })),
]

/** The allocation of a settled Service. */
export function vipObject(index: number, uid: string): JsonObject {
  const claim = {
    namespace: namespaceName,
    name: serviceName(index),
    uid,
    ports: [
      { protocol: 'TCP', port: 80 },
      { protocol: 'TCP', port: 443 },
    ],
    shareKey: '',
  }
  return {
    apiVersion: 'bellhop.io/v1alpha1',
    kind: 'Vip',
    metadata: { name: vipOf(index), labels: { 'app.kubernetes.io/managed-by': 'bellhop' } },
    spec: { address: vipOf(index), pool: 'default', services: [claim] },
  }
}
