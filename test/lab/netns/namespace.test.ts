// What the lab reads off the kernel, and the lines it tells people to type.

import { expect, test } from 'vitest'
import { namespaceNamed, nextHopsFromJson } from '../../../src/lab/netns/namespace.ts'
import { systemExec } from '../../../src/runtime/exec.ts'

test.each<[string, unknown, readonly string[]]>([
  [
    'one route with legs',
    [{ metric: 20, nexthops: [{ gateway: '10.0.0.1' }, { gateway: '10.0.0.2' }] }],
    ['10.0.0.1', '10.0.0.2'],
  ],
  [
    'one route a leg',
    [
      { metric: 20, gateway: 'fd00::1' },
      { metric: 20, gateway: 'fd00::2' },
    ],
    ['fd00::1', 'fd00::2'],
  ],
  [
    'a route beside one with a worse metric',
    [{ metric: 32, gateway: '10.0.0.1' }, { gateway: '10.0.0.2' }],
    ['10.0.0.2'],
  ],
  ['a next hop of the other family', [{ via: { family: 'inet6', host: 'fe80::1' } }], ['fe80::1']],
  ['no route', [], []],
])('the kernel forwards by the legs of %s', (_what, routes, expected) => {
  expect(nextHopsFromJson(JSON.stringify(routes)).map(({ via }) => via)).toEqual(expected)
})

test.each([
  [['birdc', 'show', 'route', '2001:db8::1/128'], 'ip netns exec lab-1.0-leaf1 birdc show route 2001:db8::1/128'],
  [['vtysh', '-c', 'show bgp'], "ip netns exec lab-1.0-leaf1 vtysh -c 'show bgp'"],
  [['echo', "it's"], "ip netns exec lab-1.0-leaf1 echo 'it'\\''s'"],
])('%j is typed as one line', (argv, line) => {
  const namespace = namespaceNamed('leaf1', 'lab-1.0-leaf1', { exec: systemExec, onSpawn: () => {} })
  expect(namespace.commandLine(argv)).toBe(line)
})
