// Times as Kubernetes writes them: RFC 3339 in UTC, in whole seconds.

/** `ms` since 1970 as `2026-01-31T12:00:00Z`. */
export const rfc3339 = (ms: number): string => new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z')
