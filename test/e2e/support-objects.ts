// The objects of the tests at the level of the API, as a user would write them, and how they are read back.

import { waitFor } from '../../src/lab/netns/wait.ts'
import type { Ip } from '../../src/net/ip.ts'
import { type ApiCluster, type ClusterNode, clusterAsn, leafAsn, runLabel } from './support-cluster.ts'

type Manifest = Readonly<Record<string, unknown>>

export const bellhop = 'bellhop.io/v1alpha1'

/** What every scenario needs: BGP with the leaf, and the pools. */
export const baseManifests = ({ run, leaf, nodes, namespace }: ApiCluster): readonly Manifest[] => {
  const metadata = (name: string): Manifest => ({ name, labels: { [runLabel]: run } })
  const pool = (name: string, addresses: readonly string[], spec: Manifest = {}): Manifest => ({
    ...{ apiVersion: bellhop, kind: 'VipPool', metadata: metadata(`${run}-${name}`) },
    spec: { addresses, namespaces: [namespace], ...spec },
  })
  return [
    {
      ...{ apiVersion: bellhop, kind: 'BgpConf', metadata: metadata('default') },
      spec: { asn: clusterAsn, listenPort: 0, ...(nodes.length > 1 ? {} : { routerId: '192.0.2.1' }) },
    },
    {
      ...{ apiVersion: bellhop, kind: 'BgpPeer', metadata: metadata(`${run}-leaf`) },
      spec: {
        ...{ address: leaf.address, port: leaf.port, asn: leafAsn, families: ['ipv4-unicast', 'ipv6-unicast'] },
        ebgpMultihop: { ttl: 2 },
        timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 1 },
      },
    },
    pool('auto', ['203.0.113.0/24', '2001:db8:1::/112']),
    pool('named', ['198.51.100.0/28'], { autoAssign: false }),
    pool('tiny', ['198.51.100.128-198.51.100.129'], { autoAssign: false }),
  ]
}

export interface ServiceOptions {
  readonly annotations?: Readonly<Record<string, string>>
  readonly spec?: Manifest
}

/** A Service of our class without a selector: its endpoints are made by hand. */
export const service = (
  { namespace, serviceClass }: ApiCluster,
  name: string,
  { annotations = {}, spec = {} }: ServiceOptions = {},
): Manifest => ({
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace, annotations } },
  spec: {
    ...{ type: 'LoadBalancer', loadBalancerClass: serviceClass, allocateLoadBalancerNodePorts: false },
    ports: [{ port: 80 }],
    ...spec,
  },
})

/** A slice of the Service with an endpoint on each node; those named in `ready` are. */
export const slice = (
  { namespace, nodes }: ApiCluster,
  name: string,
  ready: readonly ClusterNode[],
  family: 'IPv4' | 'IPv6' = 'IPv4',
): Manifest => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    ...{ name: `${name}-${family.toLowerCase()}`, namespace },
    labels: { 'kubernetes.io/service-name': name, 'endpointslice.kubernetes.io/managed-by': 'bellhop-e2e' },
  },
  addressType: family,
  ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  endpoints: nodes.map((node, index) => ({
    addresses: [family === 'IPv4' ? `192.0.2.${10 + index}` : `2001:db8:ffff::${10 + index}`],
    conditions: { ready: ready.includes(node) },
    nodeName: node.name,
  })),
})

export interface ServiceObject {
  readonly metadata: { readonly name: string; readonly uid: string; readonly finalizers?: readonly string[] }
  readonly status: {
    readonly loadBalancer?: { readonly ingress?: readonly { readonly ip: Ip }[] }
    readonly conditions?: readonly ConditionObject[]
  }
}

interface ConditionObject {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
}

export interface VipObject {
  readonly metadata: { readonly name: string; readonly uid: string }
  readonly spec: {
    readonly address: Ip
    readonly pool: string
    readonly services: readonly { readonly namespace: string; readonly name: string; readonly uid: string }[]
  }
}

export interface WantedCondition {
  readonly type: 'Allocated' | 'Announced'
  readonly status: 'True' | 'False'
  readonly reason?: string
}

export interface ApiReader {
  readonly apply: (...manifests: readonly Manifest[]) => Promise<void>
  readonly services: () => Promise<readonly ServiceObject[]>
  readonly service: (name: string) => Promise<ServiceObject | undefined>
  readonly vips: () => Promise<readonly VipObject[]>
  /** The Service's addresses, once there are `count` of them. */
  readonly addressesOf: (name: string, count?: number) => Promise<readonly Ip[]>
  /** Resolves once the Service's condition of this type has this status, and this reason where one is given. */
  readonly becomes: (name: string, wanted: WantedCondition) => Promise<void>
  /** Deletes a Service and waits until it is gone. */
  readonly remove: (...names: readonly string[]) => Promise<void>
}

/** kubectl for the tests of one cluster. */
export function createReader({ kubectl, namespace }: ApiCluster): ApiReader {
  const list = async <T>(args: readonly string[]): Promise<readonly T[]> =>
    (JSON.parse(await kubectl.must([...args, '-o', 'json'])) as { readonly items: readonly T[] }).items
  const services = (): Promise<readonly ServiceObject[]> => list(['get', 'services', '-n', namespace])
  const named = async (name: string): Promise<ServiceObject | undefined> =>
    (await services()).find(({ metadata }) => metadata.name === name)
  return {
    apply: async (...manifests) => {
      const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests })
      await kubectl.must(['apply', '-f', '-'], { input })
    },
    services,
    service: named,
    vips: () => list(['get', 'vips']),
    addressesOf: (name, count = 1) =>
      waitFor(
        async () => {
          const ingress = (await named(name))?.status.loadBalancer?.ingress ?? []
          return ingress.length === count && ingress.map(({ ip }) => ip)
        },
        { what: `${count} address(es) for Service ${name}`, timeoutMs: 20_000 },
      ),
    becomes: async (name, { type, status, reason }) => {
      let last: ConditionObject | undefined
      await waitFor(
        async () => {
          last = (await named(name))?.status.conditions?.find((each) => each.type === `bellhop.io/${type}`)
          return last?.status === status && (reason === undefined || last.reason === reason)
        },
        {
          ...{ what: `Service ${name} to be ${type} ${status} (${reason ?? 'for any reason'})`, timeoutMs: 20_000 },
          evidence: () => `its condition is ${JSON.stringify(last)}`,
        },
      )
    },
    remove: async (...names) => {
      await kubectl.must(['delete', 'services', ...names, '-n', namespace, '--timeout=30s'])
    },
  }
}
