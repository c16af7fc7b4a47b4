// A watch: the state to begin with where asked for, then every change that the client's selectors see, with bookmarks in
// between. A frame is encoded once per change and shared by all watchers.

import type { ServerResponse } from 'node:http'
import type { Cluster } from '../cluster.ts'
import { expired } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import { groupVersionOf, type ResourceType } from '../registry/resource-type.ts'
import { parseRevision } from '../resources/list.ts'
import { presented, textOf } from '../resources/present.ts'
import type { Predicate } from '../resources/selectors.ts'
import type { ChangeEvent } from '../storage/bucket.ts'
import { Stored } from '../storage/stored.ts'
import { type IncludeObject, partialMetadata, renderTable } from '../table/table.ts'
import type { Form } from './content.ts'

export interface WatchOptions {
  readonly namespace?: string
  readonly predicate?: Predicate
  readonly resourceVersion: string
  readonly bookmarks: boolean
  /** undefined: the rule by resourceVersion of plain watches. */
  readonly sendInitialEvents?: boolean
  readonly timeoutMs: number
  readonly bookmarkIntervalMs: number
  readonly form: Form
  readonly includeObject: IncludeObject
  /** Asked before each bookmark: tests can hold bookmarks back. */
  readonly bookmarksPaused: () => boolean
}

/** Unsent bytes after which a client that does not read is dropped, so that it costs bounded memory. */
const backlogBytesMax = 64 * 1024 * 1024

/** Streams changes of a kind until the client leaves, the time is up or `signal` fires. Throws before the first byte only. */
export function serveWatch(
  cluster: Cluster,
  type: ResourceType,
  options: WatchOptions,
  response: ServerResponse,
  signal: AbortSignal,
): void {
  const start = options.resourceVersion === '' ? 0 : parseRevision(options.resourceVersion)
  const contentType =
    options.form === 'json' ? 'application/json' : `application/json;as=${options.form};v=v1;g=meta.k8s.io`
  response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-cache, private' })
  response.flushHeaders()
  const stream = new WatchStream(cluster, type, options, response)
  const backlog = start === 0 ? [] : cluster.store.bucket(type.bucket).since(start)
  if (backlog === undefined || start > cluster.store.revision) {
    const because =
      backlog === undefined
        ? `too old resource version: ${start} (${cluster.store.revision})`
        : 'resource version is in the future'
    stream.sendError(expired(because).status)
    response.end()
    return
  }
  if (options.sendInitialEvents ?? start === 0) stream.sendState()
  else for (const event of backlog) stream.sendChange(event)
  stream.follow(signal)
}

class WatchStream {
  readonly #cluster: Cluster
  readonly #type: ResourceType
  readonly #options: WatchOptions
  readonly #response: ServerResponse
  #headersSent = false

  constructor(cluster: Cluster, type: ResourceType, options: WatchOptions, response: ServerResponse) {
    this.#cluster = cluster
    this.#type = type
    this.#options = options
    this.#response = response
  }

  /** The present objects as ADDED, and the bookmark that says they are complete where the client asked for it. */
  sendState(): void {
    const { store } = this.#cluster
    for (const stored of store.bucket(this.#type.bucket).at(store.revision) ?? [])
      if (this.#sees(stored)) this.#send('ADDED', stored)
    if (this.#options.sendInitialEvents === true && this.#options.bookmarks)
      this.#sendBookmark({ annotations: { 'k8s.io/initial-events-end': 'true' } })
  }

  /** A change as this client's selectors see it: an object can come into view or leave it. */
  sendChange(event: ChangeEvent): void {
    const before = event.previous !== undefined && this.#sees(event.previous)
    const now = event.type !== 'DELETED' && this.#sees(event.current)
    if (now) this.#send(before ? 'MODIFIED' : 'ADDED', event.current)
    else if (before) this.#send('DELETED', event.type === 'DELETED' ? event.current : lastSeen(event))
  }

  follow(signal: AbortSignal): void {
    const { store, clock } = this.#cluster
    const stopListening = store.listen(this.#type.bucket, (event) => this.sendChange(event))
    let cancelBookmark = clock.setTimer(this.#options.bookmarkIntervalMs, () => bookmark())
    const bookmark = (): void => {
      if (this.#options.bookmarks && !this.#options.bookmarksPaused()) this.#sendBookmark({})
      cancelBookmark = clock.setTimer(this.#options.bookmarkIntervalMs, bookmark)
    }
    const cancelTimeout = clock.setTimer(this.#options.timeoutMs, () => this.#response.end())
    const end = (): void => {
      this.#response.end()
    }
    signal.addEventListener('abort', end)
    this.#response.on('close', () => {
      stopListening()
      cancelBookmark()
      cancelTimeout()
      signal.removeEventListener('abort', end)
    })
  }

  sendError(status: JsonObject): void {
    this.#write(`${JSON.stringify({ type: 'ERROR', object: status })}\n`)
  }

  #sees(stored: Stored): boolean {
    const { namespace, predicate } = this.#options
    if (namespace !== undefined && stored.namespace !== namespace) return false
    return predicate === undefined || predicate(stored.object)
  }

  #send(eventType: FrameType, stored: Stored): void {
    if (this.#options.form === 'json') this.#write(objectFrame(eventType, this.#type, stored))
    else if (this.#options.form === 'Table') this.#write(this.#tableFrame(eventType, stored))
    else this.#write(`${JSON.stringify({ type: eventType, object: partialMetadata(presented(this.#type, stored)) })}\n`)
  }

  // Ages in cells depend on the moment, so tables are made for each watcher: they are for people, of whom there are few.
  #tableFrame(eventType: FrameType, stored: Stored): string {
    const table = renderTable(
      this.#type,
      [stored],
      { resourceVersion: String(stored.revision) },
      {
        includeObject: this.#options.includeObject,
        nowMs: this.#cluster.clock.wallMs(),
        headers: !this.#headersSent,
      },
    )
    this.#headersSent = true
    return `${JSON.stringify({ type: eventType, object: table })}\n`
  }

  #sendBookmark(extra: JsonObject): void {
    const metadata = { resourceVersion: String(this.#cluster.store.revision), creationTimestamp: null, ...extra }
    const object =
      this.#options.form === 'Table'
        ? renderTable(this.#type, [], metadata, { includeObject: 'None', nowMs: 0, headers: false })
        : { kind: this.#type.kind, apiVersion: groupVersionOf(this.#type), metadata }
    this.#write(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`)
  }

  #write(frame: string | Buffer): void {
    if (this.#response.writableEnded || this.#response.destroyed) return
    this.#response.write(frame)
    if (this.#response.writableLength > backlogBytesMax) this.#response.destroy()
  }
}

type FrameType = 'ADDED' | 'MODIFIED' | 'DELETED'

const frames = new WeakMap<Stored, Map<string, Buffer>>()

function objectFrame(eventType: FrameType, type: ResourceType, stored: Stored): Buffer {
  const key = `${eventType} ${type.group}/${type.version}`
  let known = frames.get(stored)
  if (known === undefined) {
    known = new Map()
    frames.set(stored, known)
  }
  let frame = known.get(key)
  if (frame === undefined) {
    frame = Buffer.from(`{"type":"${eventType}","object":${textOf(type, stored)}}\n`)
    known.set(key, frame)
  }
  return frame
}

const departures = new WeakMap<ChangeEvent, Stored>()

// What left a client's view is shown as it last was there, with the revision at which it left.
function lastSeen(event: ChangeEvent): Stored {
  let departed = departures.get(event)
  if (departed === undefined) {
    const before = (event.previous ?? event.current).object
    const metadata = before['metadata']
    departed = new Stored(event.current.key, event.revision, {
      ...before,
      metadata: { ...(metadata as JsonObject), resourceVersion: String(event.revision) },
    })
    departures.set(event, departed)
  }
  return departed
}
