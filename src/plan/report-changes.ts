// Which Vips and Services a report has to look at again: those that changed, those whose plan did, and all when the sessions did.
// Ten thousand of them are looked at once; after that a change costs what it touches. What the answer leaves out would say the same
// as before, which a property test holds against the report from scratch.

import type { ClusterChanges, ClusterView, NamespacedName } from '../k8s/objects.ts'
import { vipName } from '../vip/vip-name.ts'
import { differingKeys } from './snapshot-map.ts'
import type { Plan } from './types.ts'

export interface ToReport {
  /** Names; some may be gone. */
  readonly vips: ReadonlySet<string>
  readonly services: ReadonlySet<NamespacedName>
}

/** What a Vip's status and a Service's condition are made from, beside the objects themselves. */
export interface ReportFacts {
  readonly view: ClusterView
  readonly plan: Pick<Plan, 'vips'>
  /** BgpPeers with which somebody has a session. */
  readonly established: ReadonlySet<string>
  /** Vips whose withdrawal waits for a second look. */
  readonly guarded: ReadonlySet<string>
}

export interface ReportChanges {
  /** These keys of the view have changed. */
  readonly note: (changes: ClusterChanges) => void
  /** What is to be reported now; it counts as reported from here on. The first call names everything. */
  readonly take: (facts: ReportFacts) => ToReport
}

type Reported = Omit<ReportFacts, 'view' | 'plan'> & { readonly vips: Plan['vips'] }

/** Remembers for one reporter what it has reported. */
export function createReportChanges(): ReportChanges {
  let reported: Reported | undefined
  let vips = new Set<string>()
  let services = new Set<NamespacedName>()
  /** Services by the Vips that they show; some may have ceased to. */
  const showing = new Map<string, readonly NamespacedName[]>()

  return {
    note: (changes) => {
      // Everything is looked at anyway.
      if (reported === undefined) return
      for (const name of changes.get('Vip') ?? []) vips.add(name)
      for (const name of changes.get('Service') ?? []) services.add(name as NamespacedName)
    },
    take: ({ view, plan, established, guarded }) => {
      const before = reported
      reported = { vips: plan.vips, established, guarded: new Set(guarded) }
      if (before === undefined || !sameSet(before.established, established)) {
        for (const name of view.vips.keys()) vips.add(name)
        for (const { kind, meta } of view.refusals) if (kind === 'Vip') vips.add(meta.name)
        for (const name of view.services.keys()) services.add(name)
      } else {
        for (const name of differingKeys(before.vips, plan.vips)) vips.add(name)
        for (const name of before.guarded) if (!guarded.has(name)) vips.add(name)
        for (const name of guarded) if (!before.guarded.has(name)) vips.add(name)
        for (const name of vips) for (const service of showing.get(name) ?? []) services.add(service)
      }
      for (const name of vips) forgetOthers(showing, name, view)
      for (const name of services) noteShown(showing, name, view)
      const toReport = { vips, services }
      vips = new Set()
      services = new Set()
      return toReport
    },
  }
}

const shownBy = (view: ClusterView, service: NamespacedName): readonly string[] =>
  (view.services.get(service)?.ingress ?? []).map(({ ip }) => vipName(ip))

function noteShown(showing: Map<string, readonly NamespacedName[]>, service: NamespacedName, view: ClusterView): void {
  for (const vip of shownBy(view, service)) {
    const known = showing.get(vip) ?? []
    if (!known.includes(service)) showing.set(vip, [...known, service])
  }
}

function forgetOthers(showing: Map<string, readonly NamespacedName[]>, vip: string, view: ClusterView): void {
  const known = showing.get(vip)
  if (known === undefined) return
  const still = known.filter((service) => shownBy(view, service).includes(vip))
  if (still.length === 0) showing.delete(vip)
  else if (still.length < known.length) showing.set(vip, still)
}

const sameSet = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean =>
  a.size === b.size && [...a].every((name) => b.has(name))
