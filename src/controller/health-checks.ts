// A second opinion on next hops, for Services that ask for it: under externalTrafficPolicy Local every node answers at the Service's
// healthCheckNodePort whether it has local endpoints, and what kube-proxy says there is nearer to the packets than what the API server
// says. Asked by every replica, from where it stands.

import type { ClusterChanges, ClusterView, NamespacedName, Service } from '../k8s/objects.ts'
import { familyOf, type Ip } from '../net/ip.ts'
import { judgeNode } from '../plan/eligibility.ts'
import type { HealthChecks } from '../plan/objections.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import { healthCheckAnnotation } from '../vip/annotations.ts'
import { notServedBecause } from '../vip/service-class.ts'
import type { ServiceClassRule } from '../vip/types.ts'

/** An answer: yes, no with its HTTP status, or none. */
export type HealthAnswer = { readonly status: number } | 'silence'

export interface HealthChecksOptions {
  readonly serviceClass: ServiceClassRule
  /** Asks one URL; never rejects. */
  readonly ask: (url: string, signal: AbortSignal) => Promise<HealthAnswer>
  readonly clock: Clock
  /** An opinion changed. */
  readonly onChange: () => void
  readonly signal: AbortSignal
}

export interface HealthChecker {
  /** As the plan reads it; another value when it changed. */
  readonly opinions: () => HealthChecks
  /** The cluster as it is now: whom to ask about what. undefined = anything may have changed. */
  readonly take: (view: ClusterView, changes: ClusterChanges | undefined) => void
}

interface Target {
  readonly service: NamespacedName
  readonly node: string
  readonly url: string
}

/** From the start of one round of questions to the start of the next. */
const roundMs = 2000
/** Two times no, in a row, speak against a node; one yes speaks for it. */
const failuresMin = 2
/** Questions under way at once. */
const askingMax = 64

interface Memory {
  readonly url: string
  readonly failures: number
  readonly last: HealthAnswer
}

export function createHealthChecker(options: HealthChecksOptions): HealthChecker {
  const { clock, signal } = options
  /** The Services that ask for it: few, so that all others cost nothing. */
  const asking = new Set<NamespacedName>()
  let targets: readonly Target[] = []
  let memory = new Map<string, Memory>()
  let opinions: HealthChecks = new Map()
  let cancelTimer: CancelTimer | undefined
  let isAsking = false

  const round = async (): Promise<void> => {
    isAsking = true
    const startMs = clock.monotonicMs()
    const waiting = [...targets]
    const answers = new Map<string, Memory>()
    const askOn = async (): Promise<void> => {
      for (let target = waiting.shift(); target !== undefined && !signal.aborted; target = waiting.shift()) {
        const last = await options.ask(target.url, signal)
        const before = memory.get(keyOf(target))
        const failures = isYes(last) ? 0 : (before?.url === target.url ? before.failures : 0) + 1
        answers.set(keyOf(target), { url: target.url, failures, last })
      }
    }
    await Promise.all(Array.from({ length: Math.min(askingMax, waiting.length) }, askOn))
    isAsking = false
    if (signal.aborted) return
    memory = answers
    const next = judge(targets, memory, opinions)
    if (next !== opinions) {
      opinions = next
      options.onChange()
    }
    if (targets.length > 0)
      cancelTimer = clock.setTimer(Math.max(0, startMs + roundMs - clock.monotonicMs()), () => void round())
  }
  signal.addEventListener('abort', () => cancelTimer?.())

  return {
    opinions: () => opinions,
    take: (view, changes) => {
      const hadNone = asking.size === 0
      for (const name of changes === undefined ? view.services.keys() : (changes.get('Service') ?? [])) {
        const service = view.services.get(name as NamespacedName)
        if (service !== undefined && asksForIt(service, options.serviceClass)) asking.add(name as NamespacedName)
        else asking.delete(name as NamespacedName)
      }
      if (hadNone && asking.size === 0) return
      targets = targetsOf(view, asking)
      if (targets.length === 0) {
        cancelTimer?.()
        memory = new Map()
        if (opinions.size > 0) opinions = new Map()
      } else if (memory.size === 0 && !isAsking) void round()
    },
  }
}

const keyOf = ({ service, node }: Target): string => `${service} ${node}`
const isYes = (answer: HealthAnswer): boolean => answer !== 'silence' && answer.status === 200

// Where nobody answers at all, it is we who cannot ask: no opinion.
function judge(targets: readonly Target[], memory: ReadonlyMap<string, Memory>, before: HealthChecks): HealthChecks {
  const next = new Map<NamespacedName, ReadonlyMap<string, string>>()
  for (const [service, asked] of Map.groupBy(targets, (target) => target.service)) {
    const known = asked.map((target) => ({ target, of: memory.get(keyOf(target)) }))
    if (known.every(({ of }) => of === undefined || of.last === 'silence')) continue
    const against = new Map<string, string>()
    for (const { target, of } of known)
      if (of !== undefined && of.failures >= failuresMin) against.set(target.node, wordsOf(of))
    if (against.size === 0) continue
    const old = before.get(service)
    next.set(service, old !== undefined && sameMap(old, against) ? old : against)
  }
  return sameMap(before, next) ? before : next
}

const wordsOf = ({ url, last }: Memory): string =>
  last === 'silence'
    ? `does not answer the Service’s health check at ${url}`
    : `answers the Service’s health check at ${url} with ${last.status}`

const sameMap = <K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean =>
  a.size === b.size && [...a].every(([key, value]) => b.get(key) === value)

function targetsOf(view: ClusterView, asking: ReadonlySet<NamespacedName>): readonly Target[] {
  const targets: Target[] = []
  for (const name of asking) {
    const port = view.services.get(name)?.healthCheckNodePort ?? 0
    for (const node of nodesOf(view, name)) {
      const address = addressOf(view, node)
      if (address === undefined) continue
      const host = familyOf(address) === 'IPv6' ? `[${address}]` : address
      targets.push({ service: name, node, url: `http://${host}:${port}/healthz` })
    }
  }
  return targets
}

const asksForIt = (service: Service, rule: ServiceClassRule): boolean =>
  service.meta.annotations[healthCheckAnnotation] === 'NodePort' &&
  service.externalTrafficPolicy === 'Local' &&
  service.healthCheckNodePort > 0 &&
  notServedBecause(service, rule) === undefined

function nodesOf(view: ClusterView, service: NamespacedName): ReadonlySet<string> {
  const nodes = new Set<string>()
  for (const { endpoints } of view.endpointSlices.get(service) ?? [])
    for (const { nodeName } of endpoints) if (nodeName !== undefined) nodes.add(nodeName)
  return nodes
}

function addressOf(view: ClusterView, name: string): Ip | undefined {
  const node = view.nodes.get(name)
  return node === undefined ? undefined : judgeNode(node, undefined).addresses[0]
}

const timeoutMs = 1000

/** Asks over the network. */
export async function askHealth(url: string, signal: AbortSignal): Promise<HealthAnswer> {
  try {
    const answer = await fetch(url, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      redirect: 'manual',
    })
    await answer.body?.cancel()
    return { status: answer.status }
  } catch {
    return 'silence'
  }
}
