// `bellhop uninstall`: takes everything of ours off the Services of a cluster, and the Vips away. Says what it does line by line.

import { createKubeClient } from '../../k8s/client.ts'
import { silentLog } from '../../runtime/log.ts'
import { systemClock } from '../../runtime/system-clock.ts'
import { credentialsFrom } from '../credentials.ts'
import { uninstall } from '../uninstall.ts'
import { version } from '../version.ts'

export interface UninstallFlags {
  readonly kubeconfig?: string
  readonly namespace: string
  readonly keepAddresses?: true
  readonly dryRun?: true
}

/** The exit status is 0 when nothing of ours is left, else 1. */
export async function uninstallVerb(flags: UninstallFlags): Promise<void> {
  const created = await createKubeClient({
    credentials: credentialsFrom(flags.kubeconfig),
    clock: systemClock,
    log: silentLog,
    userAgent: `bellhop/${version} (uninstall)`,
  })
  const done = created.ok
    ? await uninstall({
        client: created.value,
        clock: systemClock,
        namespace: flags.namespace,
        keepAddresses: flags.keepAddresses ?? false,
        dryRun: flags.dryRun ?? false,
        say: (line) => void process.stdout.write(`${line}\n`),
      })
    : { ok: false as const, error: created.error.message }
  if (created.ok) created.value.close()
  if (!done.ok) process.stderr.write(`${done.error}\n`)
  process.exitCode = done.ok && done.value ? 0 : 1
}
