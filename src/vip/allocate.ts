// Who gets which address: one pass over the whole cluster view. Adopts what is there, allocates what is missing, releases what is
// left, and says all of it as steps that are safe to carry out one by one, to repeat, and to lose half-way. The order in which the
// maps of the view iterate changes nothing: Services are served by age.

import { type ClusterView, namespacedName, type Service, type VipPool } from '../k8s/objects.ts'
import type { Ip } from '../net/ip.ts'
import { type Applicant, type Choice, createChooser } from './choose.ts'
import { type Ledger, openLedger } from './ledger.ts'
import { type OccupiedAddresses, occupiedAddresses } from './occupied.ts'
import { countAddresses } from './pool-ranges.ts'
import { indexPools, type Pools } from './pools.ts'
import { planReleases } from './release.ts'
import { parseAddressRequest, wantedFamilies } from './requests.ts'
import { notServedBecause } from './service-class.ts'
import { createSteps } from './steps.ts'
import type { Allocation, PoolUsage, ServiceClassRule } from './types.ts'

export interface AllocateInput {
  readonly view: ClusterView
  readonly serviceClass: ServiceClassRule
  /** Whether every route of the Vip with this name is withdrawn, as far as this replica can know. */
  readonly withdrawn: (vip: string) => boolean
  /** Wall-clock milliseconds since 1970. */
  readonly nowMs: number
  /** Free addresses that somebody may still announce: given to those who ask for them, and where there is nothing else. */
  readonly avoided?: ReadonlySet<Ip>
}

const noAddresses: ReadonlySet<Ip> = new Set()

/**
 * The work that makes Vip objects and Service statuses what they should be; empty when they are. Idempotent: over the view that
 * results from any part of the work, the next pass continues. The order of writes is Vip, finalizer, Service.status; and back:
 * withdrawn, Service.status cleared, Vip deleted, finalizer removed.
 *
 * Presumes one leader, whose view is at least as new as its election and holds its own writes. Users' edits may arrive late and in
 * any order between kinds. Should two controllers believe to lead all the same, no address is ever held by two Services that may
 * not share, but a Service may lose its address to the race.
 */
export function allocate(input: AllocateInput): Allocation {
  const deciding = allocating(input)
  for (;;) {
    const { done, value } = deciding.next()
    if (done) return value
  }
}

/**
 * The same, with pauses between Services in which others may have the thread; over ten thousand Services it takes a quarter of a second.
 * Decides upon the view as it is at the first step, whatever becomes of its maps meanwhile.
 */
export function* allocating(live: AllocateInput): Generator<undefined, Allocation, undefined> {
  const view = frozen(live.view)
  const input = { ...live, view }
  const { nowMs } = input
  const pools = indexPools(view)
  const ledger = openLedger(view, pools.poolOf)
  yield
  const applicants = yield* collectApplicants(input)
  yield
  const byUid = new Map(applicants.map(({ service }) => [service.meta.uid, service]))
  const occupied = occupiedAddresses(view, pools)
  const avoided = input.avoided ?? noAddresses
  const chooser = createChooser({ ledger, pools, services: byUid, occupied, avoided })

  yield
  for (const applicant of applicants) {
    chooser.adopt(applicant)
    yield
  }
  const choices = new Map<Applicant, Choice>()
  const turns: Readonly<Record<ReturnType<typeof chooser.need>, Applicant[]>> = {
    nothing: [],
    explicit: [],
    automatic: [],
  }
  for (const applicant of applicants) {
    turns[chooser.need(applicant)].push(applicant)
    yield
  }
  // Those who are content first, then those who name an address, so that nobody is given by chance what another asks for.
  for (const applicant of [...turns.nothing, ...turns.explicit, ...turns.automatic]) {
    choices.set(applicant, chooser.choose(applicant))
    yield
  }

  const chosen = new Map([...choices].map(([{ service }, { addresses }]) => [service.meta.uid, addresses]))
  const releases = planReleases({ ...input, ledger, pools, chosen })
  yield
  const steps = createSteps({ view, ledger, pools, releases, nowMs })
  for (const applicant of applicants) {
    const choice = choices.get(applicant)
    if (choice !== undefined) steps.serve(applicant, choice)
    yield
  }
  for (const leaving of releases.leaving) steps.release(leaving)
  return {
    work: steps.finish(),
    pools: usage(pools, ledger, occupied),
    ...(releases.wakeAtMs === undefined ? {} : { wakeAtMs: releases.wakeAtMs }),
  }
}

/** What allocation reads, as it is now: the maps of a view go on changing. */
const frozen = (view: ClusterView): ClusterView => ({
  ...view,
  services: new Map(view.services),
  vips: new Map(view.vips),
  vipPools: new Map(view.vipPools),
  namespaces: new Map(view.namespaces),
})

function* collectApplicants({
  view,
  serviceClass,
}: AllocateInput): Generator<undefined, readonly Applicant[], undefined> {
  const applicants: Applicant[] = []
  for (const service of view.services.values()) {
    yield
    if (notServedBecause(service, serviceClass) !== undefined) continue
    const key = namespacedName(service.meta.namespace, service.meta.name)
    applicants.push({ key, service, families: wantedFamilies(service), request: parseAddressRequest(service) })
  }
  return applicants.sort((a, b) => byAge(a.service, b.service) || (a.key < b.key ? -1 : 1))
}

const byAge = (a: Service, b: Service): number => a.meta.creationTimestampMs - b.meta.creationTimestampMs

function usage(pools: Pools, ledger: Ledger, occupied: OccupiedAddresses): ReadonlyMap<string, PoolUsage> {
  const used = new Map<VipPool, number>()
  const held = new Map<VipPool, number>()
  const lost = new Map<VipPool, (readonly [address: Ip, owner: string])[]>()
  for (const { pool, hold } of ledger.entries()) {
    const counts = hold === undefined ? used : held
    if (pool !== undefined) counts.set(pool, (counts.get(pool) ?? 0) + 1)
  }
  for (const [address, owner] of occupied) {
    const pool = pools.poolOf(address)
    if (pool !== undefined) lost.set(pool, [...(lost.get(pool) ?? []), [address, owner]])
  }
  const report = new Map<string, PoolUsage>()
  for (const pool of pools.all) {
    const { name } = pool.meta
    const total = countAddresses(pools.rangesOf(name), pool)
    const notGiven = (lost.get(pool) ?? []).filter(([address]) => ledger.get(address) === undefined)
    const left = total - BigInt((used.get(pool) ?? 0) + (held.get(pool) ?? 0) + notGiven.length)
    report.set(name, {
      pool: name,
      total,
      used: used.get(pool) ?? 0,
      held: held.get(pool) ?? 0,
      available: left > 0n ? left : 0n,
      overlaps: pools.overlapsOf(name),
      occupied: new Map(lost.get(pool)),
    })
  }
  return report
}
