// What agents tell controllers of their nodes' links: the same after it was written and read, and harmless when it is not.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  linksAnnotation,
  type NodeLinks,
  parseNodeLinks,
  refusalsAnnotation,
  renderNodeLinks,
} from '../../src/layer2/links.ts'
import { parseIp } from '../../src/net/ip.ts'
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
  refusals: new Map([
    [must(parseIp('fd00:10::100')), { reason: 'AddressInUse', message: '02:00:00:00:00:09 answers for it on eth0' }],
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
