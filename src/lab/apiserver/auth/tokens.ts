// Bearer tokens: static ones given at the start, and those minted for service accounts, which end with their account.

import { randomBytes } from 'node:crypto'
import type { Store } from '../storage/store.ts'
import { serviceAccountUser, type User } from './user.ts'

export type StaticTokens = Readonly<Record<string, { readonly user: string; readonly groups?: readonly string[] }>>

export class TokenAuthenticator {
  readonly #store: Store
  readonly #users = new Map<string, User>()
  readonly #accounts = new Map<string, { readonly namespace: string; readonly name: string }>()

  constructor(store: Store, tokens: StaticTokens) {
    this.#store = store
    for (const [token, { user, groups = [] }] of Object.entries(tokens))
      this.#users.set(token, { name: user, groups: [...groups, 'system:authenticated'] })
  }

  /** The user that a token stands for; undefined for a token that is not, or no longer, valid. */
  authenticate(token: string): User | undefined {
    const account = this.#accounts.get(token)
    if (account === undefined) return this.#users.get(token)
    const stored = this.#store.get('/serviceaccounts', account.namespace, account.name)
    return stored === undefined ? undefined : serviceAccountUser(account.namespace, account.name, stored.uid)
  }

  /** Mints a token for a service account. Throws when the account does not exist. */
  mint(namespace: string, name: string): string {
    if (this.#store.get('/serviceaccounts', namespace, name) === undefined)
      throw new Error(`there is no ServiceAccount ${namespace}/${name} to mint a token for`)
    const token = `sa-${randomBytes(24).toString('base64url')}`
    this.#accounts.set(token, { namespace, name })
    return token
  }
}
