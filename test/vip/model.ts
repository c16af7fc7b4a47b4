// A world for allocation: an API server in memory with resourceVersions and conflicts, controllers whose caches lag behind it kind
// by kind, whose work is interleaved write by write, and who crash. Everything random comes from a list of numbers, so that a
// failing history shrinks and can be replayed. What must always hold is checked after every write.

import type { ClusterView, NamespacedName, ObjectMeta, Service, Vip, VipClaim, VipPool } from '../../src/k8s/objects.ts'
import { namespacedName } from '../../src/k8s/objects.ts'
import { familyOf, type Ip } from '../../src/net/ip.ts'
import { normalizeRanges, parseRange, rangeContains } from '../../src/net/range.ts'
import { must } from '../../src/runtime/result.ts'
import { allocate } from '../../src/vip/allocate.ts'
import { allocatedCondition } from '../../src/vip/conditions.ts'
import { parseAddressRequest, wantedFamilies } from '../../src/vip/requests.ts'
import { loadBalancerFinalizer, notServedBecause } from '../../src/vip/service-class.ts'
import { claimRefusal } from '../../src/vip/sharing.ts'
import type { Allocation, AllocationStep, AllocationWork, ServiceFence } from '../../src/vip/types.ts'
import { meta, namespace, pool, port, service } from './cluster.ts'

export const serviceClass = { name: 'bellhop.io/bgp', handleDefault: true }

interface Stored {
  readonly meta: ObjectMeta
}
type Kind = 'services' | 'vips' | 'pools'
interface Kinds {
  readonly services: Service
  readonly vips: Vip
  readonly pools: VipPool
}
type Log<T> = { readonly key: string; readonly version: number; readonly object: T | undefined }[]

/** Random choices out of a list of numbers; past its end, always the first. */
export class Dice {
  readonly #numbers: readonly number[]
  #at = 0

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers
  }

  below(count: number): number {
    return count === 0 ? 0 : (this.#numbers[this.#at++] ?? 0) % count
  }

  pick<T>(of: readonly [T, ...T[]]): T {
    return of[this.below(of.length)] ?? of[0]
  }

  get spent(): boolean {
    return this.#at >= this.#numbers.length
  }
}

/** The API server keeps account of who put a finalizer there: here nobody else does. */
function refinalized({ finalizedByUs: _, ...rest }: Service, finalizers: readonly string[]): Service {
  const service = { ...rest, meta: { ...rest.meta, finalizers } }
  return finalizers.length === 0 ? service : { ...service, finalizedByUs: true }
}

export class World {
  version = 1
  readonly objects: { [K in Kind]: Map<string, Kinds[K]> } = { services: new Map(), vips: new Map(), pools: new Map() }
  readonly logs: { [K in Kind]: Log<Kinds[K]> } = { services: [], vips: [], pools: [] }
  /** Every version of the pools: a controller may act on an old one. */
  readonly poolHistory: { readonly version: number; readonly pools: readonly VipPool[] }[] = [{ version: 0, pools: [] }]
  /** What must never happen, whoever is at work. */
  readonly violations: string[] = []
  /** What must not happen while one controller at a time writes. */
  readonly slips: string[] = []
  uids = 0

  put<K extends Kind>(kind: K, object: Kinds[K]): Kinds[K] {
    const version = ++this.version
    const stored = { ...object, meta: { ...object.meta, resourceVersion: `${version}` } }
    const key = keyOf(stored)
    this.objects[kind].set(key, stored)
    this.logs[kind].push({ key, version, object: stored })
    if (kind === 'pools') this.#notePools()
    this.#check()
    return stored
  }

  drop(kind: Kind, key: string): void {
    const version = ++this.version
    this.objects[kind].delete(key)
    this.logs[kind].push({ key, version, object: undefined })
    if (kind === 'pools') this.#notePools()
    this.#check()
  }

  #notePools(): void {
    this.poolHistory.push({ version: this.version, pools: [...this.objects.pools.values()] })
  }

  // Behaviour, Allocation 6 and 7: what must hold between any two writes.
  #check(): void {
    for (const vip of this.objects.vips.values())
      for (const [i, claim] of vip.services.entries())
        for (const other of vip.services.slice(i + 1)) {
          const refusal = claimRefusal(claim, other)
          if (refusal !== undefined)
            this.violations.push(`${vip.meta.name} is held by two that may not share: ${refusal}`)
        }
    for (const [key, { meta: of, ingress }] of this.objects.services)
      for (const { ip } of ingress)
        if (!this.recorded(ip, of.uid)) this.slips.push(`${key} shows ${ip}, which is not recorded for it`)
  }

  recorded(address: Ip, uid: string): boolean {
    return [...this.objects.vips.values()].some(
      (vip) => vip.address === address && vip.services.some((claim) => claim.uid === uid),
    )
  }
}

const keyOf = ({ meta: { namespace: space, name } }: Stored): string => (space === '' ? name : `${space}/${name}`)

const covers = (pools: readonly VipPool[], address: Ip): boolean =>
  pools.some(({ ranges }) => ranges.some((range) => rangeContains(range, address)))

/** One controller: its caches, its announcements, and the work it has decided upon. */
export class Controller {
  readonly events: {
    readonly service: string
    readonly severity: string
    readonly reason: string
    readonly message: string
  }[] = []
  readonly #world: World
  readonly #caches: { [K in Kind]: Map<string, Kinds[K]> } = { services: new Map(), vips: new Map(), pools: new Map() }
  readonly #read: Record<Kind, number> = { services: 0, vips: 0, pools: 0 }
  #announced = new Set<string>()
  #flushing = new Set<string>()
  #work: { work: AllocationWork; at: number; versions: Map<string, string>; poolsRead: number }[] = []

  constructor(world: World) {
    this.#world = world
    this.restart()
  }

  /** A new process: it has listed everything and remembers nothing. */
  restart(): void {
    for (const kind of ['services', 'vips', 'pools'] as const) {
      this.#caches[kind] = new Map<string, never>(this.#world.objects[kind] as Map<string, never>) as never
      this.#read[kind] = this.#world.logs[kind].length
    }
    this.#work = []
    this.#flushing = new Set()
    this.#announced = this.#announceable()
  }

  /** Takes in the next events of one kind. */
  observe(kind: Kind, count: number): void {
    const log = this.#world.logs[kind] as Log<Kinds[Kind]>
    for (let i = 0; i < count && this.#read[kind] < log.length; i++) {
      const event = log[this.#read[kind]++]
      if (event !== undefined) this.#absorb(kind, event.key, event.version, event.object)
    }
    this.#plan()
  }

  observeAll(): void {
    for (const kind of ['services', 'vips', 'pools'] as const) this.observe(kind, Number.POSITIVE_INFINITY)
  }

  /** Leadership is lost: nothing more is written. */
  stop(): void {
    this.#work = []
  }

  flush(): void {
    this.#flushing.clear()
  }

  get idle(): boolean {
    return this.#work.length === 0
  }

  allocation(nowMs: number): Allocation {
    return allocate({
      view: this.view(),
      serviceClass,
      withdrawn: (vip) => this.#withdrawn(vip),
      nowMs,
    })
  }

  #withdrawn(vip: string): boolean {
    return !this.#announced.has(vip) && !this.#flushing.has(vip)
  }

  /** Observes and works until there is nothing left to do; returns how many passes that took, the last of them empty. */
  settle(nowMs: number): number {
    for (let passes = 1; ; passes++) {
      this.observeAll()
      this.flush()
      if (this.decide(nowMs) === 0) return passes
      while (!this.idle) this.act(0)
      if (passes === 100) throw new Error('the work never ends')
    }
  }

  decide(nowMs: number): number {
    const { work } = this.allocation(nowMs)
    const poolsRead = this.#read.pools
    this.#work = work.map((each) => ({ work: each, at: 0, versions: new Map(), poolsRead }))
    return work.length
  }

  /** Carries out one step of some work; a failure ends that work. */
  act(which: number): void {
    const index = which % Math.max(1, this.#work.length)
    const doing = this.#work[index]
    const step = doing?.work.steps[doing.at]
    if (doing === undefined) return
    if (step === undefined || !this.#execute(step, doing.versions, doing.poolsRead)) {
      this.#work.splice(index, 1)
      return
    }
    doing.at++
    if (doing.at >= doing.work.steps.length) this.#work.splice(index, 1)
  }

  view(): ClusterView {
    const { services, vips, pools } = this.#caches
    return {
      services: services as Map<NamespacedName, Service>,
      endpointSlices: new Map(),
      nodes: new Map(),
      namespaces: new Map(['a', 'b'].map((name) => [name, namespace(name, { name })])),
      secrets: new Map(),
      bgpConfs: new Map(),
      bgpPeers: new Map(),
      vipPools: pools,
      vips,
      bgpPolicies: new Map(),
      refusals: [],
    }
  }

  #absorb(kind: Kind, key: string, version: number, object: Kinds[Kind] | undefined): void {
    const cache = this.#caches[kind] as Map<string, Kinds[Kind]>
    const known = cache.get(key)
    if (known !== undefined && Number(known.meta.resourceVersion) >= version) return
    if (object === undefined) cache.delete(key)
    else cache.set(key, object)
  }

  #announceable(): Set<string> {
    const { services, vips } = this.#caches
    const names = [...vips.values()].filter(({ address, services: claims }) =>
      claims.some((claim) => {
        const of = services.get(namespacedName(claim.namespace, claim.name))
        return (
          of !== undefined &&
          of.meta.uid === claim.uid &&
          notServedBecause(of, serviceClass) === undefined &&
          of.ingress.some(({ ip }) => ip === address)
        )
      }),
    )
    return new Set(names.map(({ meta: of }) => of.name))
  }

  #plan(): void {
    const now = this.#announceable()
    for (const vip of this.#announced) if (!now.has(vip)) this.#flushing.add(vip)
    this.#announced = now
  }

  #execute(step: AllocationStep, versions: Map<string, string>, poolsRead: number): boolean {
    const { vips } = this.#world.objects
    switch (step.type) {
      case 'create-vip':
        if (vips.has(step.name)) return false
        return this.#wrote('vips', {
          ...step.spec,
          meta: meta(step.name, { uid: `vip-${++this.#world.uids}` }),
          status: { fingerprint: '', conditions: [] },
        })
      case 'update-vip': {
        const vip = vips.get(step.name)
        if (vip?.meta.resourceVersion !== step.resourceVersion || !this.#fencesHold(step.fences, versions)) return false
        return this.#wrote('vips', { ...step.spec, meta: vip.meta, status: vip.status })
      }
      case 'delete-vip': {
        const vip = vips.get(step.name)
        if (vip === undefined) return true
        if (vip.meta.uid !== step.uid || vip.meta.resourceVersion !== step.resourceVersion) return false
        if (!this.#fencesHold(step.fences, versions) || !this.#withdrawn(step.name)) return false
        if (this.#announced.has(step.name)) this.#world.violations.push(`${step.name} is deleted while it is announced`)
        this.#world.drop('vips', step.name)
        this.#caches.vips.delete(step.name)
        this.#plan()
        return true
      }
      case 'add-finalizer':
      case 'remove-finalizer': {
        const of = this.#held(step, versions)
        if (of === undefined) return false
        const others = of.meta.finalizers.filter((name) => name !== loadBalancerFinalizer)
        const finalizers = step.type === 'add-finalizer' ? [...others, loadBalancerFinalizer] : others
        if (!of.meta.deleting || finalizers.length > 0)
          return this.#wrote('services', refinalized(of, finalizers), versions)
        this.#world.drop('services', step.service)
        this.#caches.services.delete(step.service)
        this.#plan()
        return true
      }
      case 'set-service-status': {
        const of = this.#held(step, versions)
        if (of === undefined) return false
        for (const { ip } of of.ingress)
          if (!step.ingress.includes(ip)) this.#demandCause(of, ip, step.ingress, poolsRead)
        const others = of.conditions.filter(({ type }) => type !== allocatedCondition)
        const conditions = step.removeConditions ? others : [...others, step.condition]
        const ingress = step.ingress.map((ip) => ({ ip, ipMode: 'VIP' as const }))
        return this.#wrote('services', { ...of, ingress, conditions }, versions)
      }
      case 'event':
        this.events.push({ service: step.service, severity: step.severity, reason: step.reason, message: step.message })
        return true
    }
  }

  #held(
    step: { readonly service: NamespacedName; readonly uid: string; readonly resourceVersion: string },
    versions: ReadonlyMap<string, string>,
  ): Service | undefined {
    const of = this.#world.objects.services.get(step.service)
    const expected = versions.get(step.service) ?? step.resourceVersion
    return of?.meta.uid === step.uid && of.meta.resourceVersion === expected ? of : undefined
  }

  #fencesHold(fences: readonly ServiceFence[], versions: ReadonlyMap<string, string>): boolean {
    return fences.every((fence) => {
      const of = this.#world.objects.services.get(fence.service)
      if (fence.expect === 'gone') return of?.meta.uid !== fence.uid
      return (
        of?.meta.uid === fence.uid && of.meta.resourceVersion === (versions.get(fence.service) ?? fence.resourceVersion)
      )
    })
  }

  #wrote<K extends Kind>(kind: K, object: Kinds[K], versions?: Map<string, string>): boolean {
    const stored = this.#world.put(kind, object)
    const key = keyOf(stored)
    versions?.set(key, stored.meta.resourceVersion)
    this.#absorb(kind, key, Number(stored.meta.resourceVersion), stored)
    this.#plan()
    return true
  }

  // Behaviour, Allocation 2: no address changes without a cause that can be named.
  #demandCause(of: Service, lost: Ip, kept: readonly Ip[], poolsRead: number): void {
    if (notServedBecause(of, serviceClass) !== undefined) return
    const family = familyOf(lost)
    const request = parseAddressRequest(of)
    const since = this.#world.logs.pools[poolsRead - 1]?.version ?? 0
    const known = this.#world.poolHistory.filter(
      (state, i, all) => state.version >= since || (all[i + 1]?.version ?? Number.POSITIVE_INFINITY) > since,
    )
    const vip = [...this.#world.objects.vips.values()].find(({ address }) => address === lost)
    // What came from a pool that is gone is kept.
    const uncovered = known.some(
      ({ pools }) =>
        !covers(pools, lost) && (vip === undefined || pools.some(({ meta: { name } }) => name === vip.pool)),
    )
    const asked = request.ok ? request.value.addresses.get(family) : undefined
    const named = request.ok ? request.value.pool : undefined
    const moved =
      (asked !== undefined && asked !== lost && kept.includes(asked)) || (asked === undefined && named !== undefined)
    if (!uncovered && !moved && wantedFamilies(of).includes(family))
      this.#world.slips.push(`${keyOf(of)} lost ${lost} (has ${kept.join(', ') || 'none'}) without a cause`)
  }
}

// ------------------------------------------------------------------------------------------------------- users' edits

const names = ['a/x', 'a/y', 'b/x', 'b/z', 'a/w'] as const
const addresses = ['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.0.9.9'] as const
const rangeSets: readonly [readonly string[], ...(readonly string[])[]] = [
  ['10.0.0.0-10.0.0.2', 'fd00::-fd00::1'],
  ['10.0.0.1-10.0.0.3'],
  ['10.0.1.0/31', 'fd00:1::/127'],
  ['10.0.0.0-10.0.0.2', '10.0.1.0-10.0.1.2', 'fd00::/126'],
]

/** One edit by a user or an administrator. */
export function edit(world: World, dice: Dice): void {
  if (dice.below(4) === 0) editPool(world, dice)
  else if (dice.below(10) === 0) editClass(world, dice)
  else editService(world, dice)
}

// The API server lets it change together with the type.
function editClass(world: World, dice: Dice): void {
  const known = world.objects.services.get(dice.pick(names))
  if (known === undefined) return
  const { loadBalancerClass: _, ...unclassed } = known
  const loadBalancerClass = dice.pick([undefined, serviceClass.name, 'example.com/other'])
  world.put('services', loadBalancerClass === undefined ? unclassed : { ...unclassed, loadBalancerClass })
}

function editPool(world: World, dice: Dice): void {
  const name = dice.pick(['p', 'q'])
  const known = world.objects.pools.get(name)
  const what = dice.below(7)
  if (known === undefined || what < 2) {
    const ranges = normalizeRanges(dice.pick(rangeSets).map((text) => must(parseRange(text))))
    world.put(
      'pools',
      known === undefined
        ? { ...pool(name, []), meta: meta(name, { creationTimestampMs: ++world.uids }), ranges }
        : { ...known, ranges },
    )
  } else if (what === 2) world.put('pools', { ...known, disabled: !known.disabled })
  else if (what === 3) world.put('pools', { ...known, sharing: dice.pick(['None', 'SameNamespace', 'AnyNamespace']) })
  else if (what === 4) world.put('pools', { ...known, namespaces: dice.pick([[], ['a'], ['b']]) })
  else if (what === 5) world.put('pools', { ...known, holdSeconds: dice.pick([0, 60]) })
  else world.drop('pools', name)
}

function editService(world: World, dice: Dice): void {
  const name = dice.pick(names)
  const known = world.objects.services.get(name)
  if (known === undefined) {
    const made = service(name, {
      meta: { uid: `svc-${++world.uids}`, creationTimestampMs: world.uids },
      ports: [port(80 + dice.below(3))],
    })
    const share = dice.pick(['', 'k', 'k'])
    world.put('services', {
      ...made,
      meta: { ...made.meta, annotations: share === '' ? {} : { 'bellhop.io/share': share } },
    })
    return
  }
  const annotate = (key: string, value: string): void => {
    const { [key]: _, ...rest } = known.meta.annotations
    world.put('services', {
      ...known,
      meta: { ...known.meta, annotations: value === '' ? rest : { ...rest, [key]: value } },
    })
  }
  switch (dice.below(9)) {
    case 0:
      annotate('bellhop.io/ips', dice.pick(['', ...addresses]))
      break
    case 1:
      annotate('bellhop.io/pool', dice.pick(['', 'p', 'q', 'none']))
      break
    case 2:
      annotate('bellhop.io/share', dice.pick(['', 'k', 'j']))
      break
    case 3:
      world.put('services', { ...known, ports: [port(80 + dice.below(3))] })
      break
    case 4:
      world.put('services', { ...known, type: dice.pick(['LoadBalancer', 'ClusterIP']) })
      break
    case 5:
      world.put('services', { ...known, externalTrafficPolicy: dice.pick(['Cluster', 'Local']) })
      break
    case 6:
      world.put('services', {
        ...known,
        ...dice.pick<Pick<Service, 'ipFamilies' | 'ipFamilyPolicy'>>([
          { ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' },
          { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'PreferDualStack' },
          { ipFamilies: ['IPv6', 'IPv4'], ipFamilyPolicy: 'RequireDualStack' },
        ]),
      })
      break
    case 7:
      // Somebody takes the finalizer away, which nobody should.
      if (dice.below(3) !== 0) break
      if (known.meta.deleting) world.drop('services', name)
      else world.put('services', refinalized(known, []))
      break
    default:
      if (known.meta.finalizers.length === 0) world.drop('services', name)
      else world.put('services', { ...known, meta: { ...known.meta, deleting: true } })
  }
}

// -------------------------------------------------------------------------------------------------------- the history

/**
 * Plays a history with two controllers, then lets one of them work in peace until it is done. `lease`: one of them at a time writes,
 * and leadership moves between any two writes; a new leader first catches up with what stood at its election. `split-brain`: both
 * write, over caches of any age.
 */
export function play(
  numbers: readonly number[],
  mode: 'lease' | 'split-brain',
): { readonly world: World; readonly controller: Controller; readonly passes: number } {
  const dice = new Dice(numbers)
  const world = new World()
  const controllers = [new Controller(world), new Controller(world)] as const
  let leader: Controller = controllers[0]
  let nowMs = 0
  while (!dice.spent && world.violations.length + world.slips.length === 0) {
    const controller = dice.pick(controllers)
    const writes = mode === 'split-brain' || controller === leader
    nowMs += dice.below(20_000)
    switch (dice.below(10)) {
      case 0:
      case 1:
        edit(world, dice)
        break
      case 2:
        controller.observe(dice.pick(['services', 'vips', 'pools']), 1 + dice.below(5))
        break
      case 3:
        controller.observeAll()
        controller.flush()
        break
      case 4:
        if (dice.below(5) === 0) controller.restart()
        if (dice.below(3) === 0) {
          leader.stop()
          leader = controller
          leader.observeAll()
        }
        break
      case 5:
      case 6:
        if (writes && controller.idle) controller.decide(nowMs)
        break
      default:
        for (let i = dice.below(4); writes && i >= 0; i--) controller.act(dice.below(8))
    }
  }
  const [controller] = controllers
  controller.restart()
  let passes = 0
  // Several times, with hours between: holds run out, and what they free is given to those who wait.
  for (const quietMs of [0, 1, 2, 3, 4, 5].map((hours) => nowMs + hours * 3_600_000))
    for (; passes < 100; passes++) {
      controller.flush()
      if (controller.decide(quietMs) === 0) break
      while (!controller.idle) controller.act(0)
    }
  return { world, controller, passes }
}

/** What must hold when everybody is quiet: statuses equal Vips, and nothing is left of those who left. */
export function leftovers(world: World): readonly string[] {
  const found: string[] = []
  const active = new Map<string, Service>()
  for (const [key, of] of world.objects.services) {
    const served = notServedBecause(of, serviceClass) === undefined
    const condition = of.conditions.find(({ type }) => type === allocatedCondition)
    const finalizer = of.meta.finalizers.includes(loadBalancerFinalizer)
    const recorded = [...world.objects.vips.values()].filter(({ services }) =>
      services.some(({ uid }) => uid === of.meta.uid),
    )
    if (served) {
      active.set(of.meta.uid, of)
      const shown = of.ingress.map(({ ip }) => ip as string).sort()
      if (
        shown.join() !==
        recorded
          .map(({ address }) => address as string)
          .sort()
          .join()
      )
        found.push(`${key} shows ${shown.join()} and has ${recorded.map(({ address }) => address).join()}`)
      if (shown.length > 0 && !finalizer) found.push(`${key} has no finalizer`)
      if (condition === undefined) found.push(`${key} has no condition`)
      if (of.ipFamilyPolicy === 'SingleStack' && shown.length > 1) found.push(`${key} has too many addresses`)
    } else if (of.meta.deleting || finalizer || condition !== undefined || of.ingress.length > 0)
      found.push(`${key} is not ours and still carries something of ours`)
  }
  for (const vip of world.objects.vips.values()) {
    if (vip.services.length === 0) found.push(`${vip.meta.name} is nobody's`)
    for (const claim of vip.services)
      if (!active.has(claim.uid)) found.push(`${vip.meta.name} is claimed by ${describe(claim)}, who left`)
  }
  return found
}

const describe = (claim: VipClaim): string => `${claim.namespace}/${claim.name}`
