// An agent's side of liveness: it has a session with every controller that a Lease names, and draws no conclusions from any.

import { systemOnLink } from '../bfd/on-link.ts'
import type { HeartbeatWatch } from '../k8s/heartbeat.ts'
import { type Ip, parseIp } from '../net/ip.ts'
import type { BfdThread } from './bfd-thread.ts'
import { sessionsWithControllers } from './watched-sessions.ts'

export interface ControllerAnswerOptions {
  readonly bfd: BfdThread
  /** Of the controllers. */
  readonly heartbeats: HeartbeatWatch
}

/** Begins to answer; ends with the thread. */
export function answerControllers({ bfd, heartbeats }: ControllerAnswerOptions): void {
  const heard = new Set<Ip>()
  const answer = (): void => bfd.setSessions(sessionsWithControllers(heartbeats.signs().values(), heard, systemOnLink))
  heartbeats.onChange(answer)
  bfd.onTidings(({ changes }) => {
    for (const { key, to } of changes) {
      const address = parseIp(key)
      if (!address.ok) continue
      if (to === 'Up') heard.add(address.value)
      else heard.delete(address.value)
    }
    answer()
  })
}
