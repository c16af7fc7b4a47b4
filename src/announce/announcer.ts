// From the cluster view to the speaker: plans, sends the speaker what changed, and remembers what the speaker still has to write,
// so that allocation can wait until a route is really withdrawn before its address is free. Runs on every replica.

import { isDeepStrictEqual } from 'node:util'
import type {
  RangeStatus,
  SessionStatus,
  Speaker,
  SpeakerConfig,
  SpeakerEvent,
  TableName,
} from '../bgp/speaker/protocol.ts'
import type { ClusterChanges, ClusterView } from '../k8s/objects.ts'
import type { PortRedirect } from '../nftables/port-redirect.ts'
import { countingConf } from '../plan/peers.ts'
import type { Planner } from '../plan/plan.ts'
import type { Plan, PlanContext, PlanStep, TableChange } from '../plan/types.ts'
import { createWithdrawGuard, type GuardLimits } from './withdraw-guard.ts'

export interface Announcer {
  /**
   * Plans and tells the speaker, but for what the withdraw guard holds back; then `onGuarded` is called. The Vips whose plan is another.
   * Pauses where many VIPs are planned, and is to be taken to its end before the next step, or `confirmed`; until then the plan is
   * the one before.
   */
  readonly step: (
    view: ClusterView,
    changes: ClusterChanges | undefined,
    context: PlanContext,
  ) => Generator<undefined, PlanStep['changedVips'], undefined>
  /** The peers towards which to be quiet are others. */
  readonly quietChanged: () => void
  /** Fresh lists have confirmed the view: withdraws what was held back and is still not in the plan. */
  readonly confirmed: () => void
  /** Vips whose withdrawal waits for a second look. */
  readonly guarded: ReadonlySet<string>
  /** Takes in what the speaker reports. Returns whether something an operator sees has changed. */
  readonly observe: (event: SpeakerEvent) => boolean
  /** The last plan; undefined before the first step. */
  readonly plan: () => Plan | undefined
  readonly sessions: ReadonlyMap<string, SessionStatus>
  /** By BgpPeer: the networks from which routers connect. */
  readonly ranges: ReadonlyMap<string, RangeStatus>
  /** Whether no session of this replica announces the Vip any more, down to the last socket. Not known, so no, in the midst of a step. */
  readonly isWithdrawn: (vip: string) => boolean
  /** Why the speaker cannot listen, while it cannot. */
  readonly listenError: () => string | undefined
}

/** What guards where no BgpConf says otherwise, as the CRD's defaults have it. */
const defaultGuard: GuardLimits = { percent: 50, minimumVips: 20 }

export interface AnnouncerOptions {
  readonly planner: Pick<Planner, 'planning'>
  readonly speaker: Speaker
  /** A step would withdraw too much at once: `confirmed` is to be called when fresh lists are in the view. */
  readonly onGuarded: (vips: ReadonlySet<string>) => void
  /** Peers towards which to be quiet, because another replica tells them better; default none. */
  readonly quiet?: () => ReadonlySet<string>
  /** Leads what routers dial to the port that the speaker listens on, where a BgpConf asks for it. */
  readonly redirect?: Pick<PortRedirect, 'set' | 'problem'>
}

/** Creates the announcer of one replica; it owns the order of what `speaker` is told. */
export function createAnnouncer({ planner, speaker, onGuarded, redirect, quiet }: AnnouncerOptions): Announcer {
  const sessions = new Map<string, SessionStatus>()
  const ranges = new Map<string, RangeStatus>()
  /** Vips that left the plan, with the revision that carried their withdrawal. */
  const withdrawing = new Map<string, number>()
  let plan: Plan | undefined
  let told: SpeakerConfig | undefined
  let isStepping = false
  let revision = 0
  let listenError: string | undefined
  const guard = createWithdrawGuard()
  /** Tables that no peer of the plan names any more and the speaker still has. */
  const unused = new Set<TableName>()

  const tell = (changes: readonly TableChange[]): void => {
    for (const change of changes) {
      revision++
      speaker.send({ type: 'routes', ...change, revision })
    }
  }

  const configure = (planned: Plan): void => {
    const config = speakerConfig(planned, told, quiet?.() ?? noPeers)
    if (config !== undefined && !isDeepStrictEqual(config, told)) {
      speaker.send({ type: 'configure', config })
      told = config
    }
    for (const table of unused) speaker.send({ type: 'drop-table', table })
    unused.clear()
  }

  return {
    sessions,
    ranges,
    plan: () => plan,
    listenError: () => listenError ?? redirect?.problem(),
    guarded: guard.heldVips,
    isWithdrawn: (vip) =>
      plan !== undefined &&
      !isStepping &&
      !withdrawing.has(vip) &&
      !guard.heldVips.has(vip) &&
      (plan.vips.get(vip)?.peers.length ?? 0) === 0 &&
      // Agents withdraw by themselves, when they see what this plan was made from.
      (plan.vips.get(vip)?.nodePeers ?? []).length === 0,

    *step(view, changes, context) {
      const previous = plan
      isStepping = true
      const step = yield* planner.planning(view, changes, context)
      isStepping = false
      plan = step.plan
      const conf = countingConf(view, plan)
      const limits = conf?.withdrawGuard ?? defaultGuard
      const { tableChanges, tripped } = guard.admit(step, previous, limits)
      tell(tableChanges)
      for (const vip of step.changedVips) {
        const wasAnnounced = (previous?.vips.get(vip)?.peers.length ?? 0) > 0
        const isAnnounced = (plan.vips.get(vip)?.peers.length ?? 0) > 0
        if (isAnnounced) withdrawing.delete(vip)
        else if (wasAnnounced && !guard.heldVips.has(vip)) withdrawing.set(vip, revision)
      }
      for (const table of step.droppedTables) unused.add(table)
      for (const table of plan.tables.keys()) unused.delete(table)
      // Closing sessions withdraws, too: while something is held back, they stay as they are.
      if (guard.heldVips.size === 0) configure(plan)
      const from = conf?.redirectFromPort
      redirect?.set(from === undefined || told === undefined ? undefined : { from, config: told })
      if (previous === undefined) speaker.send({ type: 'ready' })
      if (tripped) onGuarded(guard.heldVips)
      return step.changedVips
    },

    quietChanged: () => {
      if (plan !== undefined && guard.heldVips.size === 0) configure(plan)
    },

    confirmed: () => {
      if (plan === undefined) return
      const vips = [...guard.heldVips]
      tell(guard.release(plan))
      for (const vip of vips) withdrawing.set(vip, revision)
      configure(plan)
    },

    observe: (event) => {
      switch (event.type) {
        case 'session':
          sessions.set(event.status.peer, event.status)
          return true
        case 'session-gone':
          return sessions.delete(event.peer)
        case 'range':
          ranges.set(event.status.range, event.status)
          return true
        case 'range-gone':
          return ranges.delete(event.range)
        case 'listening':
          listenError = undefined
          return true
        case 'listen-failed':
          listenError = `cannot listen on port ${event.port}: ${event.reason}`
          return true
        case 'flushed': {
          const before = withdrawing.size
          for (const [vip, at] of withdrawing) if (at <= event.revision) withdrawing.delete(vip)
          return withdrawing.size !== before
        }
        case 'log':
        case 'stopped':
          return false
      }
    },
  }
}

const noPeers: ReadonlySet<string> = new Set()

/** As a shutdown communication (RFC 9003). */
const quietWords = 'cut off from the cluster: other replicas announce'

// Without a usable BgpConf there are no sessions: what the speaker was told before is closed.
function speakerConfig(
  plan: Plan,
  told: SpeakerConfig | undefined,
  quiet: ReadonlySet<string>,
): SpeakerConfig | undefined {
  if (plan.speaker === undefined)
    return told === undefined ? undefined : { ...told, listenPort: 0, peers: [], ranges: [] }
  const { routerId, listenPort, listenAddresses } = plan.speaker
  const { peerRanges: ranges } = plan
  const peers =
    quiet.size === 0
      ? plan.peers
      : plan.peers.map((peer) => (quiet.has(peer.name) ? { shutdown: quietWords, ...peer } : peer))
  return { routerId, listenPort, listenAddresses, peers, ranges }
}
