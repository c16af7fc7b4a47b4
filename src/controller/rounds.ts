// The replica's round, after every change of the cluster: plan, tell the speaker, wake whoever writes. And the second look that a
// suspiciously large withdrawal waits for.

import type { Announcer } from '../announce/announcer.ts'
import type { DrainWatch } from '../announce/drain-watch.ts'
import type { SilenceWatch } from '../announce/silence-watch.ts'
import type { ClusterStore } from '../k8s/cluster-store.ts'
import type { EventSubject } from '../k8s/events.ts'
import type { ClusterChanges, ClusterView, Kind } from '../k8s/objects.ts'
import type { ControllerMetrics } from '../metrics/controller-metrics.ts'
import type { PlanContext } from '../plan/types.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { createTurns } from '../runtime/slices.ts'
import type { Layer2Owners } from './layer2-owners.ts'
import type { Leadership } from './leadership.ts'
import type { Presence } from './presence.ts'
import type { Reporter } from './reporter.ts'

export interface RoundsOptions {
  readonly store: ClusterStore
  /** All that the store follows: what a second look lists anew. */
  readonly kinds: readonly Kind[]
  readonly announcer: Announcer
  readonly presence: Pick<Presence, 'setNodes'>
  /** What looks at the cluster before it is planned. */
  readonly watches: readonly { readonly take: (view: ClusterView, changes: ClusterChanges | undefined) => void }[]
  readonly drains: Pick<DrainWatch, 'setNodes'>
  readonly silence: Pick<SilenceWatch, 'setNodes'>
  readonly leadership: Pick<Leadership, 'changed' | 'pull' | 'note'>
  readonly owners: Pick<Layer2Owners, 'changed'>
  readonly reporter: Pick<Reporter, 'changed' | 'pull'>
  readonly metrics: Pick<ControllerMetrics, 'planned'>
  /** What the plan needs beside the view, as of now. */
  readonly context: () => PlanContext
  readonly clock: Clock
  readonly log: Log
  /** Ends the round under way. */
  readonly signal: AbortSignal
}

export interface Rounds {
  /**
   * One round; nothing before the first lists are complete. It is done at once, but for one in which many VIPs are planned, which goes
   * on in slices: leases are renewed, and statuses written, meanwhile.
   */
  readonly run: () => void
  /** So many VIPs are held back: lists anew and, whatever they say by then, withdraws what is still to be withdrawn. */
  readonly confirmWithdrawals: (vips: number) => Promise<void>
}

export function createRounds(options: RoundsOptions): Rounds {
  const { store, announcer, leadership, reporter, clock, log } = options

  function* round(): Generator<undefined, void, undefined> {
    if (!store.synced()) return
    const startMs = clock.monotonicMs()
    const changes = store.takeChanges()
    if (changes.has('Node'))
      for (const watch of [options.presence, options.drains, options.silence]) watch.setNodes(store.view().nodes)
    // The first plan is a whole one: what changed before it is of no interest.
    const since = announcer.plan() === undefined ? undefined : changes
    for (const watch of options.watches) watch.take(store.view(), since)
    const step = announcer.step(store.view(), since, options.context())
    let planned = step.next()
    const isLong = planned.done !== true
    for (; planned.done !== true; planned = step.next()) yield
    const changedVips = planned.value
    options.metrics.planned((clock.monotonicMs() - startMs) / 1000)
    options.owners.changed(changedVips)
    leadership.changed(changes)
    // In the midst of a step nothing counted as withdrawn.
    if (isLong) leadership.pull()
    reporter.changed(changes)
  }
  const rounds = createTurns(round, options)

  const confirmWithdrawals = async (vips: number): Promise<void> => {
    log.warn({ event: 'withdrawals-held', vips, until: 'fresh lists have confirmed them' })
    leadership.note({
      subject: bgpConfSubject(store),
      severity: 'Warning',
      reason: 'WithdrawalsHeld',
      message: `${vips} VIPs at once are to be withdrawn: held until fresh lists from the API server confirm it`,
    })
    try {
      await store.confirm(options.kinds)
    } catch (error) {
      // Only the end of the replica ends the waiting.
      log.debug({ event: 'withdrawals-not-confirmed', message: String(error) })
      return
    }
    rounds.pull()
    await rounds.settled()
    if (options.signal.aborted) return
    log.warn({ event: 'withdrawals-confirmed', vips: announcer.guarded.size })
    announcer.confirmed()
    reporter.pull()
  }

  return { run: rounds.pull, confirmWithdrawals }
}

function bgpConfSubject(store: ClusterStore): EventSubject {
  const uid = store.view().bgpConfs.get('default')?.meta.uid ?? ''
  return { apiVersion: 'bellhop.io/v1alpha1', kind: 'BgpConf', namespace: '', name: 'default', uid }
}
