// The objects of the chaos: what a round begins with, and what is put back after it, so that every round ends in a state whose outcome
// can be told. Services are no part of that: they stay as chaos leaves them.

import type { JsonObject } from '../../../src/lab/apiserver/json.ts'

const bellhop = 'bellhop.io/v1alpha1'

/** Of the Service that nothing touches. */
export const calmVips = ['203.0.113.200', '2001:db8:1::200'] as const

export const poolRanges = ['203.0.113.10-203.0.113.60', '2001:db8:1::10-2001:db8:1::60'] as const

/** Bellhop's own objects as they are between two rounds. */
export const configuration = (): readonly JsonObject[] => [
  {
    ...{ apiVersion: bellhop, kind: 'BgpConf', metadata: { name: 'default' } },
    spec: { asn: 64512, drainGraceSeconds: 2, withdrawGuard: { percent: 50, minimumVips: 20 } },
  },
  peer('leaf1'),
  peer('leaf2'),
  pool('default', [...poolRanges]),
  pool('calm', [...calmVips], { autoAssign: false }),
]

export const peer = (name: 'leaf1' | 'leaf2', spec: JsonObject = {}): JsonObject => ({
  ...{ apiVersion: bellhop, kind: 'BgpPeer', metadata: { name } },
  spec: {
    ...{ address: name === 'leaf1' ? '10.0.0.1' : '10.0.0.2', asn: name === 'leaf1' ? 64513 : 64514 },
    families: ['ipv4-unicast', 'ipv6-unicast'],
    timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 1 },
    ...spec,
  },
})

export const pool = (name: string, addresses: readonly string[], spec: JsonObject = {}): JsonObject => ({
  ...{ apiVersion: bellhop, kind: 'VipPool', metadata: { name } },
  spec: { addresses, ...spec },
})

/** Everything that there is in the beginning. */
export const manifests = (): readonly JsonObject[] => [
  ...configuration(),
  deployment('web', 3),
  deployment('single', 1),
  deployment('calm', 1, { nodeSelector: { 'kubernetes.io/hostname': 'node4' }, tolerations: [{ operator: 'Exists' }] }),
  ...['s1', 's2', 's3', 's4'].map((name, i) =>
    service(name, i < 3 ? 'web' : 'single', {}, { ipFamilyPolicy: i % 2 === 0 ? 'RequireDualStack' : 'SingleStack' }),
  ),
  service('calm', 'calm', { 'bellhop.io/pool': 'calm' }, { ipFamilyPolicy: 'RequireDualStack' }),
]

export const deployment = (name: string, replicas: number, podSpec: JsonObject = {}): JsonObject => ({
  ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace: 'default' } },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: {
        containers: [
          {
            ...{ name: 'whoami', image: 'whoami', ports: [{ containerPort: 8080 }] },
            readinessProbe: { httpGet: { path: '/readyz', port: 8080 }, periodSeconds: 1 },
          },
        ],
        ...podSpec,
      },
    },
  },
})

export const service = (
  name: string,
  app: string,
  annotations: Readonly<Record<string, string>>,
  spec: JsonObject,
): JsonObject => ({
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'default', annotations } },
  spec: {
    ...{ type: 'LoadBalancer', externalTrafficPolicy: 'Local', selector: { app } },
    ports: [{ port: 80, targetPort: 8080 }],
    ...spec,
  },
})
