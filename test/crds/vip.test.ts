// A Vip is the lock of allocation: its name is its address, and neither ever changes.
import { describe, expect, test } from 'vitest'
import { judge } from './crd-files.ts'

const judgeVip = judge('Vip')
const vip = (name: string, address: string) => ({ metadata: { name }, spec: { address, pool: 'default' } })

const wrongName =
  '<nil>: Invalid value: the name must be the address: 203.0.113.10, and for IPv6 all eight groups with four digits each, as 2001-0db8-0000-0000-0000-0000-0000-0001'
const notCanonical = (address: string): string =>
  `spec.address: Invalid value: "${address}": must be an IPv4 or IPv6 address in canonical form, as 203.0.113.10 or 2001:db8::1`

describe('the name of a Vip is its address', () => {
  test.each([
    ['203.0.113.10', '203.0.113.10', []],
    ['2001-0db8-0001-0000-0000-0000-0000-00a0', '2001:db8:1::a0', []],
    ['203.0.113.11', '203.0.113.10', [wrongName]],
    ['web', '203.0.113.10', [wrongName]],
    ['2001-0db8-0001-0000-0000-0000-0000-00a1', '2001:db8:1::a0', [wrongName]],
    ['2001-db8-1-0-0-0-0-a0', '2001:db8:1::a0', [wrongName]],
    ['2001-0db8-0001-0000-0000-0000-0000-00a0', '203.0.113.10', [wrongName]],
    ['2001-0db8-0000-0000-0000-0000-0000-0001', '2001:db8:0::1', [notCanonical('2001:db8:0::1')]],
    ['2001-0db8-0000-0000-0000-0000-0000-00aa', '2001:DB8::AA', [notCanonical('2001:DB8::AA')]],
    ['999.0.113.10', '999.0.113.10', [notCanonical('999.0.113.10')]],
  ])('%s with %s: %o', (name, address, errors) => {
    expect([...judgeVip(vip(name, address)).errors].sort()).toEqual([...errors].sort())
  })
})

test('the address cannot change, the pool can', () => {
  const old = vip('203.0.113.10', '203.0.113.10')
  expect(judgeVip({ ...old, spec: { address: '203.0.113.10', pool: 'other' } }, old).errors).toEqual([])
  expect(judgeVip({ ...old, spec: { address: '203.0.113.11', pool: 'default' } }, old).errors).toContain(
    'spec.address: Invalid value: "203.0.113.11": is the identity of the object and cannot change',
  )
})

test('a Service has an address once, by its UID', () => {
  const claim = { namespace: 'default', name: 'web', uid: 'u1', ports: [{ protocol: 'TCP', port: 80 }] }
  const shared = { ...vip('203.0.113.10', '203.0.113.10').spec, services: [claim, { ...claim, uid: 'u2' }] }
  expect(judgeVip({ metadata: { name: '203.0.113.10' }, spec: shared }).errors).toEqual([])
  expect(
    judgeVip({ metadata: { name: '203.0.113.10' }, spec: { ...shared, services: [claim, claim] } }).errors,
  ).toEqual(['spec.services[1]: Duplicate value: {"uid":"u1"}'])
})

test('an address on hold names whom it waits for', () => {
  const hold = { namespace: 'default', name: 'web', until: '2030-01-01T00:00:00Z' }
  const held = { ...vip('203.0.113.10', '203.0.113.10').spec, services: [], hold }
  expect(judgeVip({ metadata: { name: '203.0.113.10' }, spec: held }).errors).toEqual([])
  expect(
    judgeVip({ metadata: { name: '203.0.113.10' }, spec: { ...held, hold: { ...hold, until: 'soon' } } }).errors[0],
  ).toBe('spec.hold.until: Invalid value: "soon": spec.hold.until in body must be of type date-time: "soon"')
})

test('a claim without a sharing key shares with nobody', () => {
  const spec = { address: '203.0.113.10', pool: 'default', services: [{ namespace: 'a', name: 'b', uid: 'c' }] }
  expect(judgeVip({ metadata: { name: '203.0.113.10' }, spec }).stored['spec']).toMatchObject({
    services: [{ uid: 'c', shareKey: '' }],
  })
})
