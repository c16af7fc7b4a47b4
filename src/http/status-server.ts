// /healthz, /readyz and /metrics of a process: what a kubelet and a Prometheus ask. It renders what it is told and decides nothing.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Log } from '../runtime/log.ts'

export interface StatusSources {
  /** Why the process should be restarted, or undefined: it is alive. */
  readonly unhealthy: () => string | undefined
  /** What it still waits for, or undefined: it does its work. */
  readonly notReady: () => string | undefined
  /** Prometheus text format and its content type. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>
  /** For the other replicas: whether this one sees the cluster, and whom it tells; absent where there are none. */
  readonly standing?: () => unknown
  /** The nodes that are watched, a line each; absent where none are. */
  readonly liveness?: () => Promise<readonly unknown[]>
}

export interface StatusServer {
  readonly port: number
  readonly stop: () => Promise<void>
}

/** Listens on `port` of all addresses (0 = any free one). Rejects when the port is taken. */
export async function startStatusServer(port: number, sources: StatusSources, log: Log): Promise<StatusServer> {
  const server = createServer((request, response) => {
    answer(request, response, sources).catch((error: unknown) => {
      log.error({ event: 'http-failed', path: request.url, message: String(error) })
      send(response, 500, 'text/plain', 'internal error\n')
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, () => resolve())
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, sources: StatusSources): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return send(response, 405, 'text/plain', 'GET only\n')
  switch (request.url?.split('?')[0]) {
    case '/healthz':
      return sendCheck(response, sources.unhealthy())
    case '/readyz':
      return sendCheck(response, sources.notReady())
    case '/metrics': {
      const { contentType, text } = await sources.metrics()
      return send(response, 200, contentType, text)
    }
    case '/standing':
      if (sources.standing === undefined) break
      return send(response, 200, 'application/json', `${JSON.stringify(sources.standing())}\n`)
    case '/liveness':
      if (sources.liveness === undefined) break
      return send(response, 200, 'application/json', linesOf(await sources.liveness()))
  }
  send(response, 404, 'text/plain', 'try /healthz, /readyz or /metrics\n')
}

const linesOf = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('')

function sendCheck(response: ServerResponse, problem: string | undefined): void {
  if (problem === undefined) send(response, 200, 'text/plain', 'ok\n')
  else send(response, 503, 'text/plain', `${problem}\n`)
}

function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}
