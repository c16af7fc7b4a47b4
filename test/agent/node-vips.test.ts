// What an agent keeps of the Vips, against the lab's API server: which changes it is told of, and that what did not change stays the
// very value that it was.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { followNodeVips, type NodeVip, type NodeVips } from '../../src/agent/node-vips.ts'
import type { JsonObject } from '../../src/lab/apiserver/json.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { startTestCluster, type TestCluster } from '../k8s/support/api-server.ts'

let cluster: TestCluster
let stop: AbortController
let vips: NodeVips
let told: number

const claim = { namespace: 'shop', name: 'web', uid: 'u1', ports: [{ protocol: 'TCP', port: 80 }], shareKey: '' }
const put = (address: string, spec: JsonObject = {}, status?: JsonObject): unknown =>
  cluster.server.objects.put({
    ...{ apiVersion: 'bellhop.io/v1alpha1', kind: 'Vip', metadata: { name: address } },
    spec: { address, pool: 'default', services: [claim], ...spec },
    ...(status === undefined ? {} : { status }),
  })
const at = (address: string): NodeVip | undefined => [...vips.all()].find(({ rules }) => rules.address === address)
const follow = (): void => {
  told = 0
  vips = followNodeVips({
    ...{ client: cluster.client, clock: systemClock, random: () => 0.5, log: silentLog, signal: stop.signal },
  })
  vips.onChange(() => told++)
}
const tells = (times: number): Promise<unknown> => waitFor(() => told >= times, { what: `notice ${times}` })

beforeEach(async () => {
  cluster = await startTestCluster()
  stop = new AbortController()
})
afterEach(async () => {
  stop.abort()
  await cluster.stop()
})

test('a cluster without Vips is a complete list, too', async () => {
  follow()
  await tells(1)
  expect([vips.synced(), [...vips.all()]]).toEqual([true, []])
})

test('of a Vip there is what a node needs, and lists of ports that are equal are one', async () => {
  put('203.0.113.1', { layer2: { node: 'n1', interface: 'eth0' } })
  put('203.0.113.2')
  follow()
  await tells(1)
  expect(at('203.0.113.1')).toEqual({
    rules: { address: '203.0.113.1', ports: [{ protocol: 'TCP', port: 80, sourceRanges: [] }] },
    layer2: { node: 'n1', interface: 'eth0' },
    deleting: false,
  })
  expect(at('203.0.113.2')?.rules.ports).toBe(at('203.0.113.1')?.rules.ports)
})

test.each<[what: string, spec: JsonObject, status: JsonObject | undefined, isNews: boolean]>([
  ['its status', {}, { conditions: [] }, false],
  ['the name of its Service', { services: [{ ...claim, name: 'other' }] }, undefined, false],
  ['its ports', { services: [{ ...claim, ports: [{ protocol: 'UDP', port: 53 }] }] }, undefined, true],
  ['who may come', { services: [{ ...claim, sourceRanges: ['10.0.0.0/8'] }] }, undefined, true],
  ['its owner on the link', { layer2: { node: 'n2', interface: 'eth0' } }, undefined, true],
])('when %s changes', async (_what, spec, status, isNews) => {
  put('203.0.113.1')
  follow()
  await tells(1)
  const before = at('203.0.113.1')
  put('203.0.113.1', spec, status)
  // What comes after it has been told when it has.
  put('203.0.113.9')
  await waitFor(() => at('203.0.113.9') !== undefined, { what: 'the later Vip' })
  expect(at('203.0.113.1') === before).toBe(!isNews)
})

test('one that goes is gone, and so is what went while the watch was broken', async () => {
  for (const address of ['203.0.113.1', '203.0.113.2', '203.0.113.3']) put(address)
  follow()
  await tells(1)
  const kept = at('203.0.113.3')
  const remove = (name: string): unknown =>
    cluster.server.objects.delete({ apiVersion: 'bellhop.io/v1alpha1', kind: 'Vip', name })
  remove('203.0.113.1')
  await tells(2)
  expect(at('203.0.113.1')).toBeUndefined()
  await cluster.server.stop()
  remove('203.0.113.2')
  cluster.server.compact()
  await cluster.server.restart({ keepData: true })
  await waitFor(() => at('203.0.113.2') === undefined, { what: 'the list anew', timeoutMs: 30_000 })
  expect(at('203.0.113.3')).toBe(kept)
})
