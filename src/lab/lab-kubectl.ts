// The kubectl of a lab's administrator, until the lab is taken away: whoever is in the middle of a story must not make anything
// behind those who tidy up, on a cluster that stays.

import path from 'node:path'
import type { Exec, ExecResult } from '../runtime/exec.ts'

export type RunKubectl = (args: readonly string[], options?: { readonly input?: string }) => Promise<ExecResult>

export interface LabKubectl {
  /** Never rejects. */
  readonly kubectl: RunKubectl
  /** Lets no other begin, and waits for those that run. */
  readonly close: () => Promise<void>
}

/** `kubeconfig` is a file. */
export function createLabKubectl(exec: Exec, program: string, kubeconfig: string): LabKubectl {
  const running = new Set<Promise<ExecResult>>()
  let closed = false
  return {
    kubectl: async (args, options = {}) => {
      if (closed) return { status: 1, stdout: '', stderr: 'the lab is being taken away' }
      const result = exec(program, args, {
        ...options,
        env: { KUBECONFIG: kubeconfig, HOME: path.dirname(kubeconfig), NO_COLOR: '1' },
        timeoutMs: 60_000,
      })
      running.add(result)
      return result.finally(() => running.delete(result))
    },
    close: async () => {
      closed = true
      await Promise.all(running)
    },
  }
}
