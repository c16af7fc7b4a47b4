// Bellhop from the outside: kubectl on one side, a BGP neighbour on the other, controller processes in between. The scenarios run
// on the embedded API server, or, by `make test-cluster`, on the cluster that KUBECONFIG names.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Fault } from '../../src/lab/apiserver/faults.ts'
import type { RunningController } from '../../src/lab/loopback/programs.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import type { Ip } from '../../src/net/ip.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { describeWith } from '../support/privileges.ts'
import { type ApiCluster, type ClusterNode, clusterKinds, createApiCluster } from './support-cluster.ts'
import { type ApiReader, baseManifests, createReader, service, slice } from './support-objects.ts'
import { grantedRights, type RecordedRights, recordRights } from './support-rights.ts'

interface Failure {
  readonly mend: () => void
}

/** So many failed requests are enough to see every kind of request fail. */
const requestsMet = 20

describeWith({ programs: ['kubectl'] }, 'Bellhop at the API', () => {
  describe.each(clusterKinds)('of a cluster (%s)', (kind) => {
    let cluster: ApiCluster
    let api: ApiReader
    const replicas = new Map<string, RunningController>()
    let rights: RecordedRights | undefined
    const start = async (name: string): Promise<void> =>
      void replicas.set(name, await cluster.startController(`${cluster.run}-${name}`))

    beforeAll(async () => {
      cluster = await createApiCluster(kind)
      api = createReader(cluster)
      rights = cluster.embedded && recordRights(cluster.embedded, 'controller')
    }, 120_000)
    afterAll(() => cluster?.destroy(), 120_000)

    /** Resolves once the leaf has exactly these nodes as next hops for the address. */
    const leafHas = (vip: Ip, nodes: readonly ClusterNode[]): Promise<unknown> => {
      const prefix = hostPrefix(vip)
      const expected = nodes.flatMap((node) => (vip.includes(':') ? node.ipv6 : node.ipv4) ?? [])
      return waitFor(() => cluster.leaf.nextHops(prefix).join() === expected.join(), {
        what: `${prefix} via ${expected.join(', ') || 'nothing'} at the leaf`,
        evidence: () => `it has ${cluster.leaf.nextHops(prefix).join(', ') || 'nothing'}`,
        timeoutMs: 30_000,
      })
    }
    const sessionsAre = (count: number): Promise<unknown> =>
      waitFor(
        () =>
          cluster.leaf.sessions().filter(({ state, endOfRib }) => state === 'Established' && endOfRib.length === 2)
            .length === count,
        { what: `${count} sessions with End-of-RIB at the leaf`, timeoutMs: 30_000 },
      )
    /** A Service with an address and every node as a next hop. */
    const announced = async (name: string): Promise<Ip> => {
      await api.apply(service(cluster, name), slice(cluster, name, cluster.nodes))
      const [vip = '' as Ip] = await api.addressesOf(name)
      await leafHas(vip, cluster.nodes)
      return vip
    }

    test('the CRDs are Established and their kinds are served', async () => {
      const { kubectl } = cluster
      await kubectl.must(
        'wait --for=condition=Established --timeout=30s crd/vips.bellhop.io crd/vippools.bellhop.io crd/bgppeers.bellhop.io crd/bgpconfs.bellhop.io crd/bgppolicies.bellhop.io'.split(
          ' ',
        ),
      )
      const kinds = await kubectl.must('api-resources --api-group=bellhop.io -o name'.split(' '))
      expect(kinds.trim().split('\n').sort()).toEqual(
        ['bgpconfs', 'bgppeers', 'bgppolicies', 'vippools', 'vips'].map((plural) => `${plural}.bellhop.io`),
      )
    })

    test('two replicas open a session each, and the BgpPeer says so', async () => {
      await start('a')
      await start('b')
      await api.apply(...baseManifests(cluster))
      await sessionsAre(2)
      const summary = `get bgppeer ${cluster.run}-leaf -o jsonpath={.status.sessionsSummary}`
      await waitFor(async () => (await cluster.kubectl.must(summary.split(' '))) === '2/2', { what: 'sessions 2/2' })
    })

    test('a Service gets an address of the pool, recorded in a Vip; without endpoints it is not announced', async () => {
      await api.apply(service(cluster, 'plain'))
      const [vip = '' as Ip] = await api.addressesOf('plain')
      expect(vip).toMatch(/^203\.0\.113\.\d+$/)
      await api.becomes('plain', { type: 'Allocated', status: 'True', reason: 'Allocated' })
      await api.becomes('plain', { type: 'Announced', status: 'False', reason: 'NoReadyEndpoints' })
      const uid = (await api.service('plain'))?.metadata.uid
      expect((await api.vips()).find(({ spec }) => spec.address === vip)).toMatchObject({
        metadata: { name: vip },
        spec: { pool: `${cluster.run}-auto`, services: [{ namespace: cluster.namespace, name: 'plain', uid }] },
      })
      expect(cluster.leaf.nextHops(hostPrefix(vip))).toEqual([])
      await api.remove('plain')
    })

    test('the next hops are the nodes with ready endpoints, whatever happens to them', async () => {
      const vip = await announced('ready')
      const [first] = cluster.nodes
      const others = cluster.nodes.slice(1)
      await api.apply(slice(cluster, 'ready', others))
      await leafHas(vip, others)
      await api.apply(slice(cluster, 'ready', []))
      await leafHas(vip, [])
      expect(await api.addressesOf('ready')).toEqual([vip])
      if (first !== undefined) await api.apply(slice(cluster, 'ready', [first]))
      await leafHas(vip, cluster.nodes.slice(0, 1))
      await api.becomes('ready', { type: 'Announced', status: 'True' })
      await api.remove('ready')
      await leafHas(vip, [])
    })

    test('a Service that prefers dual stack has an address of each family that the cluster has, with next hops of its own', async () => {
      await api.apply(
        service(cluster, 'dual', { spec: { ipFamilyPolicy: 'PreferDualStack' } }),
        slice(cluster, 'dual', cluster.nodes, 'IPv4'),
        slice(cluster, 'dual', cluster.nodes.slice(0, 1), 'IPv6'),
      )
      const vips = await api.addressesOf('dual', cluster.dualStack ? 2 : 1)
      expect(vips.filter((vip) => vip.includes(':'))).toHaveLength(cluster.dualStack ? 1 : 0)
      const nodesOf = (vip: Ip): readonly ClusterNode[] =>
        vip.includes(':') ? cluster.nodes.slice(0, 1) : cluster.nodes
      for (const vip of vips) await leafHas(vip, nodesOf(vip))
      await api.remove('dual')
      for (const vip of vips) await leafHas(vip, [])
    })

    test('a requested address is given, one that is taken or in no pool is refused with the reason', async () => {
      const ask = (name: string, address: string): ReturnType<typeof service> =>
        service(cluster, name, { annotations: { 'bellhop.io/ips': address } })
      await api.apply(ask('asks', '203.0.113.77'))
      expect(await api.addressesOf('asks')).toEqual(['203.0.113.77'])
      await api.apply(ask('late', '203.0.113.77'), ask('lost', '192.0.2.200'))
      await api.becomes('late', { type: 'Allocated', status: 'False', reason: 'AddressInUse' })
      await api.becomes('lost', { type: 'Allocated', status: 'False', reason: 'AddressNotInPool' })
      await api.remove('asks')
      expect(await api.addressesOf('late')).toEqual(['203.0.113.77'])
      await api.remove('late', 'lost')
    })

    test('a named pool is used although it assigns nothing by itself; an exhausted one recovers', async () => {
      const from = (name: string, pool: string): ReturnType<typeof service> =>
        service(cluster, name, { annotations: { 'bellhop.io/pool': `${cluster.run}-${pool}` } })
      await api.apply(from('named', 'named'), from('tiny-1', 'tiny'), from('tiny-2', 'tiny'))
      expect((await api.addressesOf('named'))[0]).toMatch(/^198\.51\.100\.\d$/)
      const taken = [...(await api.addressesOf('tiny-1')), ...(await api.addressesOf('tiny-2'))]
      expect(taken.sort()).toEqual(['198.51.100.128', '198.51.100.129'])
      await api.apply(from('tiny-3', 'tiny'))
      await api.becomes('tiny-3', { type: 'Allocated', status: 'False', reason: 'PoolExhausted' })
      const [freed] = await api.addressesOf('tiny-1')
      await api.remove('tiny-1')
      expect(await api.addressesOf('tiny-3')).toEqual([freed])
      await api.remove('named', 'tiny-2', 'tiny-3')
    })

    test('a deleted Service keeps its address until its route is withdrawn; then nothing is left', async () => {
      const vip = await announced('goes')
      expect((await api.service('goes'))?.metadata.finalizers).toEqual(['service.kubernetes.io/load-balancer-cleanup'])
      await cluster.kubectl.must(['delete', 'service', 'goes', '-n', cluster.namespace, '--wait=false'])
      await waitFor(async () => (await api.service('goes')) === undefined, { what: 'the Service to be gone' })
      expect(cluster.leaf.nextHops(hostPrefix(vip))).toEqual([])
      expect((await api.vips()).map(({ spec }) => spec.address)).not.toContain(vip)
    })

    test('a Service that is no longer of our class, or of our type, loses its address and our marks', async () => {
      const vip = await announced('leaves')
      await api.apply(
        service(cluster, 'leaves', {
          spec: { type: 'ClusterIP', loadBalancerClass: null, allocateLoadBalancerNodePorts: null },
        }),
      )
      await leafHas(vip, [])
      await waitFor(async () => (await api.service('leaves'))?.metadata.finalizers === undefined, {
        what: 'no finalizer',
      })
      const released = await api.service('leaves')
      expect(released?.status.loadBalancer?.ingress ?? []).toEqual([])
      expect((await api.vips()).map(({ spec }) => spec.address)).not.toContain(vip)
      await api.apply(service(cluster, 'leaves', { spec: { loadBalancerClass: 'example.com/other' } }))
      // Whatever would have come of the foreign Service had come by the time a later one of ours is served.
      await announced('later')
      expect((await api.service('leaves'))?.status.loadBalancer?.ingress ?? []).toEqual([])
      await api.remove('leaves', 'later')
    })

    test('kubectl get shows what one asks of each kind', async () => {
      const vip = await announced('shown')
      const shows = (kind: string, name: string, expected: Readonly<Record<string, string>>): Promise<void> =>
        vi.waitFor(async () => expect(row(await cluster.kubectl.must(['get', kind, name]))).toMatchObject(expected), {
          timeout: 15_000,
          interval: 200,
        })
      await shows('vip', vip, {
        ...{ ADDRESS: vip, POOL: `${cluster.run}-auto`, SERVICES: `${cluster.namespace}/shown`, ANNOUNCED: 'True' },
        NEXTHOPS: cluster.nodes.map(({ name }) => name).join(','),
      })
      await shows('bgppeer', `${cluster.run}-leaf`, {
        ...{ ADDRESS: '127.0.0.1', ASN: '64513', STATE: 'Established', SESSIONS: '2/2', ANNOUNCED: '1' },
      })
      await shows('vippool', `${cluster.run}-tiny`, { TOTAL: '2', USED: '0', AVAILABLE: '2', READY: 'True' })
      await shows('bgpconf', 'default', { ASN: '64512', READY: 'True' })
      await api.remove('shown')
    })

    test('SIGTERM ends a replica within five seconds and with status 0, and costs no route', async () => {
      const vip = await announced('steady')
      const followed = cluster.leaf.follow(hostPrefix(vip))
      for (const name of ['a', 'b']) {
        const replica = replicas.get(name)?.process
        replica?.kill('SIGTERM')
        // After five seconds a process ends itself, with another status.
        expect(await replica?.end).toEqual({ status: 0, signal: null })
        await start(name)
        await sessionsAre(2)
      }
      followed.stop()
      expect(followed.seen()).toEqual([cluster.nodes.map(({ ipv4 }) => ipv4)])
      const reasons = cluster.leaf.endedSessions().map(({ ended }) => ended?.notification?.subcode)
      expect(reasons.slice(-2)).toEqual([2, 2])
    })

    test('after all replicas were killed, every address and every path is as it was', async () => {
      const vip = await announced('steady')
      const table = (): readonly string[] =>
        [...new Set(cluster.leaf.routes(hostPrefix(vip)).map(({ pathId, nextHop }) => `${pathId} ${nextHop}`))].sort()
      const before = { vips: (await api.vips()).map(({ metadata }) => metadata), table: table() }
      for (const { process: replica } of replicas.values()) replica.kill('SIGKILL')
      await Promise.all([...replicas.values()].map(({ process: replica }) => replica.end))
      await sessionsAre(0)
      await start('a')
      await start('b')
      await sessionsAre(2)
      await leafHas(vip, cluster.nodes)
      // Served only after the new leader's first pass, so a wrong pass would have shown by then.
      await announced('afterwards')
      await api.remove('afterwards')
      expect(table()).toEqual(before.table)
      const names = before.vips.map(({ name, uid }) => `${name} ${uid}`)
      expect((await api.vips()).map(({ metadata }) => `${metadata.name} ${metadata.uid}`)).toEqual(names)
      expect(await api.addressesOf('steady')).toEqual([vip])
      await api.remove('steady')
    })

    test('two controllers that both lead give out no address twice', async () => {
      const rival = await cluster.startController(`${cluster.run}-rival`, { group: 'second' })
      await sessionsAre(3)
      const names = Array.from({ length: 50 }, (_, i) => `race-${i}`)
      await api.apply(...names.map((name) => service(cluster, name)))
      const raced = await waitFor(
        async () => {
          const all = (await api.services()).filter(({ metadata }) => names.includes(metadata.name))
          return all.every(({ status }) => status.loadBalancer?.ingress?.length === 1) && all
        },
        { what: '50 Services with an address', timeoutMs: 60_000, intervalMs: 500 },
      )
      const given = raced.map(({ status }) => status.loadBalancer?.ingress?.[0]?.ip)
      expect(given).toHaveLength(50)
      expect(new Set(given).size).toBe(50)
      // Both have done their last pass when every Vip has one Service, and every Service its one Vip.
      await waitFor(
        async () => {
          const vips = (await api.vips()).filter(({ spec }) => spec.services.some(({ name }) => names.includes(name)))
          return vips.length === 50 && vips.every(({ spec }) => spec.services.length === 1)
        },
        { what: 'as many Vips as Services', timeoutMs: 60_000, intervalMs: 500 },
      )
      const holders = new Map((await api.vips()).map(({ spec }) => [spec.address, spec.services[0]?.name]))
      for (const { metadata, status } of raced)
        expect(holders.get(status.loadBalancer?.ingress?.[0]?.ip ?? ('' as Ip))).toBe(metadata.name)
      await rival.process.stop()
      await api.remove(...names)
      expect((await api.vips()).filter(({ spec }) => spec.services.some(({ name }) => names.includes(name)))).toEqual(
        [],
      )
    }, 180_000)

    // Nobody else's API server is made to fail.
    if (kind === 'embedded')
      describe('while the API server fails', () => {
        const server = (): NonNullable<ApiCluster['embedded']> => {
          if (cluster.embedded === undefined) throw new Error('not the embedded server')
          return cluster.embedded
        }
        /** Restarts with a fault for the replicas. `met` counts the requests that met it. */
        const failWith = async (fault: Fault): Promise<Failure> => {
          let met = 0
          const mend = server().faults.inject(fault, {
            matches: ({ userAgent }) => {
              if (!userAgent.startsWith('bellhop/')) return false
              met++
              return true
            },
          })
          await server().restart({ keepData: true })
          await waitFor(() => met >= requestsMet, {
            what: `${requestsMet} requests that meet the fault`,
            timeoutMs: 30_000,
          })
          return { mend }
        }
        const restart = async (): Promise<Failure> => {
          await server().restart({ keepData: true })
          return { mend: () => {} }
        }
        const forget = (): Promise<Failure> => {
          server().compact()
          return restart()
        }

        test.each<[string, () => Promise<Failure>]>([
          ['restarts', restart],
          ['has forgotten its history (410)', forget],
          ['asks for patience (429)', () => failWith({ kind: 'status', code: 429 })],
          ['fails (500)', () => failWith({ kind: 'status', code: 500 })],
          ['resets every connection', () => failWith({ kind: 'drop' })],
          ['cuts every answer short', () => failWith({ kind: 'truncate', bytes: 100 })],
          ['takes requests and never answers', () => failWith({ kind: 'hang' })],
        ])(
          'because it %s: what is announced stays, what changed meanwhile follows',
          { timeout: 120_000 },
          async (_, fail) => {
            const vip = await announced('kept')
            const sessions = cluster.leaf.sessions().length
            const followed = cluster.leaf.follow(hostPrefix(vip))
            const { mend } = await fail()
            await api.apply(service(cluster, 'meanwhile'), slice(cluster, 'meanwhile', cluster.nodes))
            mend()
            const [later = '' as Ip] = await waitFor(() => api.addressesOf('meanwhile'), {
              what: 'an address',
              timeoutMs: 90_000,
            })
            await leafHas(later, cluster.nodes)
            followed.stop()
            expect(followed.seen()).toHaveLength(1)
            expect(cluster.leaf.sessions()).toHaveLength(sessions)
            await api.remove('kept', 'meanwhile')
          },
        )
      })

    if (kind === 'embedded')
      test('every right that deploy/ gives a controller is used, and no other was asked for', () => {
        const granted = grantedRights('deploy/base/controller-rbac.yaml')
        const asked = rights?.asked() ?? []
        expect(asked.filter((right) => !granted.includes(right))).toEqual([])
        expect(granted.filter((right) => !asked.includes(right) && !usedElsewhere.has(right))).toEqual([])
      })

    test('nothing was said or done on the way that should not have been', () => {
      expect(cluster.leaf.complaints()).toEqual([])
      expect(cluster.errorLines()).toEqual([])
    })
  })
})

/** An Event that comes again, a policy, an address that changes its Services: nothing of the kind has to happen here. */
const usedElsewhere: ReadonlySet<string> = new Set([
  'patch /events',
  'patch bellhop.io/bgppolicies/status',
  'patch bellhop.io/vips',
])

/** The header and the one line that `kubectl get <kind> <name>` prints, by column. */
function row(table: string): Readonly<Record<string, string>> {
  const [header = '', line = ''] = table.split('\n')
  const columns = [...header.matchAll(/\S+\s*/g)]
  return Object.fromEntries(
    columns.map(({ 0: name, index }) => [name.trim(), line.slice(index, index + Math.max(name.length, 1)).trim()]),
  )
}
