// What became of the liveness sessions, as log lines: the same whether a thread tells it or the program itself.

import { bfdDiagnostics } from '../bfd/packet.ts'
import type { Log } from '../runtime/log.ts'
import type { BfdTidings } from './bfd-core.ts'

export function logTidings(log: Log, { changes, errors }: BfdTidings): void {
  for (const { key, from, to, diagnostic, remoteState } of changes)
    log.debug({
      event: 'liveness-session',
      with: key,
      ...{ from, to, remoteState },
      because: bfdDiagnostics[diagnostic] ?? `diagnostic ${diagnostic}`,
    })
  for (const { key, reason } of errors)
    if (reason !== undefined) log.warn({ event: 'liveness-session-failing', with: key, reason })
}
