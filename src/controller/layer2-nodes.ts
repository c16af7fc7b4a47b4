// Which nodes could answer for VIPs of mode layer2, from what their agents write into their Leases. An agent that ends returns, as a
// rule: its node keeps what it has for a while, as long as the kernel there keeps the addresses.

import type { HeartbeatWatch } from '../k8s/heartbeat.ts'
import { type Layer2Node, parseNodeLinks } from '../layer2/links.ts'
import type { PlanContext } from '../plan/types.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'

export interface Layer2NodesOptions {
  /** Of the agents. */
  readonly heartbeats: Pick<HeartbeatWatch, 'signs' | 'onChange'>
  readonly clock: Clock
  /** `nodes` is another map. */
  readonly onChange: () => void
}

export interface Layer2Nodes {
  /** As the plan reads it. A node of which nothing new was said is the same value. */
  readonly nodes: () => NonNullable<PlanContext['layer2']>
  readonly stop: () => void
}

/** How long an agent that said goodbye may take to return. Its addresses live a little longer (`goodbyeSeconds` of the keeper). */
const returnMs = 20_000

interface Known {
  readonly said: string
  readonly node: Layer2Node
  /** When its Lease was found gone. */
  readonly goneMs?: number
}

export function createLayer2Nodes({ heartbeats, clock, onChange }: Layer2NodesOptions): Layer2Nodes {
  let known: ReadonlyMap<string, Known> = new Map()
  let nodes: ReadonlyMap<string, Layer2Node> = new Map()
  let cancel: CancelTimer | undefined

  const look = (): void => {
    const next = new Map<string, Known>()
    const signs = [...heartbeats.signs().values()]
    // When nobody is heard of, it is the API server that was away: then silence says nothing.
    const isDeaf = !signs.some(({ alive }) => alive)
    for (const { identity, annotations, alive } of signs) {
      const silent = !alive && !isDeaf
      const links = parseNodeLinks(annotations)
      if (links === undefined) continue
      const said = JSON.stringify([links.links, [...links.refusals], links.answersForAll, silent])
      const before = known.get(identity)
      next.set(identity, before?.said === said ? { said, node: before.node } : { said, node: { ...links, silent } })
    }
    const nowMs = clock.monotonicMs()
    let nextMs = Number.POSITIVE_INFINITY
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
    if (same) return
    nodes = new Map([...next].map(([name, { node }]) => [name, node]))
    onChange()
  }
  heartbeats.onChange(look)
  return { nodes: () => nodes, stop: () => cancel?.() }
}
