// Who we are to which API server: from the Pod's service account, a kubeconfig file, or whatever kubectl would take.
// The in-cluster way costs nothing beyond a token file; everything else (client certificates, exec plugins, OIDC, proxies) is
// the Kubernetes client's KubeConfig, loaded only then, because it alone costs 0.4 s and 70 MB.

import { readFileSync } from 'node:fs'
import type { Agent as HttpAgent } from 'node:http'
import type { RequestOptions } from 'node:https'
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js'
import type { Clock } from '../runtime/clock.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { type KubeError, localError } from './kube-error.ts'

/** What one request needs to be accepted. */
export interface RequestCredentials {
  readonly headers: Readonly<Record<string, string>>
  readonly tls: TlsMaterial
  /** Where a proxy stands between: the agent that goes through it. */
  readonly proxyAgent?: HttpAgent
}

export interface TlsMaterial {
  readonly ca?: string | Buffer
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  readonly servername?: string
  /** Only false where the kubeconfig says insecure-skip-tls-verify. */
  readonly rejectUnauthorized?: boolean
}

export interface Credentials {
  /** Scheme, host, port and possibly a path (Rancher and other gateways). */
  readonly server: URL
  /** The namespace these credentials name, if any. */
  readonly namespace?: string
  /** Read anew from files and plugins every `refreshMs`. */
  readonly current: () => Promise<Result<RequestCredentials, KubeError>>
  /** The server said 401: read again at the next request. */
  readonly invalidate: () => void
}

export type CredentialsSource =
  /** `KUBERNETES_SERVICE_HOST` and the service account's files. */
  | { readonly type: 'in-cluster' }
  | { readonly type: 'kubeconfig'; readonly path: string; readonly context?: string }
  /** In the cluster when there is a service account, else $KUBECONFIG, else ~/.kube/config. */
  | { readonly type: 'default' }
  /** An address and nothing else: the lab's own API server. */
  | { readonly type: 'server'; readonly url: string; readonly token?: string; readonly ca?: string }

const serviceAccountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount'
// Service account tokens are rotated on disk; the kubelet renews them at 80 % of their life, so a minute is early enough.
const refreshMs = 60_000

/** Finds the credentials. Errors: nothing to find, or files that can not be read. */
export async function loadCredentials(
  source: CredentialsSource,
  options: { readonly clock: Clock },
): Promise<Result<Credentials, KubeError>> {
  try {
    switch (source.type) {
      case 'server':
        return ok(fixedCredentials(source))
      case 'in-cluster':
        return ok(inClusterCredentials(options.clock))
      case 'kubeconfig':
        return ok(await kubeconfigCredentials(source, options.clock))
      case 'default':
        return ok(
          (process.env['KUBECONFIG'] ?? '') === '' && process.env['KUBERNETES_SERVICE_HOST'] !== undefined
            ? inClusterCredentials(options.clock)
            : await kubeconfigCredentials({}, options.clock),
        )
    }
  } catch (error) {
    return err(localError('Credentials', `no usable Kubernetes credentials: ${(error as Error).message}`))
  }
}

function fixedCredentials(source: Extract<CredentialsSource, { type: 'server' }>): Credentials {
  const credentials: RequestCredentials = {
    headers: source.token === undefined ? {} : { authorization: `Bearer ${source.token}` },
    tls: source.ca === undefined ? {} : { ca: source.ca },
  }
  return { server: new URL(source.url), current: () => Promise.resolve(ok(credentials)), invalidate: () => {} }
}

function inClusterCredentials(clock: Clock): Credentials {
  const host = process.env['KUBERNETES_SERVICE_HOST']
  const port = process.env['KUBERNETES_SERVICE_PORT'] ?? '443'
  if (host === undefined) throw new Error('KUBERNETES_SERVICE_HOST is not set: this process runs in no Pod')
  const file = (name: string): string => readFileSync(`${serviceAccountDirectory}/${name}`, 'utf8')
  return {
    server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
    namespace: file('namespace').trim(),
    ...refreshed(clock, () =>
      Promise.resolve({
        headers: { authorization: `Bearer ${file('token').trim()}` },
        tls: { ca: file('ca.crt') },
      }),
    ),
  }
}

async function kubeconfigCredentials(
  source: { readonly path?: string; readonly context?: string },
  clock: Clock,
): Promise<Credentials> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js')
  const config = new KubeConfig()
  if (source.path === undefined) config.loadFromDefault()
  else config.loadFromFile(source.path)
  if (source.context !== undefined) config.setCurrentContext(source.context)
  const cluster = config.getCurrentCluster()
  if (cluster === null) throw new Error(`the kubeconfig has no cluster for its context "${config.getCurrentContext()}"`)
  const namespace = config.getContextObject(config.getCurrentContext())?.namespace
  return {
    server: new URL(cluster.server),
    ...(namespace === undefined ? {} : { namespace }),
    ...refreshed(clock, () => kubeconfigRequestCredentials(config)),
  }
}

async function kubeconfigRequestCredentials(config: KubeConfig): Promise<RequestCredentials> {
  const cluster = config.getCurrentCluster()
  // The client refuses plain HTTP unless TLS verification is off; without TLS there is nothing to verify.
  if (cluster?.server.startsWith('http:') && !cluster.skipTLSVerify) Object.assign(cluster, { skipTLSVerify: true })
  const request: RequestOptions = {}
  await config.applyToHTTPSOptions(request)
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.headers ?? {})) headers[name.toLowerCase()] = String(value)
  if (typeof request.auth === 'string')
    headers['authorization'] = `Basic ${Buffer.from(request.auth).toString('base64')}`
  const { ca, cert, key, servername, rejectUnauthorized } = request as TlsMaterial
  return {
    headers,
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(servername === undefined ? {} : { servername }),
      ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
    },
    ...(cluster?.proxyUrl === undefined || typeof request.agent !== 'object' ? {} : { proxyAgent: request.agent }),
  }
}

// Reads at most once per refresh interval; a failed read is tried again at the next request, and until a token that was good
// is known to be bad (401) it goes on being used.
function refreshed(clock: Clock, read: () => Promise<RequestCredentials>): Pick<Credentials, 'current' | 'invalidate'> {
  let held: { readonly value: RequestCredentials; readonly atMs: number } | undefined
  let rejected = false
  return {
    invalidate: () => {
      rejected = true
    },
    current: async () => {
      if (held !== undefined && !rejected && clock.monotonicMs() - held.atMs < refreshMs) return ok(held.value)
      try {
        held = { value: await read(), atMs: clock.monotonicMs() }
        rejected = false
        return ok(held.value)
      } catch (error) {
        if (held !== undefined && !rejected) return ok(held.value)
        return err(localError('Credentials', `credentials can not be read: ${(error as Error).message}`))
      }
    },
  }
}
