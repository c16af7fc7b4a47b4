// `bellhop agent`: flags to configuration, and the clean-up of a node.

import { hostname } from 'node:os'
import { agentDefaults, runAgent } from '../../agent/agent.ts'
import { runAgentCleanup } from '../../agent/cleanup.ts'
import type { BackendChoice } from '../../datapath/choose.ts'
import { openGenerationSource } from '../../nftables/generation.ts'
import { systemExec } from '../../runtime/exec.ts'
import type { LogLevel } from '../../runtime/log.ts'
import { systemClock } from '../../runtime/system-clock.ts'
import { credentialsFrom } from '../credentials.ts'
import { runProcess } from '../process.ts'
import { staySmall } from '../small-process.ts'
import { version } from '../version.ts'

export interface AgentFlags {
  readonly kubeconfig?: string
  readonly namespace: string
  readonly node?: string
  readonly backend: BackendChoice
  readonly enforceSourceRanges: boolean
  readonly refuseUnusedPorts: boolean
  readonly checkSeconds: number
  readonly layer2HoldSeconds: number
  readonly httpPort: number
  readonly bfd: boolean
  readonly nodeBgp: boolean
  readonly class: string
  readonly defaultClass: boolean
  readonly logLevel: LogLevel
  readonly logFormat: 'auto' | 'json' | 'pretty'
  readonly cleanup?: true
}

export function agentVerb(flags: AgentFlags): Promise<void> {
  staySmall()
  return runProcess('agent', flags, async ({ log, signal }) => {
    if (flags.cleanup) {
      const outcome = await runAgentCleanup({ clock: systemClock, exec: systemExec, log })
      if (!outcome.ok) throw new Error(outcome.error.message)
      return
    }
    const generations = openGenerationSource()
    if (!generations.ok) log.info({ event: 'rules-not-followed', because: generations.error })
    await runAgent(
      {
        ...agentDefaults,
        credentials: credentialsFrom(flags.kubeconfig),
        namespace: flags.namespace,
        node: flags.node ?? hostname(),
        httpPort: flags.httpPort,
        backend: flags.backend,
        refusals: { sourceRanges: flags.enforceSourceRanges, unusedPorts: flags.refuseUnusedPorts },
        checkIntervalMs: flags.checkSeconds * 1000,
        layer2HoldSeconds: flags.layer2HoldSeconds,
        bfd: flags.bfd,
        nodeBgp: flags.nodeBgp,
        serviceClass: { name: flags.class, handleDefault: flags.defaultClass },
        version,
        onlyAgentMark: 'bellhop-agent',
      },
      {
        ...{ clock: systemClock, random: Math.random, exec: systemExec, log, signal },
        ...(generations.ok ? { generation: generations.value.read } : {}),
      },
    )
  })
}
