// Branded primitives: a value that was parsed once at the edge carries the proof in its type.

declare const brand: unique symbol

/** `T` that went through the parser named by `Name`. Only that parser may write `as Brand`. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name }
