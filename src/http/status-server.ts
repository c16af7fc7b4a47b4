// /healthz, /readyz and /metrics of a process: what a kubelet and a Prometheus ask. It renders what it is told and decides nothing.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Log } from '../runtime/log.ts'
import { err, ok, type Result } from '../runtime/result.ts'

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

/** A port that this process has. */
export interface StatusPort {
  readonly port: number
  /** Begins to answer. Called once, in the turn in which the port was had: who asks before gets no answer. */
  readonly serve: (sources: StatusSources) => void
  readonly stop: () => Promise<void>
}

/**
 * Takes `port` of all addresses; 0 = none is wanted. The error is for whoever reads why a Pod does not start: a process that takes
 * its port before it does anything else is turned away before it is in the way of the one that is here.
 */
export async function takeStatusPort(port: number, log: Log): Promise<Result<StatusPort | undefined, string>> {
  return port === 0 ? ok(undefined) : listenAt(port, log)
}

/** As `takeStatusPort`; 0 = any free one. */
export async function listenAt(port: number, log: Log): Promise<Result<StatusPort, string>> {
  const server = createServer()
  const refused = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    server.once('error', resolve)
    server.listen(port, () => {
      server.off('error', resolve)
      resolve(undefined)
    })
  })
  if (refused !== undefined) return err(refusalOf(port, refused))
  // A process with too many open files cannot accept a connection, and goes on with its work.
  server.on('error', ({ message }) => log.warn({ event: 'http-not-accepting', port, message }))
  const address = server.address()
  return ok({
    port: typeof address === 'object' && address !== null ? address.port : port,
    serve: (sources) => {
      server.on('request', (request, response) => {
        answer(request, response, sources).catch((error: unknown) => {
          log.error({ event: 'http-failed', path: request.url, message: String(error) })
          send(response, 500, 'text/plain', 'internal error\n')
        })
      })
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  })
}

function refusalOf(port: number, { code, message }: NodeJS.ErrnoException): string {
  const what = `TCP port ${port}, for /healthz, /readyz and /metrics,`
  if (code !== 'EADDRINUSE') return `${what} cannot be opened: ${message}`
  return `${what} is in use on this host (EADDRINUSE): by another Bellhop, of which a host has one controller and one agent, or by another program; --http-port chooses another port`
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
