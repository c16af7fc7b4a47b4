// Whether nodes that fell silent with too many others are dead, or we are deaf: asked of the API server. An agent that loses a controller
// renews its Lease at once and two seconds later; so one that lives, and that we do not hear, has renewed it by the time we ask. An API
// server that does not answer us says nothing about anybody. The agents' end is speak-up.ts.

import type { CancelTimer, Clock } from '../runtime/clock.ts'

export interface InquiryOptions {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** By node: what tells the last renewal of its agent's Lease from others, as last seen; without those that do not speak up. */
  readonly renewals: () => ReadonlyMap<string, string>
  /** The same from the API server itself, now; undefined when it does not answer. Never rejects. */
  readonly ask: () => Promise<ReadonlyMap<string, string> | undefined>
  /** The API server has not heard of these either. */
  readonly onUnheardOf: (nodes: readonly string[]) => void
}

export interface Inquiry {
  /** All nodes of which it is not known whether they are silent or we are deaf, again whenever they are others. */
  readonly about: (nodes: ReadonlySet<string>) => void
}

/**
 * From our silence to the question. An agent notices at the same time, give or take what lay between the last packets in either
 * direction, and renews for the second time within 2.5 s: after we noticed, and some time before we ask.
 */
export const speakUpMs = 4500
/** Until it is asked again when it did not answer. */
const againMs = 1000

export function createInquiry({ clock, signal, renewals, ask, onUnheardOf }: InquiryOptions): Inquiry {
  /** The renewal that was the last one when the node fell silent, and when to ask for it. */
  const open = new Map<string, { readonly renewal: string; readonly dueMs: number }>()
  /** Those that were silent at the last call: they are asked about once. */
  let known: ReadonlySet<string> = new Set()
  let cancelTimer: CancelTimer | undefined
  let isAsking = false
  signal.addEventListener('abort', () => cancelTimer?.(), { once: true })

  const arm = (leastMs: number): void => {
    cancelTimer?.()
    cancelTimer = undefined
    if (open.size === 0 || isAsking || signal.aborted) return
    const nextMs = Math.min(...[...open.values()].map(({ dueMs }) => dueMs)) - clock.monotonicMs()
    cancelTimer = clock.setTimer(Math.max(leastMs, nextMs), () => void inquire())
  }
  const inquire = async (): Promise<void> => {
    const nowMs = clock.monotonicMs()
    const due = new Map([...open].filter(([, { dueMs }]) => dueMs <= nowMs))
    isAsking = true
    const answered = await ask()
    isAsking = false
    if (signal.aborted) return
    const unheardOf: string[] = []
    for (const [node, question] of answered === undefined ? [] : due) {
      if (open.get(node) !== question) continue
      open.delete(node)
      // One whose Lease is gone has taken its leave of the API server, and lives.
      if (answered?.get(node) === question.renewal) unheardOf.push(node)
    }
    arm(answered === undefined ? againMs : 0)
    if (unheardOf.length > 0) onUnheardOf(unheardOf)
  }

  return {
    about: (nodes) => {
      for (const node of open.keys()) if (!nodes.has(node)) open.delete(node)
      const said = renewals()
      for (const node of nodes) {
        const renewal = known.has(node) ? undefined : said.get(node)
        if (renewal !== undefined) open.set(node, { renewal, dueMs: clock.monotonicMs() + speakUpMs })
      }
      known = new Set(nodes)
      arm(0)
    },
  }
}
