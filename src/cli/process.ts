// What every long-running verb shares: the log, and an end by SIGTERM or SIGINT that is clean but bounded.

import { createLog, type Log, type LogLevel } from '../runtime/log.ts'

export interface ProcessOptions {
  readonly logLevel: LogLevel
  readonly logFormat: 'auto' | 'json' | 'pretty'
}

/** A clean end takes at most this long; then the process goes as it is. */
const shutdownMs = 5_000

/** Runs `work` until it ends or a signal arrives. The exit status is 0 after a clean end, 1 when `work` failed. */
export async function runProcess(
  name: string,
  options: ProcessOptions,
  work: (deps: { readonly log: Log; readonly signal: AbortSignal }) => Promise<void>,
): Promise<void> {
  const pretty = options.logFormat === 'pretty' || (options.logFormat === 'auto' && process.stdout.isTTY === true)
  const log = await createLog({ level: options.logLevel, pretty, name })
  const ending = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void => {
    if (ending.signal.aborted) process.exit(1)
    log.info({ event: 'signal', signal })
    ending.abort(new Error(signal))
    setTimeout(() => {
      log.error({ event: 'shutdown-timeout', afterMs: shutdownMs })
      process.exit(1)
    }, shutdownMs).unref()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  try {
    await work({ log, signal: ending.signal })
    process.exitCode = 0
  } catch (error) {
    log.error({ event: 'failed', message: error instanceof Error ? error.message : String(error) })
    if (error instanceof Error) log.debug({ event: 'failed-at', stack: error.stack })
    process.exitCode = 1
  } finally {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
  }
}
