// What is left of Bellhop after `bellhop uninstall`, by what stood there before: on an API server, with the definitions of our kinds and
// after they are gone.

import { afterEach, describe, expect, test } from 'vitest'
import { uninstall } from '../../src/cli/uninstall.ts'
import type { JsonObject } from '../../src/lab/apiserver/json.ts'
import type { Clock } from '../../src/runtime/clock.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { startTestCluster, type TestCluster } from '../k8s/support/api-server.ts'

const finalizer = 'service.kubernetes.io/load-balancer-cleanup'
const ours = { type: 'bellhop.io/Allocated', status: 'True', reason: 'Allocated', message: '' }
const announced = { type: 'bellhop.io/Announced', status: 'True', reason: 'Announced', message: '' }
const theirs = { type: 'example.com/Seen', status: 'True', reason: 'Seen', message: '' }

let cluster: TestCluster
afterEach(() => cluster.stop())

interface Given {
  readonly finalizers?: readonly string[]
  readonly ingress?: readonly string[]
  readonly conditions?: readonly JsonObject[]
}
const served: Given = { finalizers: [finalizer], ingress: ['203.0.113.10'], conditions: [ours, announced] }
const reference = { apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'web' }

function putService({ finalizers = [], ingress = [], conditions = [] }: Given): void {
  const time = '2026-01-01T00:00:00Z'
  cluster.server.objects.put({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'default', finalizers } },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
    status: {
      loadBalancer: { ingress: ingress.map((ip) => ({ ip, ipMode: 'VIP' })) },
      conditions: conditions.map((each) => ({ lastTransitionTime: time, ...each })),
    },
  })
}
const uidOf = (object: JsonObject | undefined): string =>
  String((object?.['metadata'] as JsonObject | undefined)?.['uid'])
function putVip(address: string, uid = uidOf(cluster.server.objects.get(reference))): void {
  const claim = { namespace: 'default', name: 'web', uid, ports: [{ protocol: 'TCP', port: 80 }], shareKey: '' }
  cluster.server.objects.put({
    ...{ apiVersion: 'bellhop.io/v1alpha1', kind: 'Vip', metadata: { name: address } },
    spec: { address, pool: 'default', services: [claim] },
  })
}
function putLease(renewTime: Date): void {
  cluster.server.objects.put({
    ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' },
    metadata: { name: 'bellhop-replica-c1', namespace: 'bellhop-system', labels: { 'bellhop.io/role': 'controller' } },
    spec: { holderIdentity: 'c1', leaseDurationSeconds: 15, renewTime: renewTime.toISOString().replace('Z', '000Z') },
  })
}

/** `meanwhile` happens while uninstall waits for something, which takes no time here. */
async function run({
  meanwhile = () => {},
  ...over
}: {
  readonly keepAddresses?: boolean
  readonly dryRun?: boolean
  readonly meanwhile?: () => void
} = {}): Promise<{
  readonly done: Awaited<ReturnType<typeof uninstall>>
  readonly said: readonly string[]
}> {
  const said: string[] = []
  const clock: Clock = {
    ...systemClock,
    setTimer: (_delayMs, fire) => {
      meanwhile()
      return systemClock.setTimer(0, fire)
    },
  }
  const done = await uninstall({
    ...{ client: cluster.client, clock, namespace: 'bellhop-system', keepAddresses: false, dryRun: false },
    say: (line) => void said.push(line),
    ...over,
  })
  return { done, said }
}

function left(): {
  readonly finalizers: unknown
  readonly ingress: unknown
  readonly conditions: unknown
  readonly vips: number
} {
  const service = cluster.server.objects.get(reference)
  const status = service?.['status'] as JsonObject | undefined
  return {
    finalizers: (service?.['metadata'] as JsonObject | undefined)?.['finalizers'] ?? [],
    ingress:
      ((status?.['loadBalancer'] as JsonObject | undefined)?.['ingress'] as readonly JsonObject[] | undefined)?.map(
        ({ ip }) => ip,
      ) ?? [],
    conditions: (status?.['conditions'] as readonly JsonObject[] | undefined)?.map(({ type }) => type) ?? [],
    vips: cluster.server.objects.list('bellhop.io/v1alpha1', 'Vip').length,
  }
}
const nothing = { finalizers: [], ingress: [], conditions: [], vips: 0 }

describe('bellhop uninstall', () => {
  test.each<[string, Given, string | undefined, Partial<ReturnType<typeof left>>]>([
    ['a Service that is served', served, '203.0.113.10', {}],
    [
      'one that shares its finalizers and conditions with others',
      { ...served, finalizers: ['example.com/x', finalizer], conditions: [ours, theirs] },
      '203.0.113.10',
      { finalizers: ['example.com/x'], conditions: ['example.com/Seen'] },
    ],
    ['one whose Vip is gone', served, undefined, {}],
    [
      'one that was refused, and has what another controller gave it',
      { ingress: ['192.0.2.7'], conditions: [{ ...ours, status: 'False', reason: 'NoPool' }] },
      undefined,
      { ingress: ['192.0.2.7'] },
    ],
    [
      'one that was given an address a moment ago, and shows it not yet',
      { finalizers: [finalizer] },
      '203.0.113.10',
      {},
    ],
    [
      'one that has nothing of ours',
      { finalizers: ['example.com/x'], ingress: ['192.0.2.7'], conditions: [theirs] },
      undefined,
      { finalizers: ['example.com/x'], ingress: ['192.0.2.7'], conditions: ['example.com/Seen'] },
    ],
  ])('%s keeps nothing of ours, and everything of others', async (_, given, vip, remaining) => {
    cluster = await startTestCluster()
    putService(given)
    if (vip !== undefined) putVip(vip)
    expect((await run()).done).toEqual({ ok: true, value: true })
    expect(left()).toEqual({ ...nothing, ...remaining })
    // And a second time finds nothing.
    expect(await run()).toEqual({ done: { ok: true, value: true }, said: ['0 Services cleaned, 0 Vips deleted'] })
  })

  test('lets go of a Service that is being deleted, with and without the definitions of our kinds', async () => {
    cluster = await startTestCluster()
    putService(served)
    await cluster.client.request({ method: 'DELETE', path: '/api/v1/namespaces/default/services/web' })
    for (const name of ['vips', 'vippools', 'bgpconfs', 'bgppeers', 'bgppolicies'])
      cluster.server.objects.delete({
        ...{ apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' },
        name: `${name}.bellhop.io`,
      })
    expect(cluster.server.objects.get(reference)).toBeDefined()
    const { done, said } = await run()
    expect([done, cluster.server.objects.get(reference)]).toEqual([{ ok: true, value: true }, undefined])
    expect(said).toEqual([
      'Service default/web: 203.0.113.10, the finalizer, the conditions',
      '1 Services cleaned, 0 Vips deleted',
      'the definitions of the Vips are gone: the Services said themselves what was ours',
    ])
  })

  test('a finalizer of which nothing says whose it is stays, and the exit status says that somebody has to decide', async () => {
    cluster = await startTestCluster()
    putService({ finalizers: [finalizer], ingress: ['192.0.2.7'] })
    const { done, said } = await run()
    expect([done, left().finalizers]).toEqual([{ ok: true, value: false }, [finalizer]])
    expect(said[0]).toContain('? Service default/web has the finalizer')
  })

  test('a finalizer that a leader of ours put there goes, whatever else is there', async () => {
    cluster = await startTestCluster()
    putService({ ingress: ['192.0.2.7'] })
    const patched = await cluster.client.request({
      ...{ method: 'PATCH', path: '/api/v1/namespaces/default/services/web', patchType: 'merge' },
      query: { fieldManager: 'bellhop-leader' },
      body: { metadata: { finalizers: [finalizer] } },
    })
    expect(patched.ok).toBe(true)
    const { done } = await run()
    expect([done, left()]).toEqual([
      { ok: true, value: true },
      { ...nothing, ingress: ['192.0.2.7'] },
    ])
  })

  test('addresses may stay for whoever serves the Services next', async () => {
    cluster = await startTestCluster()
    putService(served)
    putVip('203.0.113.10')
    await run({ keepAddresses: true })
    expect(left()).toEqual({ ...nothing, ingress: ['203.0.113.10'] })
  })

  test('a dry run says the same and does nothing', async () => {
    cluster = await startTestCluster()
    putService(served)
    putVip('203.0.113.10')
    const before = left()
    expect((await run({ dryRun: true })).said).toEqual([
      'Service default/web: 203.0.113.10, the finalizer, the conditions',
      '1 Services to clean, 1 Vips to delete',
    ])
    expect(left()).toEqual(before)
  })

  test('nothing is done while a controller runs, which would undo it; one that died long ago does not count', async () => {
    cluster = await startTestCluster()
    cluster.server.objects.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bellhop-system' } })
    putService(served)
    putLease(new Date())
    const before = left()
    const refused = await run()
    expect([refused.said, left()]).toEqual([[], before])
    expect(refused.done).toMatchObject({
      ok: false,
      error: expect.stringContaining('scale deployment bellhop-controller'),
    })
    putLease(new Date(Date.now() - 600_000))
    expect((await run()).done).toEqual({ ok: true, value: true })
    expect(left()).toEqual(nothing)
  })

  test.each([-3_600_000, 3_600_000])(
    'a controller that runs with a clock that differs by %i ms is seen to run; one that is dead, to be dead',
    async (aheadMs) => {
      cluster = await startTestCluster()
      cluster.server.objects.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bellhop-system' } })
      putService(served)
      let renewals = 0
      const renew = (): void => putLease(new Date(Date.now() + aheadMs + 1000 * renewals++))
      renew()
      const before = left()
      const refused = await run({ meanwhile: renew })
      expect(refused.said).toEqual([expect.stringContaining('c1')])
      expect([refused.done.ok, left()]).toEqual([false, before])
      expect((await run()).done).toEqual({ ok: true, value: true })
      expect(left()).toEqual(nothing)
    },
  )

  test('somebody who edits a Service at the same time loses nothing', async () => {
    cluster = await startTestCluster()
    putService(served)
    const { request } = cluster.client
    let edited = false
    const meddling = {
      ...cluster.client,
      request: async (wanted: Parameters<typeof request>[0]) => {
        if (wanted.method === 'PATCH' && !edited) {
          edited = true
          cluster.server.objects.update(reference, (object) => ({
            ...object,
            metadata: { ...(object['metadata'] as JsonObject), finalizers: [finalizer, 'example.com/late'] },
          }))
        }
        return request(wanted)
      },
    }
    const said: string[] = []
    const done = await uninstall({
      ...{ client: meddling, clock: systemClock, namespace: 'bellhop-system', keepAddresses: false, dryRun: false },
      say: (line) => void said.push(line),
    })
    expect([done, left()]).toEqual([
      { ok: true, value: true },
      { ...nothing, finalizers: ['example.com/late'] },
    ])
  })
})
