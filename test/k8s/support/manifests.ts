// Small objects for tests, as a user or a controller would write them.

import type { JsonObject as Json } from '../../../src/lab/apiserver/json.ts'

export const service = (name: string, spec: Json = {}, metadata: Json = {}): Json => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default', ...metadata },
  spec: { type: 'LoadBalancer', ports: [{ port: 80 }], selector: { app: name }, ...spec },
})

export const slice = (name: string, serviceName: string, endpoints: readonly Json[], more: Json = {}): Json => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': serviceName } },
  addressType: 'IPv4',
  endpoints,
  ports: [],
  ...more,
})

export const node = (name: string, address: string): Json => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name },
  status: {
    addresses: [{ type: 'InternalIP', address }],
    conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: '' }],
  },
})

export const vip = (address: string, pool = 'default'): Json => ({
  apiVersion: 'bellhop.io/v1alpha1',
  kind: 'Vip',
  metadata: { name: address },
  spec: { address, pool, services: [{ namespace: 'default', name: 'web', uid: 'u1', ports: [], shareKey: '' }] },
})

export const peer = (name: string, spec: Json = {}): Json => ({
  apiVersion: 'bellhop.io/v1alpha1',
  kind: 'BgpPeer',
  metadata: { name },
  spec: { address: '10.0.0.1', asn: 64513, ...spec },
})

export const pool = (name: string, addresses: readonly string[], spec: Json = {}): Json => ({
  apiVersion: 'bellhop.io/v1alpha1',
  kind: 'VipPool',
  metadata: { name },
  spec: { addresses, ...spec },
})
