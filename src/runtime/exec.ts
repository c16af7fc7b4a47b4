// Running another program to its end. Effects that call iptables, ip or nft take an Exec, so that tests can hold the twin.

import { execFile } from 'node:child_process'

export interface ExecResult {
  /** Exit status; 127 when the program does not exist, 128 + n when a signal ended it. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface ExecOptions {
  /** Text for standard input. */
  readonly input?: string
  /** The program is killed after this time; default 10 000 ms. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  readonly env?: Readonly<Record<string, string>>
}

/** Runs `file` without a shell and resolves when it has ended, whatever its status. Never rejects. */
export type Exec = (file: string, args: readonly string[], options?: ExecOptions) => Promise<ExecResult>

const outputBytesMax = 256 * 1024 * 1024

export const systemExec: Exec = (file, args, options = {}) =>
  new Promise((resolve) => {
    const child = execFile(
      file,
      [...args],
      {
        encoding: 'utf8',
        maxBuffer: outputBytesMax,
        timeout: options.timeoutMs ?? 10_000,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
        ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
      },
      (error, stdout, stderr) => resolve({ status: statusOf(error), stdout, stderr: stderr || (error?.message ?? '') }),
    )
    // A program that ends before it read its input breaks the pipe; its exit status tells that story.
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
  })

function statusOf(error: unknown): number {
  if (error === null || error === undefined) return 0
  const { code, signal } = error as { readonly code?: unknown; readonly signal?: unknown }
  if (typeof code === 'number') return code
  if (code === 'ENOENT') return 127
  return typeof signal === 'string' ? 128 : 1
}
