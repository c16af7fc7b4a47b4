import { expect, test } from 'vitest'
import { annotationRemarks } from '../../src/vip/annotations.ts'
import { type ServiceOver, service } from './cluster.ts'

const known =
  'bellhop.io/pool, bellhop.io/ips, bellhop.io/share, bellhop.io/endpoint-policy, bellhop.io/next-hops, bellhop.io/health-check'
const local: ServiceOver = { externalTrafficPolicy: 'Local' }

test.each<[string, Readonly<Record<string, string>>, ServiceOver, readonly string[]]>([
  ['nothing', {}, {}, []],
  ['what others write', { 'metallb.io/address-pool': 'a', 'lab.bellhop.io/ready': 'x', bellhop: 'y' }, {}, []],
  [
    'any text where any has a meaning',
    { 'bellhop.io/pool': 'a', 'bellhop.io/ips': 'b', 'bellhop.io/share': 'c' },
    {},
    [],
  ],
  ['values that there are', { 'bellhop.io/endpoint-policy': 'Serving', 'bellhop.io/next-hops': 'AllNodes' }, {}, []],
  ['a health check under Local', { 'bellhop.io/health-check': 'NodePort' }, local, []],
  [
    'a mistyped name',
    { 'bellhop.io/ip': '10.0.0.1' },
    {},
    [`annotation bellhop.io/ip means nothing: there are ${known}`],
  ],
  ['a mistyped domain', { 'bellhop/pool': 'a' }, {}, [`annotation bellhop/pool means nothing: there are ${known}`]],
  [
    'a mistyped value',
    { 'bellhop.io/endpoint-policy': 'serving' },
    {},
    ['annotation bellhop.io/endpoint-policy is "serving", which counts for nothing: write Ready or Serving'],
  ],
  [
    'a health check under Cluster',
    { 'bellhop.io/health-check': 'NodePort' },
    {},
    ['annotation bellhop.io/health-check counts for nothing: it is for externalTrafficPolicy Local'],
  ],
  [
    'all nodes under Local',
    { 'bellhop.io/next-hops': 'AllNodes' },
    local,
    ['annotation bellhop.io/next-hops counts for nothing: AllNodes is for externalTrafficPolicy Cluster'],
  ],
])('the author of a Service is told about %s', (_, annotations, over, remarks) => {
  expect(annotationRemarks(service('web', { ...over, annotations }))).toEqual(remarks)
})
