// Waiting for the world to become what a lab or a test needs: by looking again, never by hoping that a pause was long enough.

export interface WaitOptions {
  /** What is waited for, in words: it heads the error when the time is over. */
  readonly what: string
  /** Default 40 000 ms: generous, because a machine that builds and tests at once is slow, and nobody waits when all is well. */
  readonly timeoutMs?: number
  /** Pause between two looks, default 50 ms. */
  readonly intervalMs?: number
  /** Evidence for the error message, read only when the time is over. */
  readonly evidence?: () => string
  readonly signal?: AbortSignal
}

const timeoutDefaultMs = 40_000

/**
 * Looks until `look` gives something other than undefined or false, and returns that. A look that throws counts as "not
 * yet"; its error ends up in the message. Throws when the time is over or the signal fires.
 */
export async function waitFor<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  options: WaitOptions,
): Promise<T> {
  const deadline = performance.now() + (options.timeoutMs ?? timeoutDefaultMs)
  let lastError: unknown
  for (;;) {
    options.signal?.throwIfAborted()
    try {
      const seen = await look()
      if (seen !== undefined && seen !== false) return seen
      lastError = undefined
    } catch (error) {
      lastError = error
    }
    if (performance.now() >= deadline) throw new Error(complaint(options, lastError))
    await pause(options.intervalMs ?? 50)
  }
}

function complaint(options: WaitOptions, lastError: unknown): string {
  const parts = [`waited ${options.timeoutMs ?? timeoutDefaultMs} ms in vain for: ${options.what}`]
  if (lastError !== undefined) parts.push(`last look: ${lastError instanceof Error ? lastError.message : lastError}`)
  if (options.evidence !== undefined) parts.push(options.evidence())
  return parts.join('\n')
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
