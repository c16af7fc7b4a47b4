// Which nodes could answer for VIPs of mode layer2, and for which they do, from what their agents write into their Leases. An agent
// that ends returns, as a rule: its node keeps what it has for a while, as long as the kernel there keeps the addresses. One that says
// nothing any more has lost its addresses when the time is over that it may answer without a sign of the control plane.

import type { HeartbeatWatch, SignOfLife } from '../k8s/heartbeat-watch.ts'
import { type Layer2Node, type NodeLinks, parseHoldMs, parseNodeLinks } from '../layer2/links.ts'
import type { PlanContext } from '../plan/types.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'

export interface Layer2NodesOptions {
  /** Of the agents. */
  readonly heartbeats: Pick<HeartbeatWatch, 'signs' | 'silentMs' | 'onChange'>
  readonly clock: Clock
  /** `nodes` is another map. */
  readonly onChange: () => void
}

export interface Layer2Nodes {
  /** As the plan reads it. A node of which nothing new was said is the same value, and so is each part of which nothing new was. */
  readonly nodes: () => NonNullable<PlanContext['layer2']>
  readonly stop: () => void
}

/** How long an agent that said goodbye may take to return. Its addresses live a little longer (`goodbyeSeconds` of the keeper). */
const returnMs = 20_000
/** A renewal is written, and seen, a moment after it was meant. */
const silentSlackMs = 2_000
/** After an outage of the API server agents come back one by one: a request that hangs, and a repetition. */
const returnOfApiMs = 8_000
/** A renewal that says nothing new is not told: who fell silent is looked at until it speaks. */
const lookAgainMs = 1_000

interface Known {
  readonly said: string
  readonly node: Layer2Node
  /** When its Lease was found gone. */
  readonly goneMs?: number
}

export function createLayer2Nodes({ heartbeats, clock, onChange }: Layer2NodesOptions): Layer2Nodes {
  let known: ReadonlyMap<string, Known> = new Map()
  let nodes: ReadonlyMap<string, Layer2Node> = new Map()
  let deafUntilMs = Number.NEGATIVE_INFINITY
  let hasLooked = false
  let cancel: CancelTimer | undefined

  /** Until the agent's addresses are gone, if it says nothing any more; one that does not know how long goes by its Lease alone. */
  const silentInMs = ({ name, annotations }: SignOfLife): number =>
    (parseHoldMs(annotations) ?? Number.POSITIVE_INFINITY) + silentSlackMs - (heartbeats.silentMs(name) ?? 0)

  const look = (): void => {
    const nowMs = clock.monotonicMs()
    const next = new Map<string, Known>()
    const signs = [...heartbeats.signs().values()]
    // When nobody is heard of, it is the API server that was away: then silence says nothing.
    const isHeard = (sign: SignOfLife): boolean => sign.alive && silentInMs(sign) > 0
    if (signs.length > 0 && !signs.some(isHeard)) deafUntilMs = nowMs + returnOfApiMs
    const isDeaf = nowMs < deafUntilMs
    let nextMs = isDeaf ? lookAgainMs : Number.POSITIVE_INFINITY
    for (const sign of signs) {
      const links = parseNodeLinks(sign.annotations)
      if (links === undefined) continue
      const silent = !isDeaf && !isHeard(sign)
      nextMs = Math.min(nextMs, isHeard(sign) ? silentInMs(sign) : lookAgainMs)
      const node = { ...links, silent }
      const said = textOf(node)
      const before = known.get(sign.identity)
      next.set(sign.identity, { said, node: before?.said === said ? before.node : unlessNew(before?.node, node) })
    }
    for (const [name, before] of known) {
      const goneMs = before.goneMs ?? nowMs
      if (next.has(name) || nowMs - goneMs >= returnMs) continue
      next.set(name, { ...before, goneMs })
      nextMs = Math.min(nextMs, goneMs + returnMs - nowMs)
    }
    known = next
    cancel?.()
    cancel = Number.isFinite(nextMs) ? clock.setTimer(nextMs, look) : undefined
    const same = nodes.size === next.size && [...next].every(([name, { node }]) => nodes.get(name) === node)
    // That there is nobody is news, the first time.
    if (same && hasLooked) return
    hasLooked = true
    nodes = new Map([...next].map(([name, { node }]) => [name, node]))
    onChange()
  }
  heartbeats.onChange(look)
  return { nodes: () => nodes, stop: () => cancel?.() }
}

const textOf = ({ holds, ...rest }: Layer2Node): string =>
  JSON.stringify([restText(rest), holds?.more, [...(holds?.vips ?? [])]])
const restText = ({ links, refusals, answersForAll, silent }: Omit<Layer2Node, 'holds'>): string =>
  JSON.stringify([links, [...refusals], answersForAll, silent])

// What a node holds changes with each VIP; that it is judged as before has to be seen at a glance.
function unlessNew(before: Layer2Node | undefined, node: Layer2Node): Layer2Node {
  if (before === undefined || restText(before) !== restText(node)) return node
  const { links, refusals }: Pick<NodeLinks, 'links' | 'refusals'> = before
  return { ...node, links, refusals }
}
