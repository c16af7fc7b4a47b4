// A server for one test file, and requests to it as plain HTTP: what a test says is what goes over the wire.

import { afterAll, beforeAll, expect } from 'vitest'
import type { JsonObject } from '../../../src/lab/apiserver/json.ts'
import { type ApiServerHandle, type ApiServerOptions, startApiServer } from '../../../src/lab/apiserver/server.ts'

export interface Answer {
  readonly code: number
  readonly body: JsonObject
  readonly headers: Headers
}

export interface Call {
  readonly body?: unknown
  readonly type?: string
  readonly accept?: string
  readonly token?: string
}

export interface Api {
  readonly server: () => ApiServerHandle
  readonly call: (method: string, path: string, options?: Call) => Promise<Answer>
  /** Creates and expects success. */
  readonly create: (path: string, body: unknown) => Promise<JsonObject>
  /** Reads a watch until `until` holds for what it has seen; fails when the stream ends before. */
  readonly watch: (path: string, until: (seen: readonly WatchEvent[]) => boolean) => Promise<readonly WatchEvent[]>
}

export interface WatchEvent {
  readonly type: string
  readonly object: JsonObject
}

/** Starts a server for the file and stops it at the end. */
export function apiForFile(options: ApiServerOptions = {}): Api {
  let handle: ApiServerHandle | undefined
  beforeAll(async () => {
    handle = await startApiServer(options)
  })
  afterAll(async () => {
    await handle?.stop()
  })
  const server = (): ApiServerHandle => {
    if (handle === undefined) throw new Error('the server is not started yet')
    return handle
  }
  const call: Api['call'] = async (method, path, { body, type, accept, token } = {}) => {
    const response = await fetch(server().url + path, {
      method,
      headers: {
        'content-type': type ?? 'application/json',
        ...(accept === undefined ? {} : { accept }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return {
      code: response.status,
      body: text.startsWith('{') ? JSON.parse(text) : { text },
      headers: response.headers,
    }
  }
  const create: Api['create'] = async (path, body) => {
    const answer = await call('POST', path, { body })
    if (answer.code !== 201) throw new Error(`POST ${path}: ${JSON.stringify(answer.body)}`)
    return answer.body
  }
  return { server, call, create, watch: (path, until) => readWatch(server().url + path, until) }
}

async function readWatch(url: string, until: (seen: readonly WatchEvent[]) => boolean): Promise<readonly WatchEvent[]> {
  const abort = new AbortController()
  const response = await fetch(url, { signal: abort.signal })
  const seen: WatchEvent[] = []
  if (response.body === null) throw new Error('a watch has a body')
  let rest = ''
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) seen.push(JSON.parse(line))
    if (until(seen)) {
      abort.abort()
      return seen
    }
  }
  throw new Error(`the watch ended after ${JSON.stringify(seen)}`)
}

/** Reads a watch to its end. */
export async function readToEnd(url: string): Promise<readonly WatchEvent[]> {
  const text = await (await fetch(url)).text()
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as WatchEvent)
}

export const configMap = (name: string, data: Record<string, string> = {}, metadata: JsonObject = {}): JsonObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, ...metadata },
  data,
})

export const configMaps = '/api/v1/namespaces/default/configmaps'

export const widgetCrd = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'widgets.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'widgets', kind: 'Widget', shortNames: ['wd'] },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: {
          status: {},
          scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' },
        },
        additionalPrinterColumns: [
          { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
          { name: 'Note', type: 'string', jsonPath: '.spec.note', priority: 1 },
          { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
        ],
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                properties: {
                  size: { type: 'integer', minimum: 1, description: 'How large it is.' },
                  note: { type: 'string', default: 'none' },
                  replicas: { type: 'integer' },
                  tags: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
                  options: { type: 'object', additionalProperties: { type: 'string' } },
                  ports: {
                    type: 'array',
                    'x-kubernetes-list-type': 'map',
                    'x-kubernetes-list-map-keys': ['port', 'protocol'],
                    items: {
                      type: 'object',
                      required: ['port'],
                      properties: {
                        port: { type: 'integer' },
                        protocol: { type: 'string', default: 'TCP' },
                        name: { type: 'string' },
                      },
                    },
                  },
                },
              },
              status: { type: 'object', properties: { phase: { type: 'string' }, replicas: { type: 'integer' } } },
            },
          },
        },
      },
      {
        name: 'v1beta1',
        served: true,
        storage: false,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
}

export const widgets = '/apis/example.com/v1/namespaces/default/widgets'

export const widget = (name: string, spec: JsonObject): JsonObject => ({
  apiVersion: 'example.com/v1',
  kind: 'Widget',
  metadata: { name },
  spec,
})

/** Awaits that a reading satisfies a matcher, long enough for a machine that is busy with other tests. */
export const eventually = <T>(read: () => T): ReturnType<typeof expect.poll<T>> =>
  expect.poll(read, { timeout: 20_000 })
