// The conversation with a server that misbehaves in every way seen in the field: each ends in a value that says what happened.

import { createServer } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createKubeClient, type KubeClient, type KubeRequest } from '../../src/k8s/client.ts'
import type { Clock } from '../../src/runtime/clock.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import {
  type Script,
  type ScriptedServer,
  sendJson,
  startScriptedServer,
  statusBody,
} from './support/scripted-server.ts'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0)) await close()
})

async function scripted(
  script: Script,
  options: { readonly concurrency?: number; readonly path?: string; readonly clock?: Clock } = {},
): Promise<{ readonly client: KubeClient; readonly server: ScriptedServer }> {
  const server = await startScriptedServer(script)
  const client = must(
    await createKubeClient({
      credentials: { type: 'server', url: `${server.url}${options.path ?? ''}`, token: 'sesame' },
      clock: options.clock ?? systemClock,
      log: silentLog,
      userAgent: 'bellhop/test',
      ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
    }),
  )
  open.push(client.close, server.close)
  return { client, server }
}

const get: KubeRequest = { method: 'GET', path: '/api/v1/nodes' }

test('a long list that takes its time to read lets others have the thread, and comes to its end', async () => {
  const items = Array.from({ length: 3_000 }, (_, i) => ({ metadata: { name: `n${i}` }, filler: 'x'.repeat(300) }))
  let nowMs = 0
  const clock = { ...systemClock, monotonicMs: () => (nowMs += 10) }
  const list = { kind: 'NodeList', metadata: { resourceVersion: '7' }, items }
  const { client } = await scripted((_request, response) => sendJson(response, 200, list), { clock })
  const read: unknown[] = []
  const readAtTurn = new Set<number>()
  let isOver = false
  const turn = (): void => {
    readAtTurn.add(read.length)
    if (!isOver) setImmediate(turn)
  }
  turn()
  const answer = await client.request({ ...get, onItem: (item) => void read.push(item) })
  isOver = true
  expect(answer).toEqual({ ok: true, value: { ...list, items: [] } })
  expect(read).toEqual(items)
  // A megabyte comes in chunks of 64 KB at most, and after each of them somebody else has a turn.
  expect(readAtTurn.size).toBeGreaterThan(10)
})

test('a request carries credentials, user agent, content type and a query that is escaped', async () => {
  const { client, server } = await scripted((_request, response) => sendJson(response, 200, { kind: 'Node' }))
  const answer = await client.request({
    method: 'PATCH',
    path: '/api/v1/nodes/n1',
    query: { fieldManager: 'a b' },
    patchType: 'merge',
    body: { x: 1 },
  })
  expect(answer).toEqual({ ok: true, value: { kind: 'Node' } })
  const [seen] = server.seen
  expect(seen?.headers).toMatchObject({
    authorization: 'Bearer sesame',
    'user-agent': 'bellhop/test',
    'content-type': 'application/merge-patch+json',
  })
  expect([seen?.path, seen?.query.get('fieldManager'), seen?.body]).toEqual(['/api/v1/nodes/n1', 'a b', '{"x":1}'])
})

test('a server behind a path keeps its path', async () => {
  const { client, server } = await scripted((_request, response) => sendJson(response, 200, {}), { path: '/k8s/c-1/' })
  await client.request(get)
  expect(server.seen[0]?.path).toBe('/k8s/c-1/api/v1/nodes')
})

test('requests one after the other share one connection', async () => {
  const { client, server } = await scripted((_request, response) => sendJson(response, 200, {}))
  for (let i = 0; i < 5; i++) must(await client.request(get))
  expect(server.connections()).toBe(1)
})

// What the server does, and what the caller is told.
test.each<[string, Script, { readonly status: number; readonly reason: string; readonly message: RegExp }]>([
  [
    'a Status object',
    (_request, response) => sendJson(response, 409, statusBody(409, 'AlreadyExists', 'vips "x" already exists')),
    { status: 409, reason: 'AlreadyExists', message: /^vips "x" already exists$/ },
  ],
  [
    'a bare 403 of a proxy',
    (_request, response) => response.writeHead(403).end(''),
    { status: 403, reason: 'Forbidden', message: /empty body/ },
  ],
  [
    'a web page with status 200',
    (_request, response) =>
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html><body>Login</body></html>'),
    { status: 200, reason: 'NotKubernetes', message: /web page.*proxy/ },
  ],
  [
    'a web page with status 502',
    (_request, response) => response.writeHead(502).end('<!DOCTYPE html><h1>Bad Gateway</h1>'),
    { status: 502, reason: 'HTTP502', message: /web page/ },
  ],
  [
    'JSON that ends too early',
    (_request, response) => response.writeHead(200).end('{"kind":"NodeList","items":['),
    { status: 200, reason: 'NotKubernetes', message: /no Kubernetes answer/ },
  ],
  [
    'an array',
    (_request, response) => sendJson(response, 200, []),
    { status: 200, reason: 'NotKubernetes', message: /no Kubernetes answer/ },
  ],
  [
    'less than it promised',
    (_request, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write('{"kind":')
      setImmediate(() => response.destroy())
    },
    { status: 0, reason: 'ConnectionLost', message: /after 8 bytes/ },
  ],
  [
    'a closed connection',
    (_request, response) => response.destroy(),
    { status: 0, reason: 'ConnectionLost', message: /GET \/api\/v1\/nodes/ },
  ],
  [
    'a server error',
    (_request, response) => sendJson(response, 500, statusBody(500, 'InternalError', 'etcd is gone')),
    { status: 500, reason: 'InternalError', message: /etcd is gone/ },
  ],
])('%s becomes an error value', async (_what, script, expected) => {
  const { client } = await scripted(script)
  const answer = await client.request(get)
  expect(answer).toMatchObject({ ok: false, error: { status: expected.status, reason: expected.reason } })
  expect(answer.ok ? '' : answer.error.message).toMatch(expected.message)
})

test('a server that answers with silence is a timeout', async () => {
  const { client } = await scripted(() => {})
  const answer = await client.request({ ...get, timeoutMs: 50 })
  expect(answer).toMatchObject({ ok: false, error: { status: 0, reason: 'Timeout' } })
})

test('a server that stops in the middle of its answer is a timeout', async () => {
  const { client } = await scripted((_request, response) => void response.writeHead(200).write('{"kind"'))
  const answer = await client.request({ ...get, timeoutMs: 50 })
  expect(answer).toMatchObject({ ok: false, error: { reason: 'Timeout' } })
})

test('no server at all is Unreachable', async () => {
  const { client, server } = await scripted(() => {})
  await server.close()
  expect(await client.request(get)).toMatchObject({ ok: false, error: { status: 0, reason: 'Unreachable' } })
})

test('plain text where TLS was expected is TlsRefused', async () => {
  const plain = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
  const address = plain.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const client = must(
    await createKubeClient({
      credentials: { type: 'server', url: `https://127.0.0.1:${port}` },
      clock: systemClock,
      log: silentLog,
      userAgent: 'bellhop/test',
    }),
  )
  open.push(client.close, () => plain.close())
  expect(await client.request(get)).toMatchObject({ ok: false, error: { reason: 'TlsRefused' } })
})

test('a signal ends a request that is under way', async () => {
  const abort = new AbortController()
  const { client } = await scripted(() => abort.abort())
  expect(await client.request({ ...get, signal: abort.signal })).toMatchObject({
    ok: false,
    error: { reason: 'Cancelled' },
  })
})

test('a signal that fired before sends nothing', async () => {
  const { client, server } = await scripted((_request, response) => sendJson(response, 200, {}))
  expect(await client.request({ ...get, signal: AbortSignal.abort() })).toMatchObject({
    ok: false,
    error: { reason: 'Cancelled' },
  })
  expect(server.seen).toHaveLength(0)
})

test('429 is tried again after the time the server asks for', async () => {
  let asked = 0
  const { client, server } = await scripted((_request, response) => {
    asked++
    if (asked < 3) sendJson(response, 429, statusBody(429, 'TooManyRequests', 'slow down'), { 'retry-after': '0' })
    else sendJson(response, 200, { kind: 'Node' })
  })
  expect(await client.request(get)).toEqual({ ok: true, value: { kind: 'Node' } })
  expect(server.seen).toHaveLength(3)
})

test('429 without an end is given back with the time the server asked for', async () => {
  const { client, server } = await scripted((_request, response) =>
    sendJson(response, 429, statusBody(429, 'TooManyRequests', 'slow down'), { 'retry-after': '0' }),
  )
  expect(await client.request(get)).toMatchObject({ ok: false, error: { status: 429, retryAfterSeconds: 0 } })
  expect(server.seen).toHaveLength(5)
})

test('429 that asks for more than half a minute is not waited for', async () => {
  const { client } = await scripted((_request, response) =>
    sendJson(response, 429, statusBody(429, 'TooManyRequests', 'slow down'), { 'retry-after': '3600' }),
  )
  expect(await client.request(get)).toMatchObject({ ok: false, error: { status: 429, retryAfterSeconds: 3600 } })
})

test('401 reads the credentials again and tries once more', async () => {
  let asked = 0
  const { client } = await scripted((_request, response) => {
    asked++
    if (asked === 1) sendJson(response, 401, statusBody(401, 'Unauthorized', 'Unauthorized'))
    else sendJson(response, 200, {})
  })
  expect(await client.request(get)).toMatchObject({ ok: true })
})

test('an idle connection that the server closed costs a GET nothing', async () => {
  const { client, server } = await scripted((_request, response) => sendJson(response, 200, {}))
  must(await client.request(get))
  server.breakConnections()
  expect(await client.request(get)).toMatchObject({ ok: true })
})

test('no more requests run at once than allowed, and vital ones do not wait behind them', async () => {
  const waiting: (() => void)[] = []
  let most = 0
  const { client } = await scripted(
    (request, response) => {
      if (request.path === '/vital') {
        sendJson(response, 200, {})
        return
      }
      waiting.push(() => sendJson(response, 200, {}))
      most = Math.max(most, waiting.length)
    },
    { concurrency: 2 },
  )
  const bulk = Array.from({ length: 6 }, () => client.request(get))
  expect(await client.request({ method: 'GET', path: '/vital', lane: 'vital' })).toMatchObject({ ok: true })
  const drain = setInterval(() => waiting.shift()?.(), 1)
  open.push(() => clearInterval(drain))
  expect((await Promise.all(bulk)).every((answer) => answer.ok)).toBe(true)
  expect(most).toBeLessThanOrEqual(2)
})

// ------------------------------------------------------------------------------------------------------- streams

function follow(client: KubeClient, options: { readonly totalTimeoutMs?: number; readonly signal?: AbortSignal } = {}) {
  const values: unknown[] = []
  const end = client.stream({
    path: '/api/v1/nodes',
    query: { watch: '1' },
    openTimeoutMs: 1_000,
    totalTimeoutMs: options.totalTimeoutMs ?? 5_000,
    signal: options.signal ?? new AbortController().signal,
    onOpen: () => {},
    onValue: (value) => void values.push(value),
  })
  return { values, end }
}

test('a stream gives one value a line however its bytes are cut', async () => {
  const bytes = Buffer.from('{"a":"ü"}\n{"b":2}\n\n{"c":3}\n')
  const { client } = await scripted((_request, response) => {
    response.writeHead(200)
    const send = (at: number): void => {
      if (at >= bytes.length) response.end()
      else response.write(bytes.subarray(at, at + 1), () => send(at + 1))
    }
    send(0)
  })
  const { values, end } = follow(client)
  expect(await end).toEqual({ ok: true, value: undefined })
  expect(values).toEqual([{ a: 'ü' }, { b: 2 }, { c: 3 }])
})

test.each<[string, Script, string]>([
  [
    'a stream cut inside an event',
    (_request, response) => {
      response.writeHead(200)
      response.write('{"a":1}\n{"b"')
      setImmediate(() => response.destroy())
    },
    'ConnectionLost',
  ],
  [
    'a stream that ends properly inside an event',
    (_request, response) => void response.writeHead(200).end('{"a":1}\n{"b"'),
    'ConnectionLost',
  ],
  [
    'a line that is no JSON',
    (_request, response) => void response.writeHead(200).write('{"a":1}\n<html>\n'),
    'NotKubernetes',
  ],
  [
    '410 instead of a stream',
    (_request, response) => sendJson(response, 410, statusBody(410, 'Expired', 'too old')),
    'Expired',
  ],
])('%s is an error after what came before', async (_what, script, reason) => {
  const { client } = await scripted(script)
  expect(await follow(client).end).toMatchObject({ ok: false, error: { reason } })
})

test('a stream on which nothing ever comes is ended', async () => {
  const { client } = await scripted((_request, response) => void response.writeHead(200).flushHeaders())
  expect(await follow(client, { totalTimeoutMs: 50 }).end).toMatchObject({ ok: false, error: { reason: 'Timeout' } })
})

test('a watch that is refused without an end to the words waits no longer than for its opening', async () => {
  const { client } = await scripted((_request, response) => void response.writeHead(503).write('{"kind":"Status"'))
  // The stream itself might last for an hour.
  expect(await follow(client, { totalTimeoutMs: 3_600_000 }).end).toMatchObject({
    ok: false,
    error: { reason: 'Timeout', message: 'GET /api/v1/nodes: no answer within 1000 ms' },
  })
})

test('an idle connection that the server closed costs a watch nothing', async () => {
  const { client, server } = await scripted((_request, response) => void response.writeHead(200).end('{}\n'))
  must(await client.request(get))
  server.breakConnections()
  expect(await follow(client).end).toMatchObject({ ok: true })
})

test('a refusal that was read to its end leaves the connection for the next request', async () => {
  const { client, server } = await scripted((_request, response) =>
    sendJson(response, 404, statusBody(404, 'NotFound', 'not here')),
  )
  for (let requests = 0; requests < 3; requests++) await client.request(get)
  expect(await follow(client).end).toMatchObject({ ok: false, error: { status: 404 } })
  await client.request(get)
  expect(server.connections()).toBe(1)
})

test('a stream ends with its signal', async () => {
  const abort = new AbortController()
  const { client } = await scripted((_request, response) => {
    response.writeHead(200).flushHeaders()
    setImmediate(() => abort.abort())
  })
  expect(await follow(client, { signal: abort.signal }).end).toMatchObject({
    ok: false,
    error: { reason: 'Cancelled' },
  })
})
