// A function that may say no returns the reason as a value. Errors caused by peers, users or the kernel travel this way;
// our own mistakes are thrown.

/** Either a value or the facts of a refusal. Test `result.ok` first. */
export type Result<T, E> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: E }

/** Wraps a value as success. */
export const ok = <T>(value: T): { readonly ok: true; readonly value: T } => ({ ok: true, value })

/** Wraps the facts of a refusal. */
export const err = <E>(error: E): { readonly ok: false; readonly error: E } => ({ ok: false, error })

/** The value, or a thrown error: for literals and tests, where a refusal is our own mistake. */
export function must<T, E>(result: Result<T, E>): T {
  if (result.ok) return result.value
  throw new Error(`unexpected refusal: ${JSON.stringify(result.error)}`)
}

/** For the default branch of a switch over a union: compiles only when every case is handled. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`)
}
