// The process's log: JSON lines by pino, or coloured text on a terminal. Every line carries `event`, and the facts as fields.

import pino from 'pino'

/** Fields of a log line. `event` names what happened; values are data, never prose, never a secret. */
export type LogFields = { readonly event: string } & Readonly<Record<string, unknown>>

export interface Log {
  readonly debug: (fields: LogFields) => void
  readonly info: (fields: LogFields) => void
  readonly warn: (fields: LogFields) => void
  readonly error: (fields: LogFields) => void
  /** A log that adds `fields` to each of its lines. */
  readonly child: (fields: Readonly<Record<string, unknown>>) => Log
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** Creates the log of a process: JSON lines, or text for people. */
export async function createLog(options: {
  readonly level: LogLevel
  readonly pretty: boolean
  readonly name: string
}): Promise<Log> {
  const base = { level: options.level, base: { name: options.name }, timestamp: pino.stdTimeFunctions.isoTime }
  if (!options.pretty) return wrap(pino({ ...base, formatters: { level: (label) => ({ level: label }) } }))
  // Loaded only for people: a Pod never pays for it.
  const { default: prettyStream } = await import('pino-pretty')
  return wrap(pino({ ...base, messageKey: 'event' }, prettyStream({ ignore: 'pid,hostname,name', singleLine: true })))
}

function wrap(logger: pino.Logger): Log {
  return {
    debug: (fields) => logger.debug(fields),
    info: (fields) => logger.info(fields),
    warn: (fields) => logger.warn(fields),
    error: (fields) => logger.error(fields),
    child: (fields) => wrap(logger.child(fields)),
  }
}

/** A log that says nothing: for tests. */
export const silentLog: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLog,
}
