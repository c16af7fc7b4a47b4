// What becomes of each address of a node: one line per cause.

import { describe, expect, test } from 'vitest'
import { type OwnedVip, placeOf, planAddresses, type Title } from '../../src/layer2/address-plan.ts'
import type { Held, ObservedLink } from '../../src/layer2/addresses.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import { must } from '../../src/runtime/result.ts'

const ip = (text: string): Ip => must(parseIp(text))
const address = ip('10.0.0.100')
const vip: OwnedVip = { address, interface: 'eth0' }
const title = (changes: Partial<Title> = {}): Title => ({
  owned: new Map([[address, vip]]),
  yielded: new Set(),
  provenSeconds: 15,
  holdMs: 15_000,
  ...changes,
})
const there = (held: Partial<Held> = {}): { readonly held: ReadonlyMap<Ip, Held> } => ({
  held: new Map([[address, { interface: 'eth0', validSeconds: 15, ...held }]]),
})
const nothing = { held: new Map<Ip, Held>() }
const nobody = new Map<Ip, OwnedVip>()

describe('an address on the node', () => {
  test('stays where it belongs', () => {
    expect(planAddresses(there(), title())).toEqual({ kept: [vip], givenUp: [], missing: [], renewals: [] })
  })

  test.each([
    ['moved', { owned: nobody }],
    ['moved', { owned: nobody, provenSeconds: 0 }],
    ['unproven', { provenSeconds: 0 }],
    ['unproven', { provenSeconds: -3, yielded: new Set([address]) }],
    ['contested', { yielded: new Set([address]) }],
  ] as const)('goes because it is %s: %o', (because, changes) => {
    expect(planAddresses(there(), title(changes))).toEqual({
      ...{ kept: [], missing: [], renewals: [] },
      givenUp: [{ address, interface: 'eth0', because }],
    })
  })

  test('on another interface than the one it belongs on goes, and is missing', () => {
    expect(planAddresses(there({ interface: 'eth1' }), title())).toEqual({
      ...{ kept: [], missing: [vip], renewals: [] },
      givenUp: [{ address, interface: 'eth1', because: 'misplaced' }],
    })
  })

  test.each([
    { validSeconds: 10, provenSeconds: 15, holdMs: 15_000, renewed: false },
    { validSeconds: 9, provenSeconds: 15, holdMs: 15_000, renewed: true },
    { validSeconds: 1, provenSeconds: 2, holdMs: 15_000, renewed: false },
    { validSeconds: 4, provenSeconds: 5, holdMs: 5_000, renewed: false },
    { validSeconds: 3, provenSeconds: 5, holdMs: 5_000, renewed: true },
    { validSeconds: 50, provenSeconds: 60, holdMs: 60_000, renewed: true },
  ])('that lives as long as the proof almost is not renewed: %o', ({ validSeconds, renewed, ...changes }) => {
    const { kept, renewals } = planAddresses(there({ validSeconds }), title(changes))
    expect(kept).toEqual([vip])
    expect(renewals).toEqual(
      renewed ? [{ type: 'renew', address, interface: 'eth0', seconds: changes.provenSeconds }] : [],
    )
  })
})

describe('a VIP that is not on the node', () => {
  test.each<[boolean, Partial<Title>]>([
    [true, {}],
    [true, { provenSeconds: 1 }],
    [false, { provenSeconds: 0 }],
    [false, { yielded: new Set([address]) }],
    [false, { owned: nobody }],
  ])('is to be taken: %s, with %o', (missing, changes) => {
    expect(planAddresses(nothing, title(changes)).missing).toEqual(missing ? [vip] : [])
  })

  test('has its place on the interface that the leader named', () => {
    const link: ObservedLink = { name: 'eth0', index: 2, mac: '02:00:00:00:00:01', subnets: [] }
    const others = { ...link, name: 'eth1', index: 3 }
    expect(placeOf(vip, { links: [others, link], foreign: new Map() })).toEqual({ ok: true, value: link })
    expect(placeOf(vip, { links: [others], foreign: new Map([[address, 'eth1']]) })).toMatchObject({
      error: { code: 'AddressNotSet', message: 'there is no interface eth0 that is up' },
    })
    expect(placeOf(vip, { links: [link], foreign: new Map([[address, 'br0']]) })).toMatchObject({
      error: {
        code: 'AddressInUse',
        message: 'the node has it on br0, and not from Bellhop: take it away there',
      },
    })
  })
})
