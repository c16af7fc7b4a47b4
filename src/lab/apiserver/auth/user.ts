// Who makes a request.

export interface User {
  readonly name: string
  readonly groups: readonly string[]
  /** The UID of a service account. */
  readonly uid?: string
}

export const anonymous: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] }

/** The identity that a pod's token stands for. */
export const serviceAccountUser = (namespace: string, name: string, uid: string): User => ({
  name: `system:serviceaccount:${namespace}:${name}`,
  groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
  uid,
})
