// The lab's API server: an in-memory Kubernetes API over HTTP that unchanged kubectl and client libraries talk to. This file
// puts the parts together and is the only one that others import.

import { randomBytes } from 'node:crypto'
import type { Clock } from '../../runtime/clock.ts'
import { systemClock } from '../../runtime/system-clock.ts'
import { AddressAllocator, type AddressRanges } from './admission/address-allocator.ts'
import type { StaticTokens } from './auth/tokens.ts'
import { TokenAuthenticator } from './auth/tokens.ts'
import { bootstrap } from './bootstrap.ts'
import type { Cluster } from './cluster.ts'
import { startDeletionControllers } from './cluster-controllers/cluster-controllers.ts'
import { Faults } from './faults.ts'
import type { ApiContext } from './http/api-context.ts'
import { type HttpServer, listen } from './http/http-server.ts'
import { tokenPath } from './http/token-path.ts'
import { renderKubeconfig } from './kubeconfig.ts'
import { Objects } from './objects.ts'
import { Registry } from './registry/registry.ts'
import { Store } from './storage/store.ts'

export interface ApiServerOptions {
  /** Address to listen on; default 127.0.0.1. */
  readonly host?: string
  /** 0 or absent: any free port. */
  readonly port?: number
  /** AlwaysAllow (default) lets everybody do everything; RBAC evaluates the stored roles and bindings. */
  readonly authorization?: 'AlwaysAllow' | 'RBAC'
  /** Bearer token to user. */
  readonly tokens?: StaticTokens
  readonly clusterIpRanges?: AddressRanges
  /** Changes remembered per kind; watches from before them get 410. Default 10000. */
  readonly watchHistory?: number
  /** Default 60 s, about what a real server does. */
  readonly bookmarkIntervalMs?: number
  /** graceful (default): pods on nodes wait for their kubelet; immediate: they go at once. */
  readonly podDeletion?: 'graceful' | 'immediate'
  readonly clock?: Clock
}

export interface ApiServerHandle {
  readonly url: string
  readonly host: string
  readonly port: number
  /** Token of a user in system:masters. */
  readonly adminToken: string
  /**
   * YAML of a kubeconfig; without a token that of the administrator. Its server URL carries the token too, because kubectl
   * sends credentials over TLS only.
   */
  kubeconfig(token?: string): string
  /** Mints a token for a ServiceAccount. Throws when it does not exist. */
  serviceAccountToken(namespace: string, name: string): string
  /** Objects in process, by the same rules as over HTTP. */
  readonly objects: Objects
  /** The storage itself: revisions, listening, compaction. */
  readonly store: Store
  readonly cluster: Cluster
  readonly faults: Faults
  /** Forgets all history, so that every watch or list from before now is answered with 410. */
  compact(): void
  /** Closes all connections and listens again on the same port, with the same objects or as a new cluster. */
  restart(options: { readonly keepData: boolean }): Promise<void>
  stop(): Promise<void>
}

export const defaultRanges: Required<AddressRanges> = { ipv4: '10.96.0.0/16', ipv6: 'fd00:10:96::/112' }

/** Starts a server and resolves once it listens. Rejects when the address is taken. */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServerHandle> {
  const adminToken = randomBytes(16).toString('hex')
  const faults = new Faults()
  const host = options.host ?? '127.0.0.1'
  let context = newContext(options, adminToken, faults, () => address())
  let server: HttpServer | undefined = await listen(context, host, options.port ?? 0)
  let deletion = startDeletionControllers(context.cluster)
  const { port } = server
  const address = (): string => `${host.includes(':') ? `[${host}]` : host}:${port}`
  const url = `http://${address()}`
  return {
    url,
    host,
    port,
    adminToken,
    faults,
    kubeconfig: (token = adminToken) => renderKubeconfig(url + tokenPath(token), token),
    serviceAccountToken: (namespace, name) => context.tokens.mint(namespace, name),
    get objects() {
      return new Objects(context.cluster)
    },
    get store() {
      return context.cluster.store
    },
    get cluster() {
      return context.cluster
    },
    compact: () => context.cluster.store.compact(),
    restart: async ({ keepData }) => {
      await server?.close()
      if (!keepData) {
        deletion.stop()
        context = newContext(options, adminToken, faults, address)
        deletion = startDeletionControllers(context.cluster)
      }
      server = await listen(context, host, port)
    },
    stop: async () => {
      deletion.stop()
      await server?.close()
      server = undefined
    },
  }
}

function newContext(options: ApiServerOptions, adminToken: string, faults: Faults, address: () => string): ApiContext {
  const store = new Store({ historyMax: options.watchHistory ?? 10_000 })
  const registry = new Registry(store)
  const ranges = options.clusterIpRanges ?? defaultRanges
  const cluster: Cluster = {
    store,
    registry,
    addresses: new AddressAllocator(store, ranges),
    clock: options.clock ?? systemClock,
    podDeletion: options.podDeletion ?? 'graceful',
  }
  bootstrap(cluster, ranges)
  const admin = { [adminToken]: { user: 'kubernetes-admin', groups: ['system:masters'] } }
  return {
    cluster,
    tokens: new TokenAuthenticator(store, { ...options.tokens, ...admin }),
    authorization: options.authorization ?? 'AlwaysAllow',
    faults,
    bookmarkIntervalMs: options.bookmarkIntervalMs ?? 60_000,
    address,
  }
}
