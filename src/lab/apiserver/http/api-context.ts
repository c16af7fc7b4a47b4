// What the HTTP side of one server shares between requests.

import type { TokenAuthenticator } from '../auth/tokens.ts'
import type { Cluster } from '../cluster.ts'
import type { Faults } from '../faults.ts'

export interface ApiContext {
  readonly cluster: Cluster
  readonly tokens: TokenAuthenticator
  readonly authorization: 'AlwaysAllow' | 'RBAC'
  readonly faults: Faults
  readonly bookmarkIntervalMs: number
  /** host:port, known once the server listens. */
  readonly address: () => string
}
