// Asks pods for their readiness from within the node's namespace, through one long-lived program: a program for each probe
// would cost more than everything else in the lab.

import type { Namespace } from '../netns/namespace.ts'
import { nodeProgram } from '../netns/node-program.ts'

export interface Prober {
  /** The HTTP status, or 0 without an answer in time. Never rejects. */
  readonly ask: (method: 'GET' | 'POST', url: string, timeoutMs: number) => Promise<number>
  readonly stop: () => Promise<void>
}

/** Starts the program in a node's namespace. */
export function startProber(namespace: Namespace): Prober {
  const program = namespace.spawn(nodeProgram('src/lab/kubelet/probe-program.ts'))
  const waiting = new Map<number, (status: number) => void>()
  let lastId = 0
  program.onLine((line) => {
    const { id, status } = JSON.parse(line) as { readonly id: number; readonly status: number }
    waiting.get(id)?.(status)
    waiting.delete(id)
  })
  void program.end.then(() => {
    for (const answer of waiting.values()) answer(0)
    waiting.clear()
  })
  return {
    ask: (method, url, timeoutMs) =>
      new Promise((resolve) => {
        if (program.ended() !== undefined) {
          resolve(0)
          return
        }
        const id = ++lastId
        waiting.set(id, resolve)
        program.writeLine(JSON.stringify({ id, method, url, timeoutMs }))
      }),
    stop: async () => {
      await program.stop()
    },
  }
}
