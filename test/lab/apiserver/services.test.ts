import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../src/lab/apiserver/json.ts'
import { apiForFile } from './support.ts'

const api = apiForFile({ clusterIpRanges: { ipv4: '10.1.0.0/24', ipv6: 'fd00:1::/120' } })
const ipv6Only = apiForFile({ clusterIpRanges: { ipv6: 'fd00:2::/120' } })
const services = '/api/v1/namespaces/default/services'
const service = (name: string, spec: object): JsonObject =>
  ({ apiVersion: 'v1', kind: 'Service', metadata: { name }, spec }) as unknown as JsonObject
const ports = [{ port: 80 }]
const specOf = (object: JsonObject): JsonObject => object['spec'] as JsonObject

// What Kubernetes fills in, by what the author wrote.
test.each<[string, object, object, readonly string[]]>([
  [
    'ClusterIP is the default',
    { ports },
    {
      type: 'ClusterIP',
      sessionAffinity: 'None',
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
    },
    ['externalTrafficPolicy', 'allocateLoadBalancerNodePorts'],
  ],
  [
    'LoadBalancer gets node ports',
    { type: 'LoadBalancer', ports },
    {
      externalTrafficPolicy: 'Cluster',
      allocateLoadBalancerNodePorts: true,
      ports: [{ nodePort: expect.any(Number) }],
    },
    ['healthCheckNodePort'],
  ],
  [
    'LoadBalancer without node ports gets none',
    { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false, ports },
    { ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }] },
    [],
  ],
  [
    'a Local LoadBalancer gets a health check port',
    { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports },
    { healthCheckNodePort: expect.any(Number) },
    [],
  ],
  [
    'PreferDualStack gets both families',
    { ipFamilyPolicy: 'PreferDualStack', ports },
    {
      ipFamilies: ['IPv4', 'IPv6'],
      clusterIPs: [expect.stringMatching(/^10\.1\./), expect.stringMatching(/^fd00:1::/)],
    },
    [],
  ],
  [
    'IPv6 comes first when asked for first',
    { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6'], ports },
    { ipFamilies: ['IPv6', 'IPv4'], clusterIP: expect.stringMatching(/^fd00:1::/) },
    [],
  ],
  ['an IPv6 cluster address says its family', { clusterIP: 'fd00:1::77', ports }, { ipFamilies: ['IPv6'] }, []],
  ['headless has no address', { clusterIP: 'None', selector: { a: 'b' }, ports }, { clusterIPs: ['None'] }, []],
  [
    'headless without a selector is dual-stack',
    { clusterIP: 'None' },
    { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv4', 'IPv6'] },
    [],
  ],
  ['ExternalName has no address', { type: 'ExternalName', externalName: 'x.example' }, {}, ['clusterIP', 'ipFamilies']],
  [
    'ClientIP affinity has a timeout',
    { sessionAffinity: 'ClientIP', ports },
    { sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } } },
    [],
  ],
])('%s', async (what, spec, expected, absent) => {
  const created = specOf(
    await api.create(services, service(`s-${what.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}`, spec)),
  )
  expect(created).toMatchObject(expected)
  for (const field of absent) expect(created).not.toHaveProperty(field)
})

// What Kubernetes refuses, and the field it names.
test.each<[object, string]>([
  [{}, 'spec.ports'],
  [{ ports: [{ port: 0 }] }, 'spec.ports[0].port'],
  [{ ports: [{ port: 80 }, { port: 81 }] }, 'spec.ports[0].name'],
  [
    {
      ports: [
        { name: 'a', port: 80 },
        { name: 'b', port: 80 },
      ],
    },
    'spec.ports[1]',
  ],
  [
    {
      ports: [
        { name: 'a', port: 80 },
        { name: 'a', port: 81 },
      ],
    },
    'spec.ports[1].name',
  ],
  [{ ports: [{ port: 80, protocol: 'ICMP' }] }, 'spec.ports[0].protocol'],
  [{ type: 'Balancer', ports }, 'spec.type'],
  [{ type: 'LoadBalancer', clusterIP: 'None', ports }, 'spec.clusterIPs[0]'],
  [{ loadBalancerClass: 'x/y', ports }, 'spec.loadBalancerClass'],
  [{ externalTrafficPolicy: 'Local', ports }, 'spec.externalTrafficPolicy'],
  [{ type: 'LoadBalancer', externalTrafficPolicy: 'Near', ports }, 'spec.externalTrafficPolicy'],
  [{ healthCheckNodePort: 30000, ports }, 'spec.healthCheckNodePort'],
  [{ type: 'NodePort', ports: [{ port: 80, nodePort: 80 }] }, 'spec.ports[0].nodePort'],
  [{ ports: [{ port: 80, nodePort: 30080 }] }, 'spec.ports[0].nodePort'],
  [{ clusterIP: '192.0.2.1', ports }, 'spec.clusterIPs'],
  [{ ipFamilies: ['IPv4', 'IPv6'], ports }, 'spec.ipFamilyPolicy'],
  [{ ipFamilyPolicy: 'Both', ports }, 'spec.ipFamilyPolicy'],
  [{ ipFamilyPolicy: 'PreferDualStack', ipFamilies: ['IPv4', 'IPv4'], ports }, 'spec.ipFamilies[1]'],
  [{ type: 'ExternalName' }, 'spec.externalName'],
  [{ type: 'LoadBalancer', loadBalancerSourceRanges: ['10.0.0.1'], ports }, 'spec.loadBalancerSourceRanges[0]'],
])('%j is refused for %s', async (spec, field) => {
  const { body } = await api.call('POST', services, { body: service('refused', spec) })
  expect(body).toMatchObject({
    code: 422,
    reason: 'Invalid',
    details: { causes: expect.arrayContaining([expect.objectContaining({ field })]) },
  })
})

describe('a Service that changes', () => {
  const merge = (name: string, body: object) =>
    api.call('PATCH', `${services}/${name}`, { type: 'application/merge-patch+json', body })

  test('keeps what was allocated when an update leaves it out', async () => {
    const created = await api.create(services, service('keeps', { type: 'LoadBalancer', ports }))
    const again = service('keeps', {
      type: 'LoadBalancer',
      ports: [{ port: 80 }, { name: 'more', port: 81 }].map((p, i) => ({ name: `p${i}`, ...p })),
    })
    const updated = await api.call('PUT', `${services}/keeps`, { body: again })
    expect(specOf(updated.body)['clusterIP']).toBe(specOf(created)['clusterIP'])
    const nodePort = (object: JsonObject): unknown =>
      (specOf(object)['ports'] as readonly JsonObject[])[0]?.['nodePort']
    expect(nodePort(updated.body)).toBe(nodePort(created))
  })

  test('from LoadBalancer to ClusterIP gives its node ports and policies back', async () => {
    await api.create(services, service('lb', { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports }))
    const { body } = await merge('lb', { spec: { type: 'ClusterIP' } })
    expect(specOf(body)).toMatchObject({ type: 'ClusterIP', ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }] })
    for (const field of ['externalTrafficPolicy', 'healthCheckNodePort', 'allocateLoadBalancerNodePorts'])
      expect(specOf(body)).not.toHaveProperty(field)
  })

  test('to ExternalName gives its address back, and another Service can have it', async () => {
    const { spec } = await api.create(services, service('leaves', { ports }))
    const { clusterIP } = spec as { clusterIP: string }
    await merge('leaves', { spec: { type: 'ExternalName', externalName: 'x.example' } })
    const heir = await api.create(services, service('heir', { clusterIP, ports }))
    expect(specOf(heir)['clusterIP']).toBe(clusterIP)
  })

  test('to dual-stack and back adds and releases the second address', async () => {
    await api.create(services, service('stacks', { ports }))
    const dual = await merge('stacks', { spec: { ipFamilyPolicy: 'RequireDualStack' } })
    expect((specOf(dual.body)['clusterIPs'] as readonly string[]).length).toBe(2)
    const single = await merge('stacks', { spec: { ipFamilyPolicy: 'SingleStack' } })
    expect((specOf(single.body)['clusterIPs'] as readonly string[]).length).toBe(1)
  })

  test.each([
    ['clusterIP', { clusterIP: '10.1.0.99', clusterIPs: ['10.1.0.99'] }],
    ['loadBalancerClass', { loadBalancerClass: 'example.com/other' }],
  ])('can not change its %s', async (what, spec) => {
    const name = `fixed-${what.toLowerCase()}`
    await api.create(services, service(name, { type: 'LoadBalancer', loadBalancerClass: 'example.com/one', ports }))
    expect((await merge(name, { spec })).body).toMatchObject({ code: 422, reason: 'Invalid' })
  })

  test('has its status written through /status only', async () => {
    await api.create(services, service('vip', { type: 'LoadBalancer', ports }))
    const status = { loadBalancer: { ingress: [{ ip: '203.0.113.1', ipMode: 'VIP' }] } }
    expect((await merge('vip', { status })).body['status']).toBeUndefined()
    const path = `${services}/vip/status`
    const { body } = await api.call('PATCH', path, { type: 'application/merge-patch+json', body: { status } })
    expect(body['status']).toEqual(status)
  })
})

test('two Services never have one address, and a full range is refused', async () => {
  const small = '/api/v1/namespaces/default/services'
  const codes: number[] = []
  for (let i = 0; i < 256; i++)
    codes.push((await api.call('POST', small, { body: service(`many-${i}`, { ports }) })).code)
  expect(codes.at(-1)).toBe(422)
  const items = (await api.call('GET', '/api/v1/services')).body['items'] as readonly JsonObject[]
  const ips = items
    .flatMap((item) => (specOf(item)['clusterIPs'] as readonly string[] | undefined) ?? [])
    .filter((ip) => ip !== 'None')
  expect(new Set(ips).size).toBe(ips.length)
})

test('the kubernetes Service has the first address', async () => {
  expect(specOf((await api.call('GET', `${services}/kubernetes`)).body)['clusterIP']).toBe('10.1.0.1')
})

describe('on a cluster of one family', () => {
  test('who prefers two gets that one', async () => {
    const { body } = await ipv6Only.call('POST', services, {
      body: service('prefers', { ipFamilyPolicy: 'PreferDualStack', ports }),
    })
    expect(specOf(body)).toMatchObject({ ipFamilies: ['IPv6'], clusterIPs: [expect.stringMatching(/^fd00:2::/)] })
  })

  test.each([
    [
      { ipFamilyPolicy: 'RequireDualStack' },
      'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services',
    ],
    [{ ipFamilies: ['IPv4'] }, 'spec.ipFamilies[0]: Invalid value: "IPv4": not configured on this cluster'],
  ])('%o is refused', async (spec, because) => {
    const { code, body } = await ipv6Only.call('POST', services, { body: service('refused', { ...spec, ports }) })
    expect(code).toBe(422)
    expect(body['message']).toContain(because)
  })
})
