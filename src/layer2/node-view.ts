// The node as it was seen last, and whether it can be seen at all: where nothing can be seen nothing can be renewed either, and what is
// there goes. So a node that was looked at in vain says that it has no links, and is given nothing.

import type { Ip } from '../net/ip.ts'
import type { Exec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import { type IpError, type ObservedLink, type ObservedNode, observeNode } from './addresses.ts'

export interface NodeView {
  /** As it was when something was seen last; undefined before the first time. */
  readonly node: ObservedNode | undefined
  /** Why the last look showed nothing. */
  readonly lastError: IpError | undefined
  /** Looks; undefined when nothing can be seen. */
  readonly look: () => Promise<ObservedNode | undefined>
  /** Looks again at what was just changed. That this one shows nothing is left for the next look to say. */
  readonly lookAgain: () => Promise<void>
  /** Links that are up; none of a node of which nothing can be seen for a while. */
  readonly links: () => readonly ObservedLink[]
  /** VIPs that are on one of them by our hand. */
  readonly answered: () => ReadonlySet<Ip>
}

/** Looks in a row that show nothing: the node cannot be given anything. */
const failedLooksMax = 2

export function createNodeView({ exec, log }: { readonly exec: Exec; readonly log: Log }): NodeView {
  let node: ObservedNode | undefined
  let lastError: IpError | undefined
  let failedLooks = 0

  const links = (): readonly ObservedLink[] => (failedLooks >= failedLooksMax ? [] : (node?.links ?? []))

  return {
    links,
    get node() {
      return node
    },
    get lastError() {
      return lastError
    },
    look: async () => {
      const observed = await observeNode(exec)
      if (!observed.ok) {
        if (lastError?.message !== observed.error.message) log.error({ event: 'layer2-failed', ...observed.error })
        lastError = observed.error
        failedLooks++
        return undefined
      }
      lastError = undefined
      failedLooks = 0
      node = observed.value
      return node
    },
    lookAgain: async () => {
      const observed = await observeNode(exec)
      if (observed.ok) node = observed.value
    },
    answered: () => {
      const up = new Set(links().map(({ name }) => name))
      return new Set([...(node?.held ?? [])].flatMap(([address, held]) => (up.has(held.interface) ? [address] : [])))
    },
  }
}
