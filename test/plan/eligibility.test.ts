import { expect, test } from 'vitest'
import { type DrainPhase, drainAnnotation } from '../../src/plan/drain.ts'
import { excludeLabel, judgeNode, type NodeEligibility, nextHopAnnotation } from '../../src/plan/eligibility.ts'
import { ip, node } from '../vip/cluster.ts'

type Over = Parameters<typeof node>[2]
const verdicts = (addresses: readonly string[], over: Over = {}, liveness?: 'up' | 'down') => {
  const { IPv4, IPv6 } = judgeNode(node('n1', addresses, over), liveness)
  return [IPv4, IPv6].map((verdict) => (verdict.ok ? verdict.address : verdict.because))
}
const both = ['10.0.0.11', '2001:db8::11']

// "Which nodes may be next hops": every reason why not.
test.each<[string, Over, 'up' | 'down' | undefined, string | undefined]>([
  ['an ordinary node', {}, undefined, undefined],
  [
    'a node with other labels and annotations',
    { meta: { labels: { a: 'b' }, annotations: { c: 'd' } } },
    undefined,
    undefined,
  ],
  ['a node that is being deleted', { meta: { deleting: true } }, undefined, 'is being deleted'],
  [
    'a node with the exclude label',
    { meta: { labels: { [excludeLabel]: '' } } },
    undefined,
    `carries the label ${excludeLabel}`,
  ],
  [
    'a node with the exclude label "false": its presence counts',
    { meta: { labels: { [excludeLabel]: 'false' } } },
    undefined,
    `carries the label ${excludeLabel}`,
  ],
  ['a node without network', { networkUnavailable: true }, undefined, 'has the condition NetworkUnavailable'],
  [
    'a drained node',
    { meta: { annotations: { [drainAnnotation]: 'true' } } },
    undefined,
    `is drained (annotation ${drainAnnotation})`,
  ],
  ['a node that is not to be drained', { meta: { annotations: { [drainAnnotation]: 'false' } } }, undefined, undefined],
  ['a node that is not Ready', { ready: false }, undefined, 'is not Ready'],
  ['a node that is not Ready and answers our own detection', { ready: false }, 'up', undefined],
  ['a Ready node that does not answer', {}, 'down', 'does not answer: its BFD session is down'],
])('%s', (_, over, liveness, because) => {
  expect(verdicts(both, over, liveness)).toEqual(because === undefined ? both : [because, because])
})

test.each<[string, string, DrainPhase | undefined, NodeEligibility['IPv4']]>([
  ['is out where nobody keeps account of drains', 'true', undefined, outForGood()],
  ['stays until its drain begins', '2026-01-01T00:00:00Z', 'staying', { ok: true, address: ip('10.0.0.11') }],
  ['leaves while it still serves', 'true', 'leaving', { ok: true, address: ip('10.0.0.11'), leaving: true }],
  ['is out when the grace time is over', 'true', 'left', outForGood()],
  ['stays when the annotation is taken back', 'false', 'leaving', { ok: true, address: ip('10.0.0.11') }],
])('a drained node %s', (_, value, phase, verdict) => {
  const drained = node('n1', both, { meta: { annotations: { [drainAnnotation]: value } } })
  expect(judgeNode(drained, undefined, phase).IPv4).toEqual(verdict)
})

function outForGood(): NodeEligibility['IPv4'] {
  return { ok: false, code: 'not-eligible', because: `is drained (annotation ${drainAnnotation})` }
}

test('a node that leaves and is dead is dead', () => {
  const drained = node('n1', both, { meta: { annotations: { [drainAnnotation]: 'true' } } })
  expect(judgeNode(drained, 'down', 'leaving').IPv4.ok).toBe(false)
})

const missing = (family: string): string =>
  `has no ${family} InternalIP, and no ${family} address in the annotation ${nextHopAnnotation}`
const annotated = (value: string): Over => ({ meta: { annotations: { [nextHopAnnotation]: value } } })

test.each<[string, readonly string[], Over, readonly string[]]>([
  ['the first InternalIP of each family', ['10.0.0.1', '10.0.0.2', 'fd00::1'], {}, ['10.0.0.1', 'fd00::1']],
  ['only what there is', ['10.0.0.1'], {}, ['10.0.0.1', missing('IPv6')]],
  ['nothing without an address', [], {}, [missing('IPv4'), missing('IPv6')]],
  [
    'the annotation before the InternalIP',
    ['10.0.0.1', 'fd00::1'],
    annotated('192.0.2.1,2001:db8::9'),
    ['192.0.2.1', '2001:db8::9'],
  ],
  [
    'the InternalIP where the annotation says nothing of the family',
    ['10.0.0.1', 'fd00::1'],
    annotated('192.0.2.1'),
    ['192.0.2.1', 'fd00::1'],
  ],
  [
    'not what is no address',
    ['10.0.0.1'],
    annotated('eth1'),
    Array(2).fill(`has "eth1" in the annotation ${nextHopAnnotation}, which is not an IP address`),
  ],
  [
    'not one of two',
    ['fd00::1'],
    annotated('192.0.2.1,192.0.2.2'),
    [`has two IPv4 addresses in the annotation ${nextHopAnnotation}`, 'fd00::1'],
  ],
])('its next hop is %s', (_, addresses, over, expected) => {
  expect(verdicts(addresses, over)).toEqual(expected)
})

// Announcing 3: some routers drop the session over a next hop that is no unicast host.
test.each([
  ['0.0.0.0', 'is in 0.0.0.0/8 ("this network")'],
  ['127.0.0.1', 'is a loopback address'],
  ['224.0.0.5', 'is a multicast address'],
  ['255.255.255.255', 'is the broadcast address'],
  ['240.0.0.1', 'is in 240.0.0.0/4 (reserved)'],
])('%s is no next hop', (address, because) => {
  expect(verdicts([address])[0]).toBe(`has the address ${address}, which ${because}`)
})

test.each([
  ['::1', 'is the loopback address'],
  ['ff02::1', 'is a multicast address'],
  ['::ffff:10.0.0.1', 'is an IPv4-mapped address'],
  ['fe80::1', 'is link-local: a third party cannot be reached by it'],
])('%s is no next hop', (address, because) => {
  expect(verdicts([address])[1]).toMatch(new RegExp(`which ${because}$`))
})
