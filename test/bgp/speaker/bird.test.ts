// One session with a router we did not write: BIRD in one network namespace, the speaker's program in another, secured as real
// ones are. What matters of the many routers is in test/interop; this is the first thing to look at when that fails.

import path from 'node:path'
import { expect, test } from 'vitest'
import { createNetwork } from '../../../src/lab/netns/network.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { createRouter } from '../../../src/lab/routers/create-router.ts'
import { hostPrefix } from '../../../src/net/prefix.ts'
import { peerWith, startSpeaker } from '../../interop/speaker.ts'
import { asn, ip, routerId, routeTo } from './bench.ts'

test('BIRD takes two next hops of a VIP as one ECMP route, over a session with TCP-MD5 and GTSM', async () => {
  await using network = await createNetwork({ prefix: 'bhspk' })
  const routerNamespace = await network.addNamespace('router', { forwarding: true })
  const speakerNamespace = await network.addNamespace('speaker')
  await network.connect(
    { at: routerNamespace, addresses: ['10.77.0.1/24'] },
    { at: speakerNamespace, addresses: ['10.77.0.10/24'] },
  )
  const secured = { password: 'correct horse', ttlSecurityHops: 1 }
  const router = createRouter('bird', {
    name: 'bird',
    namespace: routerNamespace,
    directory: network.directory,
    asn: 65001,
    routerId: ip('10.77.0.1'),
    neighbors: [{ address: ip('10.77.0.10'), asn: 64512, addPath: true, ...secured }],
  })
  await router.start()
  const peer = peerWith({
    name: 'bird',
    address: ip('10.77.0.1'),
    peerAsn: asn(65001),
    localAsn: asn(64512),
    families: ['ipv4-unicast'],
    ...secured,
  })
  const speaker = startSpeaker(
    speakerNamespace,
    { routerId: routerId('10.77.0.10'), listenPort: 179, peers: [peer] },
    [routeTo('203.0.113.10', '10.77.0.101', '10.77.0.102')],
    { logPath: path.join(network.directory, 'speaker.log') },
  )
  const status = await speaker.waitForStatus('bird', 'Established', ({ state }) => state === 'Established')
  expect(status).toMatchObject({ addPath: ['ipv4-unicast'], holdTimeSeconds: 9, peerRouterId: '10.77.0.1' })
  const vip = hostPrefix(ip('203.0.113.10'))
  await waitFor(async () => (await router.kernelNextHops(vip)).length === 2, { what: 'two legs in the kernel' })
  expect(await router.kernelNextHops(vip)).toEqual(['10.77.0.101', '10.77.0.102'])
  await speaker.stop('the test is over')
  await waitFor(async () => (await router.kernelNextHops(vip)).length === 0, { what: 'no legs in the kernel' })
})
