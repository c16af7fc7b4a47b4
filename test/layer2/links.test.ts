// What agents tell controllers of their nodes' links: the same after it was written and read, and harmless when it is not.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  holdSecondsAnnotation,
  linksAnnotation,
  type NodeLinks,
  parseHoldMs,
  parseNodeLinks,
  refusalsAnnotation,
  renderNodeLinks,
} from '../../src/layer2/links.ts'
import { type Ip, parseIp } from '../../src/net/ip.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import { must } from '../../src/runtime/result.ts'

const links: NodeLinks = {
  links: [
    {
      name: 'eth0',
      mac: '02:00:00:00:00:01',
      subnets: [must(parsePrefix('10.0.0.0/24')), must(parsePrefix('fd00:10::/64'))],
    },
    { name: 'bond0.20', mac: '02:00:00:00:00:02', subnets: [] },
  ],
  holds: { vips: new Set([must(parseIp('10.0.0.100')), must(parseIp('fd00:10::101'))]), more: false },
  refusals: new Map([
    [
      must(parseIp('fd00:10::100')),
      { reason: 'AddressInUse', message: '02:00:00:00:00:09 answers for it on eth0', scope: 'link' },
    ],
    [must(parseIp('fd00:10::102')), { reason: 'AddressNotSet', message: 'not permitted', scope: 'node' }],
  ]),
  answersForAll: true,
}

test('what is written is what is read', () => {
  expect(parseNodeLinks(renderNodeLinks(links))).toEqual(links)
  const quiet = { links: [], refusals: new Map(), answersForAll: false }
  expect(parseNodeLinks(renderNodeLinks(quiet))).toEqual(quiet)
})

test('it can be read by people', () => {
  expect(renderNodeLinks(links)[linksAnnotation]).toBe(
    'eth0 02:00:00:00:00:01 10.0.0.0/24,fd00:10::/64; bond0.20 02:00:00:00:00:02',
  )
})

test('an agent that holds nothing says so, and one that does not say is another thing', () => {
  const holds = { vips: new Set<Ip>(), more: false }
  const idle = { links: [], holds, refusals: new Map(), answersForAll: false }
  expect(parseNodeLinks(renderNodeLinks(idle))).toEqual(idle)
  expect(parseNodeLinks({ [linksAnnotation]: '' })?.holds).toBe(undefined)
})

test('beyond a thousand VIPs a node says that there are more', () => {
  const vips = new Set(Array.from({ length: 1_001 }, (_, i) => must(parseIp(`10.0.${i >> 8}.${i & 255}`))))
  const read = parseNodeLinks(renderNodeLinks({ ...links, holds: { vips, more: false } }))
  expect([read?.holds?.vips.size, read?.holds?.more]).toEqual([1_000, true])
})

test.each<[text: string | undefined, ms: number | undefined]>([
  ['15', 15_000],
  [undefined, undefined],
  ['0', undefined],
  ['soon', undefined],
])('how long a node answers without a sign: %s is %s ms', (text, ms) => {
  expect(parseHoldMs(text === undefined ? {} : { [holdSecondsAnnotation]: text })).toBe(ms)
})

test('an agent that says nothing of links knows no layer 2', () => {
  expect(parseNodeLinks({ 'bellhop.io/node': 'n1' })).toBe(undefined)
})

test('no text makes the reader throw', () => {
  fc.assert(
    fc.property(fc.string(), fc.oneof(fc.string(), fc.json()), (text, refusals) => {
      const read = parseNodeLinks({ [linksAnnotation]: text, [refusalsAnnotation]: refusals })
      expect(read?.links.every(({ name }) => name !== '')).toBe(true)
    }),
  )
})
