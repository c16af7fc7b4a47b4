// Which pods a node's proxy sends a Service's traffic to.

import { describe, expect, test } from 'vitest'
import type { RawObject } from '../../../src/k8s/json.ts'
import { proxiedPorts } from '../../../src/lab/kube-proxy/services.ts'

const service = (spec: RawObject, ingress: readonly RawObject[] = []): RawObject => ({
  metadata: { namespace: 'default', name: 'web' },
  spec: { clusterIP: '10.96.0.10', clusterIPs: ['10.96.0.10'], ports: [{ port: 80, targetPort: 8080 }], ...spec },
  status: { loadBalancer: { ingress } },
})

const slice = (endpoints: readonly RawObject[], more: RawObject = {}): RawObject => ({
  metadata: { namespace: 'default', name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  endpoints,
  ...more,
})

const endpoint = (address: string, nodeName: string, conditions: RawObject = {}): RawObject => ({
  addresses: [address],
  nodeName,
  conditions,
})

const draining = { ready: false, serving: true, terminating: true }

describe('the endpoints that a Service port is sent to, seen from n1', () => {
  test.each<[string, readonly RawObject[], readonly string[], readonly string[]]>([
    ['ready ones', [endpoint('10.0.0.1', 'n1'), endpoint('10.0.0.2', 'n2')], ['10.0.0.1', '10.0.0.2'], ['10.0.0.1']],
    [
      'not those that are not ready',
      [endpoint('10.0.0.1', 'n1', { ready: false }), endpoint('10.0.0.2', 'n2')],
      ['10.0.0.2'],
      [],
    ],
    [
      'not terminating ones while others are ready',
      [endpoint('10.0.0.1', 'n1', draining), endpoint('10.0.0.3', 'n1')],
      ['10.0.0.3'],
      ['10.0.0.3'],
    ],
    [
      'terminating ones that still serve, when no other is left',
      [endpoint('10.0.0.1', 'n1', draining)],
      ['10.0.0.1'],
      ['10.0.0.1'],
    ],
    [
      'locally terminating ones, when no other is left on this node',
      [endpoint('10.0.0.1', 'n1', draining), endpoint('10.0.0.2', 'n2')],
      ['10.0.0.2'],
      ['10.0.0.1'],
    ],
    ['none', [], [], []],
  ])('%s', (_what, endpoints, all, local) => {
    const [port] = proxiedPorts([service({})], [slice(endpoints)], 'n1')
    expect(port?.targets.map(({ address }) => address)).toEqual(all)
    expect(port?.localTargets.map(({ address }) => address)).toEqual(local)
  })

  test('all slices of the Service count, each address once, and slices of others do not', () => {
    const other = slice([endpoint('10.9.9.9', 'n1')], {
      metadata: { namespace: 'other', labels: { 'kubernetes.io/service-name': 'web' } },
    })
    const slices = [
      slice([endpoint('10.0.0.2', 'n1')]),
      slice([endpoint('10.0.0.1', 'n1'), endpoint('10.0.0.2', 'n1')]),
      other,
    ]
    const [port] = proxiedPorts([service({})], slices, 'n1')
    expect(port?.targets).toEqual([
      { address: '10.0.0.1', port: 8080 },
      { address: '10.0.0.2', port: 8080 },
    ])
  })

  test.each([
    ['TCP', 'tcp'],
    ['UDP', 'udp'],
    ['SCTP', 'sctp'],
  ])('%s ports are translated as %s', (protocol, expected) => {
    expect(proxiedPorts([service({ ports: [{ port: 80, protocol }] })], [], 'n1')[0]?.protocol).toBe(expected)
  })

  test('ports are matched by name', () => {
    const ports = [
      { name: 'http', port: 80 },
      { name: 'admin', port: 81 },
    ]
    const named = slice([endpoint('10.0.0.1', 'n1')], { ports: [{ name: 'admin', port: 9000 }] })
    const targets = proxiedPorts([service({ ports })], [named], 'n1').map(({ id, targets: to }) => [
      id,
      to.map(({ port }) => port),
    ])
    expect(targets).toEqual([
      ['default/web:admin', [9000]],
      ['default/web:http', []],
    ])
  })
})

describe('the addresses that a Service is known by', () => {
  test('VIPs of the status, except those that a proxy in front answers for', () => {
    const ingress = [
      { ip: '203.0.113.10', ipMode: 'VIP' },
      { ip: '203.0.113.11', ipMode: 'Proxy' },
      { ip: '203.0.113.12' },
      { hostname: 'x' },
    ]
    expect(proxiedPorts([service({}, ingress)], [], 'n1')[0]?.vips).toEqual(['203.0.113.10', '203.0.113.12'])
  })

  test('each family on its own, with the endpoints of that family', () => {
    const dual = service({ clusterIPs: ['10.96.0.10', 'fd00:10:96::a'] }, [
      { ip: '2001:db8:1::10' },
      { ip: '203.0.113.10' },
    ])
    const slices = [slice([endpoint('10.0.0.1', 'n1')]), slice([endpoint('fd00::1', 'n1')], { addressType: 'IPv6' })]
    expect(
      proxiedPorts([dual], slices, 'n1').map(({ family, clusterIP, vips, targets }) => [
        family,
        clusterIP,
        vips,
        targets.map(({ address }) => address),
      ]),
    ).toEqual([
      ['IPv4', '10.96.0.10', ['203.0.113.10'], ['10.0.0.1']],
      ['IPv6', 'fd00:10:96::a', ['2001:db8:1::10'], ['fd00::1']],
    ])
  })

  test.each<[string, RawObject]>([
    ['headless', { clusterIP: 'None', clusterIPs: ['None'] }],
    ['external names', { type: 'ExternalName' }],
  ])('nothing for %s', (_what, spec) => {
    expect(proxiedPorts([service(spec)], [], 'n1')).toEqual([])
  })
})
