// Waits for the agents: from their Leases, which say up to which Vip a node's rules are in place, to what the plan has to wait for.
// Here is the time: nobody is waited for longer than five seconds, and a node whose agent merely began anew, not at all, for its
// rules have stayed.

import { isDeepStrictEqual } from 'node:util'
import type { HeartbeatWatch, SignOfLife } from '../k8s/heartbeat-watch.ts'
import type { ClusterChanges, ClusterView, Vip } from '../k8s/objects.ts'
import { bootAnnotation, inPlaceAnnotation } from '../liveness/lease-annotations.ts'
import { nodeAnnotation } from '../liveness/watched-sessions.ts'
import { type Dataplane, openDataplane } from '../plan/dataplane.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import { createTrigger } from '../runtime/trigger.ts'

/** So long a route waits for an agent's word. */
export const waitMaxMs = 5000

export interface DataplaneGateOptions {
  /** The Leases of the agents. */
  readonly agents: Pick<HeartbeatWatch, 'signs' | 'onChange'>
  readonly clock: Clock
  /** What is waited for changed, by an agent's word or by time. */
  readonly onChange: () => void
  readonly signal: AbortSignal
}

export interface DataplaneGate {
  /** As the plan reads it; another value when it changed. */
  readonly dataplane: () => Dataplane
  /** Takes note of Vips that came and went; whoever calls plans afterwards. undefined = all there is was there before. */
  readonly take: (view: ClusterView, changes: ClusterChanges | undefined) => void
}

interface Waiting<What> {
  readonly what: What
  readonly untilMs: number
}

interface Attested {
  readonly boot: string
  readonly inPlace: bigint
}

export function createDataplaneGate(options: DataplaneGateOptions): DataplaneGate {
  const { agents, clock, signal } = options
  const seen = new Set<string>()
  const young = new Map<string, Waiting<bigint>>()
  /** By node: the boot in which its rules were in place once, or were waited for long enough. */
  const trusted = new Map<string, string>()
  /** By node: the boot in which they are not in place yet. */
  const unready = new Map<string, Waiting<string>>()
  let dataplane = openDataplane
  let cancelTimer: CancelTimer | undefined

  const judge = (): void => {
    const nowMs = clock.monotonicMs()
    const attested = attestations(agents.signs().values())
    for (const [node, waiting] of unready) {
      if (attested.get(node)?.boot !== waiting.what) unready.delete(node)
      else if (nowMs >= waiting.untilMs) trusted.set(node, waiting.what)
    }
    for (const [node, { boot, inPlace }] of attested) {
      if (inPlace > 0n) trusted.set(node, boot)
      if (trusted.get(node) === boot) unready.delete(node)
      else if (!unready.has(node)) unready.set(node, { what: boot, untilMs: nowMs + waitMaxMs })
    }
    for (const [vip, { what, untilMs }] of young)
      if (nowMs >= untilMs || [...attested.values()].every(({ inPlace }) => inPlace >= what)) young.delete(vip)
    const next: Dataplane = {
      young: new Map([...young].map(([vip, { what }]) => [vip, what])),
      // Without young VIPs nobody asks, and then no renewal makes another value.
      inPlace: new Map(young.size === 0 ? [] : [...attested].map(([node, { inPlace }]) => [node, inPlace])),
      unready: new Set(unready.keys()),
    }
    if (!isDeepStrictEqual(dataplane, next)) dataplane = next
    awaitNext(nowMs)
  }
  const awaitNext = (nowMs: number): void => {
    cancelTimer?.()
    cancelTimer = undefined
    const moments = [...young.values(), ...unready.values()].map(({ untilMs }) => untilMs)
    if (moments.length === 0 || signal.aborted) return
    const nextMs = moments.reduce((least, moment) => Math.min(least, moment))
    cancelTimer = clock.setTimer(Math.max(0, nextMs - nowMs), word.pull)
  }
  // A thousand agents that speak within a moment are one round.
  let busyMs = 0
  const word = createTrigger(
    () => {
      const startMs = clock.monotonicMs()
      const before = dataplane
      judge()
      if (dataplane !== before) options.onChange()
      busyMs = clock.monotonicMs() - startMs
    },
    {
      clock,
      busyMs: () => busyMs,
      onError: (error) => {
        throw error
      },
    },
  )
  agents.onChange(word.pull)
  signal.addEventListener('abort', () => {
    cancelTimer?.()
    void word.stop()
  })

  return {
    dataplane: () => dataplane,
    take: (view, changes) => {
      if (changes === undefined) for (const vip of view.vips.keys()) seen.add(vip)
      let news = changes === undefined
      for (const name of changes?.get('Vip') ?? []) {
        const vip = view.vips.get(name)
        if (vip === undefined) {
          seen.delete(name)
          news = young.delete(name) || news
        } else if (!seen.has(name)) {
          seen.add(name)
          const version = versionOf(vip)
          if (version !== undefined) young.set(name, { what: version, untilMs: clock.monotonicMs() + waitMaxMs })
          news = true
        }
      }
      if (news) judge()
    },
  }
}

function attestations(signs: Iterable<SignOfLife>): ReadonlyMap<string, Attested> {
  const attested = new Map<string, Attested>()
  for (const { annotations, alive } of signs) {
    const node = annotations[nodeAnnotation]
    const inPlace = parseVersion(annotations[inPlaceAnnotation] ?? '')
    if (alive && node !== undefined && inPlace !== undefined)
      attested.set(node, { boot: annotations[bootAnnotation] ?? '', inPlace })
  }
  return attested
}

const versionOf = ({ meta }: Vip): bigint | undefined => parseVersion(meta.resourceVersion)

/** Where a server's versions are no numbers, there is nothing to compare, and nobody is waited for. */
const parseVersion = (text: string): bigint | undefined => (/^\d+$/.test(text) ? BigInt(text) : undefined)
