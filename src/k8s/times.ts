// Times as Kubernetes objects spell them.

/** metav1.Time: RFC 3339 in UTC, whole seconds. */
export const renderTime = (wallMs: number): string => `${new Date(wallMs).toISOString().slice(0, 19)}Z`

/** metav1.MicroTime: exactly six digits of a second. */
export const renderMicroTime = (wallMs: number): string => new Date(wallMs).toISOString().replace('Z', '000Z')
