// The Node object and its Lease, as a kubelet keeps them: registered at the start, Ready renewed for as long as the kubelet
// lives. That a node is dead is for the cluster to conclude from the silence.

import { release } from 'node:os'
import type { KubeClient } from '../../k8s/client.ts'
import { asList, asObject, type RawObject } from '../../k8s/json.ts'
import type { KubeError } from '../../k8s/kube-error.ts'
import type { Clock } from '../../runtime/clock.ts'
import { err, ok, type Result } from '../../runtime/result.ts'
import type { LabNode } from '../topology/topology.ts'

const leaseNamespace = 'kube-node-lease'

export interface NodeReporter {
  /** Creates the Node (or takes over the one that exists) and its Lease. */
  readonly register: () => Promise<Result<void, KubeError>>
  /** Renews the Lease, and the Ready condition where somebody took it away. */
  readonly renew: () => Promise<Result<void, KubeError>>
}

/** Reports for one node. `leaseSeconds` is what the Lease promises. */
export function createNodeReporter(options: {
  readonly node: LabNode
  readonly client: KubeClient
  readonly clock: Clock
  readonly leaseSeconds: number
  readonly taints?: readonly unknown[]
}): NodeReporter {
  const { node, client, clock } = options
  const now = (): string => new Date(clock.wallMs()).toISOString().replace(/\.\d+Z$/, 'Z')
  const nodePath = `/api/v1/nodes/${node.name}`
  const leasePath = `/apis/coordination.k8s.io/v1/namespaces/${leaseNamespace}/leases`

  const reportReady = (): Promise<Result<RawObject, KubeError>> =>
    client.request({
      method: 'PATCH',
      path: `${nodePath}/status`,
      patchType: 'merge',
      body: { status: nodeStatus(node, now()) },
    })
  const renewLease = async (): Promise<Result<RawObject, KubeError>> => {
    const spec = {
      holderIdentity: node.name,
      leaseDurationSeconds: options.leaseSeconds,
      renewTime: new Date(clock.wallMs()).toISOString().replace('Z', '000Z'),
    }
    const renewed = await client.request({
      method: 'PATCH',
      path: `${leasePath}/${node.name}`,
      patchType: 'merge',
      body: { spec },
      lane: 'vital',
    })
    if (renewed.ok || renewed.error.status !== 404) return renewed
    const metadata = { name: node.name, namespace: leaseNamespace }
    const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec }
    return client.request({ method: 'POST', path: leasePath, body, lane: 'vital' })
  }

  return {
    register: async () => {
      const created = await client.request({
        method: 'POST',
        path: '/api/v1/nodes',
        body: nodeObject(node, options.taints ?? []),
      })
      if (!created.ok && created.error.status !== 409) return err(created.error)
      const ready = await reportReady()
      if (!ready.ok) return ready
      const lease = await renewLease()
      return lease.ok ? ok(undefined) : lease
    },
    renew: async () => {
      const lease = await renewLease()
      if (!lease.ok) return lease
      const current = await client.request({ method: 'GET', path: nodePath })
      if (!current.ok) return current
      const ready = isReady(current.value) ? current : await reportReady()
      return ready.ok ? ok(undefined) : ready
    },
  }
}

function isReady(object: RawObject): boolean {
  const conditions = asList(asObject(object['status'])?.['conditions']) ?? []
  return conditions.map(asObject).some((condition) => condition?.['type'] === 'Ready' && condition['status'] === 'True')
}

const nodeObject = (node: LabNode, taints: readonly unknown[]): unknown => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: {
    name: node.name,
    labels: { 'kubernetes.io/hostname': node.name, 'kubernetes.io/os': 'linux' },
  },
  spec: {
    podCIDR: node.podPrefixes[node.families[0]],
    podCIDRs: node.families.map((family) => node.podPrefixes[family]),
    taints,
  },
})

const nodeStatus = (node: LabNode, now: string): unknown => ({
  addresses: [
    ...node.families.map((family) => ({ type: 'InternalIP', address: node.address[family] })),
    { type: 'Hostname', address: node.name },
  ],
  nodeInfo: {
    kernelVersion: release(),
    operatingSystem: 'linux',
    osImage: 'a network namespace',
    containerRuntimeVersion: 'processes://1',
    kubeletVersion: 'v1.32.0+lab',
  },
  capacity: { cpu: '1', memory: '1Gi', pods: '110' },
  allocatable: { cpu: '1', memory: '1Gi', pods: '110' },
  conditions: [
    {
      type: 'Ready',
      status: 'True',
      reason: 'KubeletReady',
      message: 'kubelet is posting ready status',
      lastHeartbeatTime: now,
      lastTransitionTime: now,
    },
  ],
})
