// Opening requests: address, credentials, connection pool and TLS in one place. Connections are kept alive and reused; renewed
// certificates get connections of their own.

import { type ClientRequest, Agent as HttpAgent, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Socket } from 'node:net'
import { ok, type Result } from '../runtime/result.ts'
import type { Credentials, TlsMaterial } from './credentials.ts'
import type { KubeError } from './kube-error.ts'

const keepAliveProbeMs = 10_000
const idleSocketMs = 90_000

export interface Sendable {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly body?: string
  readonly contentType?: string
}

export interface Connector {
  /** A request ready to be ended, with credentials and agent. */
  readonly open: (sendable: Sendable) => Promise<Result<ClientRequest, KubeError>>
  readonly close: () => void
}

/** Nothing is opened before the first request. */
export function createConnector(credentials: Credentials, options: { readonly userAgent: string }): Connector {
  const secure = credentials.server.protocol === 'https:'
  const prefix = credentials.server.pathname.replace(/\/$/, '')
  let held: { readonly fingerprint: string; readonly agent: HttpAgent } | undefined
  // A renewed client certificate or CA needs new connections; those in use end on their own, idle ones time out.
  const agentFor = (tls: TlsMaterial): HttpAgent => {
    const fingerprint = [tls.ca, tls.cert, tls.key, tls.servername, tls.rejectUnauthorized].join('\n')
    if (held?.fingerprint !== fingerprint) {
      const common = { keepAlive: true, timeout: idleSocketMs }
      held = { fingerprint, agent: secure ? new HttpsAgent({ ...common, ...tls }) : new HttpAgent(common) }
    }
    return held.agent
  }
  return {
    close: () => held?.agent.destroy(),
    open: async (sendable) => {
      const current = await credentials.current()
      if (!current.ok) return current
      const query = new URLSearchParams(sendable.query).toString()
      const opened = (secure ? httpsRequest : httpRequest)({
        protocol: credentials.server.protocol,
        hostname: credentials.server.hostname.replace(/^\[|\]$/g, ''),
        port: credentials.server.port === '' ? (secure ? 443 : 80) : Number(credentials.server.port),
        method: sendable.method,
        path: `${prefix}${sendable.path}${query === '' ? '' : `?${query}`}`,
        agent: current.value.proxyAgent ?? agentFor(current.value.tls),
        headers: {
          accept: 'application/json',
          'user-agent': options.userAgent,
          ...current.value.headers,
          ...(sendable.body === undefined
            ? {}
            : { 'content-type': sendable.contentType, 'content-length': Buffer.byteLength(sendable.body) }),
        },
      })
      // The kernel notices a peer that vanished within about 20 s, also under a watch on which nothing is sent.
      opened.once('socket', (socket: Socket) => socket.setKeepAlive(true, keepAliveProbeMs))
      opened.setNoDelay(true)
      return ok(opened)
    },
  }
}
