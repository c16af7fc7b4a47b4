// `bellhop controller`: flags to configuration, nothing else.

import { hostname } from 'node:os'
import { runController } from '../../controller/controller.ts'
import type { Product } from '../../migrate/migrate.ts'
import { systemExec } from '../../runtime/exec.ts'
import type { LogLevel } from '../../runtime/log.ts'
import { systemClock } from '../../runtime/system-clock.ts'
import { credentialsFrom } from '../credentials.ts'
import { runProcess } from '../process.ts'
import { version } from '../version.ts'

export interface ControllerFlags {
  readonly kubeconfig?: string
  readonly namespace: string
  readonly name?: string
  readonly node?: string
  readonly class: string
  readonly defaultClass: boolean
  readonly httpPort: number
  readonly record?: string
  readonly adopt: readonly Product[]
  readonly bfd: boolean
  readonly logLevel: LogLevel
  readonly logFormat: 'auto' | 'json' | 'pretty'
}

export const controllerVerb = (flags: ControllerFlags): Promise<void> =>
  runProcess('controller', flags, ({ log, signal }) =>
    runController(
      {
        credentials: credentialsFrom(flags.kubeconfig),
        namespace: flags.namespace,
        name: flags.name ?? hostname(),
        node: flags.node ?? hostname(),
        serviceClass: { name: flags.class, handleDefault: flags.defaultClass },
        httpPort: flags.httpPort,
        ...(flags.record === undefined ? {} : { recordDirectory: flags.record }),
        adopt: flags.adopt,
        bfd: flags.bfd,
        version,
      },
      { clock: systemClock, random: Math.random, exec: systemExec, log, signal },
    ),
  )
