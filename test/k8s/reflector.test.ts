// The reflector against servers that a lab's honest API server cannot play: silent, babbling, half-spoken.

import type { ServerResponse } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { createKubeClient, type KubeClient } from '../../src/k8s/client.ts'
import { identityOf } from '../../src/k8s/json.ts'
import type { KubeError } from '../../src/k8s/kube-error.ts'
import { type Reflector, startReflector } from '../../src/k8s/reflector.ts'
import { resources } from '../../src/k8s/resources.ts'
import { type Log, silentLog } from '../../src/runtime/log.ts'
import { err, must, ok } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'
import { until } from './support/api-server.ts'
import {
  type ScriptedServer,
  type SeenRequest,
  sendJson,
  startScriptedServer,
  statusBody,
} from './support/scripted-server.ts'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

interface Followed {
  readonly server: ScriptedServer
  readonly client: KubeClient
  readonly reflector: Reflector
  /** Names, as they are swapped, put and removed. */
  readonly told: string[]
  /** Reasons of the troubles that were worth a line in the log. */
  readonly warned: string[]
  readonly watches: () => readonly SeenRequest[]
  readonly lists: () => readonly SeenRequest[]
}

/** Time passes `speed` times as fast for the reflector, so that its patience is short. */
async function follow(
  answer: {
    readonly list: (response: ServerResponse, request: SeenRequest) => void
    readonly watch: (response: ServerResponse, request: SeenRequest) => void
  },
  options: { readonly speed?: number; readonly labelSelector?: string } = {},
): Promise<Followed> {
  const server = await startScriptedServer((request, response) => {
    if (request.query.has('watch')) answer.watch(response, request)
    else answer.list(response, request)
  })
  open.push(server.close)
  const speed = options.speed ?? 100
  const clock = {
    ...systemClock,
    setTimer: (delayMs: number, fire: () => void) => systemClock.setTimer(delayMs / speed, fire),
  }
  const client = must(
    await createKubeClient({
      credentials: { type: 'server', url: server.url },
      clock,
      log: silentLog,
      userAgent: 'bellhop/test',
    }),
  )
  open.push(client.close)
  const stop = new AbortController()
  open.push(() => stop.abort())
  const told: string[] = []
  const warned: string[] = []
  const log: Log = { ...silentLog, warn: (fields) => void warned.push(String(fields['reason'])) }
  let staged: string[] = []
  const reflector = startReflector({
    client,
    resource: resources.Node,
    clock,
    random: () => 0,
    log,
    signal: stop.signal,
    ...(options.labelSelector === undefined ? {} : { labelSelector: options.labelSelector }),
    sink: {
      begin: () => {
        staged = []
      },
      stage: (item) => void staged.push(identityOf(item).name ?? '?'),
      swap: (version) => void told.push(`swap ${staged.join()} @${version}`),
      put: (raw) => void told.push(`put ${identityOf(raw).name}`),
      remove: (raw) => void told.push(`remove ${identityOf(raw).name}`),
    },
  })
  const by = (watch: boolean) => (): readonly SeenRequest[] =>
    server.seen.filter(({ query }) => query.has('watch') === watch)
  return { server, client, reflector, told, warned, watches: by(true), lists: by(false) }
}

const nodeList = (...names: readonly string[]) => ({
  kind: 'NodeList',
  metadata: { resourceVersion: '10' },
  items: names.map((name) => ({ metadata: { name, resourceVersion: '5' } })),
})
const event = (type: string, name: string, resourceVersion: string): string =>
  `${JSON.stringify({ type, object: { kind: 'Node', metadata: { name, resourceVersion } } })}\n`
const silence = (response: ServerResponse): void => {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.flushHeaders()
}

test('a watch asks for bookmarks, for a bounded time, from the version of the list, with its selector', async () => {
  const { watches, lists } = await follow(
    { list: (response) => sendJson(response, 200, nodeList()), watch: silence },
    { labelSelector: 'a=b' },
  )
  await until('a watch was opened', () => watches().length > 0)
  expect(Object.fromEntries(watches()[0]?.query ?? [])).toEqual({
    watch: '1',
    allowWatchBookmarks: 'true',
    resourceVersion: '10',
    timeoutSeconds: '300',
    labelSelector: 'a=b',
  })
  expect(Object.fromEntries(lists()[0]?.query ?? [])).toEqual({ limit: '500', labelSelector: 'a=b' })
})

test('a watch that the server forgot to end is opened again, from the last bookmark', async () => {
  const { watches, lists, told } = await follow(
    {
      list: (response) => sendJson(response, 200, nodeList('n1')),
      watch: (response, request) => {
        silence(response)
        if (request.query.get('resourceVersion') === '10') response.write(event('BOOKMARK', '', '77'))
      },
    },
    { speed: 400 },
  )
  await until('the watch was opened again', () => watches().length >= 2)
  expect(watches()[1]?.query.get('resourceVersion')).toBe('77')
  expect(lists()).toHaveLength(1)
  expect(told).toEqual(['swap n1 @10'])
})

test('a watch that went silent with the server is opened again as soon as the server answers anything', async () => {
  let isAway = false
  const { watches, lists, client } = await follow(
    {
      list: (response) => (isAway ? response.destroy() : sendJson(response, 200, nodeList('n1'))),
      watch: (response) => silence(response),
    },
    { speed: 1 },
  )
  await until('the watch is open', () => watches().length === 1)
  const ask = (): Promise<unknown> => client.request({ method: 'GET', path: '/api/v1/nodes' })
  await ask()
  expect(watches()).toHaveLength(1)
  isAway = true
  await ask()
  isAway = false
  await ask()
  await until('the watch was opened again', () => watches().length === 2)
  expect(watches()[1]?.query.get('resourceVersion')).toBe('10')
  // One at the start, and what the test asked: a GET on a connection that broke is sent twice.
  expect(lists().length).toBeLessThanOrEqual(5)
})

test('who waits to try again is told that the server is back, though an event came after the first request had failed to be answered', async () => {
  const clock = createVirtualClock(1000)
  const watches: { readonly tell: (value: unknown) => void; readonly end: (error: KubeError) => void }[] = []
  let isBack = (_awaySinceMs: number): void => {}
  const client: Pick<KubeClient, 'request' | 'stream' | 'onReturn'> = {
    request: async () => ok({ metadata: { resourceVersion: '10' }, items: [] }),
    stream: ({ onOpen, onValue }) =>
      new Promise((resolve) => {
        onOpen?.()
        watches.push({ tell: onValue, end: (error) => resolve(err(error)) })
      }),
    onReturn: (listener) => {
      isBack = listener
    },
  }
  const stop = new AbortController()
  open.push(() => stop.abort())
  startReflector({
    client: client as KubeClient,
    resource: resources.Node,
    ...{ clock, random: () => 0, log: silentLog, signal: stop.signal },
    sink: { begin: () => {}, stage: () => {}, swap: () => {}, put: () => {}, remove: () => {} },
  })
  await until('the first watch', () => watches.length === 1)
  watches[0]?.tell({ type: 'ADDED', object: { kind: 'Node', metadata: { name: 'n1', resourceVersion: '11' } } })
  // Until the waits are so long that nobody would notice the return by himself.
  for (let failed = 1; failed <= 6; failed++) {
    watches.at(-1)?.end({ status: 0, reason: 'Unreachable', message: 'away' })
    await until('a wait', () => clock.nextTimerInMs() !== undefined)
    if (failed < 6) clock.advance(60_000)
    await until('the next watch', () => failed === 6 || watches.length === failed + 1)
  }
  isBack(999)
  await until('the watch after the return', () => watches.length === 7)
})

test('events before a break are kept, and the watch continues after them', async () => {
  const { watches, told } = await follow({
    list: (response) => sendJson(response, 200, nodeList('n1')),
    watch: (response, request) => {
      silence(response)
      if (request.query.get('resourceVersion') !== '10') return
      response.write(
        event('ADDED', 'n2', '11') + event('DELETED', 'n1', '12') + event('MODIFIED', 'n3', '13').slice(0, 30),
      )
      setTimeout(() => response.destroy(), 5)
    },
  })
  await until('the watch was opened again', () => watches().length >= 2)
  expect(watches()[1]?.query.get('resourceVersion')).toBe('12')
  expect(told).toEqual(['swap n1 @10', 'put n2', 'remove n1'])
})

test.each<[string, string]>([
  [
    'an ERROR event with 410',
    `${JSON.stringify({ type: 'ERROR', object: statusBody(410, 'Expired', 'too old resource version') })}\n`,
  ],
])('%s leads to a new list that replaces everything at once', async (_what, line) => {
  let listed = 0
  const { told } = await follow({
    list: (response) => sendJson(response, 200, nodeList(...(listed++ === 0 ? ['n1', 'n2'] : ['n2', 'n3']))),
    watch: (response) => {
      silence(response)
      if (listed === 1) response.write(line)
    },
  })
  await until('the second list is in', () => told.length === 2)
  expect(told).toEqual(['swap n1,n2 @10', 'swap n2,n3 @10'])
})

test.each<[string, string]>([
  ['an event of a type that does not exist', '{"type":"RENAMED","object":{}}\n'],
  ['an event that is no object', '"hello"\n'],
  ['a page of HTML', '<html>\n'],
  ['an ERROR event without a Status', '{"type":"ERROR","object":null}\n'],
])('%s ends the watch, is told as an error, and does not stop the reflector', async (_what, line) => {
  let opened = 0
  const { told, reflector } = await follow({
    list: (response) => sendJson(response, 200, nodeList('n1')),
    watch: (response) => {
      silence(response)
      opened++
      response.write(opened === 1 ? line : event('ADDED', 'n2', '11'))
    },
  })
  await until('the watch works again', () => told.includes('put n2'))
  expect(opened).toBe(2)
  expect(reflector.facts().lastError).toBeUndefined()
})

test.each<[string, (response: ServerResponse) => void, string]>([
  ['HTML of a proxy', (response) => void response.writeHead(200).end('<html>'), 'NotKubernetes'],
  ['an object that is no list', (response) => sendJson(response, 200, { kind: 'Node', metadata: {} }), 'NotKubernetes'],
  [
    'items that are no list',
    (response) => sendJson(response, 200, { metadata: { resourceVersion: '1' }, items: {} }),
    'NotKubernetes',
  ],
  [
    'half an answer',
    (response) => {
      response.writeHead(200, { 'content-length': '500' })
      response.write('{')
      setImmediate(() => response.destroy())
    },
    'ConnectionLost',
  ],
  ['401', (response) => sendJson(response, 401, statusBody(401, 'Unauthorized', 'Unauthorized')), 'Unauthorized'],
  ['silence', () => {}, 'Timeout'],
])('a list answered with %s leaves the store as it was, is told, and is tried again', async (_what, answer, reason) => {
  let listed = 0
  const { told, warned, reflector } = await follow(
    {
      list: (response) => {
        // 401 is retried once by the client itself.
        if (++listed <= 2) answer(response)
        else sendJson(response, 200, nodeList('n1'))
      },
      watch: silence,
    },
    { speed: 200 },
  )
  await until('the list is in', () => told.length > 0)
  expect(warned).toEqual([reason])
  expect(told).toEqual(['swap n1 @10'])
  expect(reflector.facts()).toMatchObject({ synced: true, relists: 0 })
})

test('null items, as Go writes an empty list, are an empty list', async () => {
  const { told } = await follow({
    list: (response) => sendJson(response, 200, { metadata: { resourceVersion: '3' }, items: null }),
    watch: silence,
  })
  await until('the list is in', () => told.length > 0)
  expect(told).toEqual(['swap  @3'])
})

test('a confirmation fails when the reflector is stopped', async () => {
  const server = await startScriptedServer(() => {})
  open.push(server.close)
  const client = must(
    await createKubeClient({
      credentials: { type: 'server', url: server.url },
      clock: systemClock,
      log: silentLog,
      userAgent: 'bellhop/test',
    }),
  )
  const stop = new AbortController()
  const nothing = (): void => {}
  const reflector = startReflector({
    client,
    resource: resources.Node,
    clock: systemClock,
    random: () => 0,
    log: silentLog,
    signal: stop.signal,
    sink: { begin: nothing, stage: nothing, swap: nothing, put: nothing, remove: nothing },
  })
  const confirmation = reflector.confirm()
  stop.abort()
  await expect(confirmation).rejects.toThrow('stopped')
  await expect(reflector.confirm()).rejects.toThrow('stopped')
})
