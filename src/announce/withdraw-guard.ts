// A plan that would take most of the table away at once is more often a lie than the truth: an API server restored from yesterday,
// a list that came back empty, a selector with a typo. Such withdrawals are held back until fresh lists have confirmed the view;
// everything else of the step goes out at once. What was held is judged anew by the plan that the fresh lists lead to.

import type { TableName } from '../bgp/speaker/protocol.ts'
import type { Prefix } from '../net/prefix.ts'
import type { Plan, PlanStep, TableChange } from '../plan/types.ts'

/** BgpConf.spec.withdrawGuard. */
export interface GuardLimits {
  /** More than this part of the announced VIPs at once is too much; 100 = never. */
  readonly percent: number
  /** With fewer announced VIPs than this nothing is held. */
  readonly minimumVips: number
}

export interface WithdrawGuard {
  /** What of the step is to be sent now. `tripped`: it began to hold something back, which fresh lists have to confirm. */
  readonly admit: (
    step: PlanStep,
    previous: Plan | undefined,
    limits: GuardLimits,
  ) => { readonly tableChanges: readonly TableChange[]; readonly tripped: boolean }
  /** The view was confirmed: what of the held back is still to be withdrawn, by this plan. */
  readonly release: (plan: Plan) => readonly TableChange[]
  /** Vips that the routers still have and the plan has not. */
  readonly heldVips: ReadonlySet<string>
}

export function createWithdrawGuard(): WithdrawGuard {
  const held = new Map<TableName, Set<Prefix>>()
  const heldVips = new Set<string>()
  /** How many VIPs the plan of the last step announces, so that not all are looked at each time that one of them is withdrawn. */
  let counted: { readonly plan: Plan; readonly announced: number } | undefined
  const announcedIn = (plan: Plan | undefined): number => {
    if (plan === undefined) return 0
    return counted?.plan === plan ? counted.announced : countAnnounced(plan)
  }

  const takeBack = (step: PlanStep): void => {
    for (const { table, upserts } of step.tableChanges)
      for (const { prefix } of upserts) held.get(table)?.delete(prefix)
    for (const table of step.droppedTables) held.delete(table)
    for (const vip of step.changedVips) if (isAnnounced(step.plan, vip)) heldVips.delete(vip)
  }
  const hold = (change: TableChange): TableChange => {
    const prefixes = held.get(change.table) ?? new Set()
    held.set(change.table, prefixes)
    for (const prefix of change.withdrawals) prefixes.add(prefix)
    return { ...change, withdrawals: [] }
  }
  return {
    heldVips,
    admit: (step, previous, limits) => {
      takeBack(step)
      const lost: string[] = []
      const before = announcedIn(previous)
      let announced = before
      for (const vip of step.changedVips) {
        const [was, is] = [isAnnounced(previous, vip), isAnnounced(step.plan, vip)]
        if (was && !is) lost.push(vip)
        announced += Number(is) - Number(was)
      }
      counted = { plan: step.plan, announced }
      const holding = heldVips.size > 0
      if (!holding && !isTooMuch(lost.length, before, limits))
        return { tableChanges: step.tableChanges, tripped: false }
      // While something is held, further losses of the same kind wait with it.
      for (const vip of lost) heldVips.add(vip)
      const tableChanges = step.tableChanges
        .map((change) => (change.withdrawals.length === 0 ? change : hold(change)))
        .filter((change) => change.replace || change.upserts.length > 0)
      return { tableChanges, tripped: !holding }
    },
    release: (plan) => {
      const changes = [...held].flatMap(([table, prefixes]) => {
        const routes = plan.tables.get(table)
        const withdrawals = routes === undefined ? [] : [...prefixes].filter((prefix) => !routes.has(prefix))
        return withdrawals.length === 0 ? [] : [{ table, replace: false, upserts: [], withdrawals }]
      })
      held.clear()
      heldVips.clear()
      return changes
    },
  }
}

const isAnnounced = (plan: Plan | undefined, vip: string): boolean => (plan?.vips.get(vip)?.peers.length ?? 0) > 0

function countAnnounced({ vips }: Plan): number {
  let count = 0
  for (const { peers } of vips.values()) if (peers.length > 0) count++
  return count
}

const isTooMuch = (lost: number, announced: number, { percent, minimumVips }: GuardLimits): boolean =>
  lost > 0 && announced >= minimumVips && lost * 100 > announced * percent
