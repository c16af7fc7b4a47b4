// Whether each Service keeps its addresses, and what it is told if not.

import { describe, expect, test } from 'vitest'
import { migrate } from '../../src/migrate/migrate.ts'
import { checkServices, loadBalancers } from '../../src/migrate/services.ts'
import { yaml } from './cases.ts'

const pools = `
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: open, namespace: metallb-system}, spec: {addresses: [203.0.113.0/28]}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: gold, namespace: metallb-system},
 spec: {addresses: [198.51.100.0/28], serviceAllocation: {namespaceSelectors: [{matchLabels: {tier: gold}}]}}}
`
const service = (path: string, ingress: readonly string[], more = ''): string => {
  const [namespace, name] = path.split('/')
  return `---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}${more === '' ? '' : `, ${more}`}}
spec: {type: LoadBalancer, clusterIP: 10.96.0.1, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [${ingress.map((ip) => `{ip: ${ip}}`).join(', ')}]}}
`
}
const share = 'annotations: {metallb.io/allow-shared-ip: web}'

function verdicts(
  text: string,
  options: { handleDefault?: boolean } = {},
): readonly (readonly [string, string, string])[] {
  const objects = yaml(pools + text)
  const services = loadBalancers(objects)
  const migration = migrate(objects, { from: 'metallb', services })
  return checkServices(
    migration.objects.map(({ object }) => object),
    services,
    {
      serviceClass: { name: 'bellhop.io/bgp', handleDefault: options.handleDefault ?? true },
      namespaces: yaml('{apiVersion: v1, kind: Namespace, metadata: {name: rich, labels: {tier: gold}}}'),
    },
  ).map(({ service: name, outcome, because }) => [name, outcome, because])
}

describe('a Service', () => {
  test.each<[string, string, readonly (readonly [string, string, RegExp])[]]>([
    ['keeps an address that a pool covers', service('a/web', ['203.0.113.3']), [['a/web', 'keeps', /^$/]]],
    [
      'keeps it in a pool that would not let it in today: it was there first',
      service('poor/web', ['198.51.100.3']),
      [['poor/web', 'keeps', /^$/]],
    ],
    [
      'loses an address that no pool covers',
      service('a/web', ['203.0.113.77']),
      [['a/web', 'loses', /203\.0\.113\.77 is given up \(no pool covers it\)/]],
    ],
    [
      'keeps an address that it shares under a key, across namespaces too',
      service('a/web', ['203.0.113.3'], share) + service('b/dns', ['203.0.113.3'], share).replace('80', '53'),
      [
        ['a/web', 'keeps', /^$/],
        ['b/dns', 'keeps', /^$/],
      ],
    ],
    [
      'loses an address that it shares without a key, and is told what helps',
      service('a/web', ['203.0.113.3']) + service('a/wiki', ['203.0.113.3']).replace('80', '81'),
      [
        ['a/web', 'keeps', /^$/],
        ['a/wiki', 'loses', /same annotation bellhop\.io\/share$/],
      ],
    ],
    ['without an address gets one', service('a/web', []), [['a/web', 'gets', /203\.0\.113\.0 from pool open/]]],
    [
      'without an address waits where the pool that it names does not let it in',
      service('poor/web', [], 'annotations: {metallb.io/address-pool: gold}'),
      [['poor/web', 'waits', /pool gold does not admit namespace poor/]],
    ],
    [
      'is let in by the labels of its namespace',
      service('rich/web', [], 'annotations: {metallb.io/address-pool: gold}'),
      [['rich/web', 'gets', /198\.51\.100\.0 from pool gold/]],
    ],
    [
      'of another class is not served, and is told which flag would',
      service('a/web', ['203.0.113.3']).replace('spec: {', 'spec: {loadBalancerClass: metallb, '),
      [['a/web', 'foreign', /--class metallb/]],
    ],
    [
      'that is not a load balancer is not looked at',
      service('a/web', ['203.0.113.3']).replace('LoadBalancer', 'ClusterIP'),
      [],
    ],
  ])('%s', (_, text, expected) => {
    const found = verdicts(text)
    expect(found.map(([name, outcome]) => [name, outcome])).toEqual(expected.map(([name, outcome]) => [name, outcome]))
    for (const [i, [, , because]] of expected.entries()) expect(found[i]?.[2]).toMatch(because)
  })

  test('without a class is left alone with --default-class false', () => {
    expect(verdicts(service('a/web', ['203.0.113.3']), { handleDefault: false })).toEqual([
      ['a/web', 'foreign', 'it has no loadBalancerClass, and --default-class is false'],
    ])
  })
})
