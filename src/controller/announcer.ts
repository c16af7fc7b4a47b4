// From the cluster view to the speaker: plans, sends the speaker what changed, and remembers what the speaker still has to write,
// so that allocation can wait until a route is really withdrawn before its address is free. Runs on every replica.

import { isDeepStrictEqual } from 'node:util'
import type { SessionStatus, Speaker, SpeakerConfig, SpeakerEvent } from '../bgp/speaker/protocol.ts'
import type { ClusterChanges, ClusterView } from '../k8s/objects.ts'
import type { Planner } from '../plan/plan.ts'
import type { Plan, PlanContext } from '../plan/types.ts'

export interface Announcer {
  /** Plans and tells the speaker. Returns the names of the Vips whose report changed. */
  readonly step: (view: ClusterView, changes: ClusterChanges | undefined, context: PlanContext) => ReadonlySet<string>
  /** Takes in what the speaker reports. Returns whether something an operator sees has changed. */
  readonly observe: (event: SpeakerEvent) => boolean
  /** The last plan; undefined before the first step. */
  readonly plan: () => Plan | undefined
  readonly sessions: ReadonlyMap<string, SessionStatus>
  /** Whether no session of this replica announces the Vip any more, down to the last socket. */
  readonly isWithdrawn: (vip: string) => boolean
  /** Why the speaker cannot listen, while it cannot. */
  readonly listenError: () => string | undefined
}

/** Creates the announcer of one replica; it owns the order of what `speaker` is told. */
export function createAnnouncer(planner: Planner, speaker: Speaker): Announcer {
  const sessions = new Map<string, SessionStatus>()
  /** Vips that left the plan, with the revision that carried their withdrawal. */
  const withdrawing = new Map<string, number>()
  let plan: Plan | undefined
  let told: SpeakerConfig | undefined
  let revision = 0
  let listenError: string | undefined

  return {
    sessions,
    plan: () => plan,
    listenError: () => listenError,
    isWithdrawn: (vip) => plan !== undefined && !withdrawing.has(vip) && (plan.vips.get(vip)?.peers.length ?? 0) === 0,

    step: (view, changes, context) => {
      const previous = plan
      const step = planner.plan(view, changes, context)
      plan = step.plan
      for (const change of step.tableChanges) {
        revision++
        speaker.send({ type: 'routes', ...change, revision })
      }
      for (const vip of step.changedVips) {
        const wasAnnounced = (previous?.vips.get(vip)?.peers.length ?? 0) > 0
        const isAnnounced = (plan.vips.get(vip)?.peers.length ?? 0) > 0
        if (isAnnounced) withdrawing.delete(vip)
        else if (wasAnnounced) withdrawing.set(vip, revision)
      }
      const config = speakerConfig(plan, told)
      if (config !== undefined && !isDeepStrictEqual(config, told)) {
        speaker.send({ type: 'configure', config })
        told = config
      }
      for (const table of step.droppedTables) speaker.send({ type: 'drop-table', table })
      if (previous === undefined) speaker.send({ type: 'ready' })
      return step.changedVips
    },

    observe: (event) => {
      switch (event.type) {
        case 'session':
          sessions.set(event.status.peer, event.status)
          return true
        case 'session-gone':
          return sessions.delete(event.peer)
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

// Without a usable BgpConf there are no sessions: what the speaker was told before is closed.
function speakerConfig(plan: Plan, told: SpeakerConfig | undefined): SpeakerConfig | undefined {
  if (plan.speaker === undefined) return told === undefined ? undefined : { ...told, listenPort: 0, peers: [] }
  const { routerId, listenPort, listenAddresses } = plan.speaker
  return { routerId, listenPort, listenAddresses, peers: plan.peers }
}
