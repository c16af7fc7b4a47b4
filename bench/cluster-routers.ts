// The routers of the cluster benchmarks, in a thread of their own so that the API server's work does not delay their clocks: BGP
// neighbours that count paths and note when each change came. They read UPDATEs without the product's decoder (only IPv4 host routes
// are ever sent here, with path ids by a speaker that can). The same thread watches EndpointSlices as a bystander: the moment at which any client could know.

import { get } from 'node:http'
import { createServer, type Socket } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { decodeMessage } from '../src/bgp/packet/decode.ts'
import { encodeMessage } from '../src/bgp/packet/encode.ts'
import { createFramer } from '../src/bgp/packet/framing.ts'
import { afiSafiOf, openingCodec } from '../src/bgp/packet/message.ts'

/** Times are of the machine's monotonic clock, in milliseconds. */
export type RouterEvent =
  | { readonly type: 'listening'; readonly ports: readonly number[] }
  | { readonly type: 'end-of-rib'; readonly peer: number; readonly atMs: number; readonly bytes: number }
  | {
      readonly type: 'changes'
      readonly peer: number
      readonly atMs: number
      readonly updates: number
      readonly announced: number
      readonly withdrawn: number
      /** Paths held now. */
      readonly paths: number
      /** Prefixes held now. */
      readonly prefixes: number
      /** VIPs that changed and the paths each has now; only of small changes. */
      readonly touched: readonly (readonly [vip: string, paths: number])[]
    }
  | { readonly type: 'closed'; readonly peer: number }
  | { readonly type: 'slice-seen'; readonly name: string; readonly atMs: number }
  | { readonly type: 'listed'; readonly ms: number; readonly bytes: number }

type Command =
  | { readonly type: 'watch'; readonly url: string }
  /** Reads these collections to the end, page by page and all at once, as a client that does nothing with them would. */
  | { readonly type: 'list'; readonly urls: readonly string[] }

export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6

export interface Routers {
  readonly ports: readonly number[]
  readonly onEvent: (listener: (event: RouterEvent) => void) => () => void
  readonly send: (command: Command) => void
  /** Resolves with the first event for which `pick` gives something. */
  readonly next: <T>(pick: (event: RouterEvent) => T | undefined, what: string, timeoutMs?: number) => Promise<T>
  readonly stop: () => Promise<void>
}

interface WorkerData {
  readonly addresses: readonly string[]
  readonly asns: readonly number[]
  /** Of all of them; absent: any that is free. */
  readonly port?: number
}

/** Starts one router an address. */
export async function startRouters(data: WorkerData): Promise<Routers> {
  const worker = new Worker(new URL(import.meta.url), { workerData: data })
  const listeners = new Set<(event: RouterEvent) => void>()
  worker.on('message', (event: RouterEvent) => {
    for (const listener of [...listeners]) listener(event)
  })
  worker.on('error', (error) => {
    throw error
  })
  const onEvent: Routers['onEvent'] = (listener) => {
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }
  const next: Routers['next'] = (pick, what, timeoutMs = 120_000) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        stop()
        reject(new Error(`waited ${timeoutMs / 1000} s in vain for ${what}`))
      }, timeoutMs)
      const stop = onEvent((event) => {
        const picked = pick(event)
        if (picked === undefined) return
        clearTimeout(timer)
        stop()
        resolve(picked)
      })
    })
  const ports = await next((event) => (event.type === 'listening' ? event.ports : undefined), 'the routers to listen')
  return {
    ports,
    onEvent,
    next,
    send: (command) => worker.postMessage(command),
    stop: async () => void (await worker.terminate()),
  }
}

// ------------------------------------------------------------------------------------------------------ in the thread

const tell = (event: RouterEvent): void => parentPort?.postMessage(event)

const updateType = 2
const openType = 1
const endOfRibBytes = 23
const touchedMax = 64

function open(asn: number, routerId: number): Uint8Array {
  return encodeMessage(
    {
      type: 'OPEN',
      version: 4,
      myAs: asn,
      holdTimeSeconds: 90,
      bgpIdentifier: routerId,
      capabilities: [
        { type: 'multiprotocol', ...afiSafiOf['ipv4-unicast'] },
        { type: 'route-refresh' },
        { type: 'extended-message' },
        { type: 'four-octet-as', asn },
        { type: 'add-path', families: [{ ...afiSafiOf['ipv4-unicast'], mode: 'receive' }] },
      ],
    },
    openingCodec,
  )
}

const vipText = (prefix: number): string =>
  `${prefix >>> 24}.${(prefix >>> 16) & 255}.${(prefix >>> 8) & 255}.${prefix & 255}`

/** Whether the other side's OPEN offers to send several paths a prefix; the OPEN of these routers agrees to it. */
function sendsPathIds(openMessage: Uint8Array): boolean {
  const decoded = decodeMessage(openMessage, openingCodec)
  if (!decoded.ok || decoded.message.type !== 'OPEN') throw new Error('not an OPEN that can be read')
  return decoded.message.capabilities.some(
    (capability) =>
      capability.type === 'add-path' && capability.families.some(({ afi, mode }) => afi === 1 && mode !== 'receive'),
  )
}

/** Calls back for each host prefix in `bytes`, and its path id if it has one (RFC 4271 section 4.3, RFC 7911 section 3). */
function eachNlri(
  bytes: DataView,
  { from, to, pathIds }: { readonly from: number; readonly to: number; readonly pathIds: boolean },
  found: (prefix: number, pathId: number) => void,
): void {
  const idBytes = pathIds ? 4 : 0
  for (let at = from; at < to; at += idBytes + 5) {
    if (bytes.getUint8(at + idBytes) !== 32) throw new Error('not a host route')
    found(bytes.getUint32(at + idBytes + 1), pathIds ? bytes.getUint32(at) : 0)
  }
}

function accept(socket: Socket, peer: number, asn: number): void {
  const framer = createFramer()
  const held = new Map<number, Set<number>>()
  let paths = 0
  let bytes = 0
  let pathIds = false
  const keepalive = encodeMessage({ type: 'KEEPALIVE' }, openingCodec)
  const timer = setInterval(() => socket.write(keepalive), 25_000)
  socket.setNoDelay(true)
  socket.on('close', () => {
    clearInterval(timer)
    tell({ type: 'closed', peer })
  })
  socket.on('error', () => {})
  socket.write(open(asn, 0x0a00_0001 + peer))
  socket.on('data', (chunk: Uint8Array) => {
    const atMs = nowMs()
    let updates = 0
    let announced = 0
    let withdrawn = 0
    let endOfRib = false
    const touched = new Set<number>()
    bytes += chunk.length
    framer.push(chunk)
    for (;;) {
      const framed = framer.next(65_535)
      if (framed === undefined) break
      if (framed.type === 'error') throw new Error(framed.error.reason)
      const message = framed.bytes
      const type = message[18]
      if (type === openType) {
        pathIds = sendsPathIds(message)
        socket.write(keepalive)
      }
      if (type !== updateType) continue
      updates++
      if (message.length === endOfRibBytes) {
        endOfRib = true
        continue
      }
      const view = new DataView(message.buffer, message.byteOffset, message.length)
      const attributesAt = 21 + view.getUint16(19)
      const nlriAt = attributesAt + 2 + view.getUint16(attributesAt)
      eachNlri(view, { from: 21, to: attributesAt, pathIds }, (prefix, pathId) => {
        const ids = held.get(prefix)
        if (ids?.delete(pathId)) paths--
        if (ids?.size === 0) held.delete(prefix)
        withdrawn++
        if (touched.size < touchedMax) touched.add(prefix)
      })
      eachNlri(view, { from: nlriAt, to: message.length, pathIds }, (prefix, pathId) => {
        const ids = held.get(prefix) ?? new Set<number>()
        held.set(prefix, ids)
        if (!ids.has(pathId)) paths++
        ids.add(pathId)
        announced++
        if (touched.size < touchedMax) touched.add(prefix)
      })
    }
    if (announced + withdrawn > 0)
      tell({
        ...{ type: 'changes', peer, atMs, updates, announced, withdrawn, paths, prefixes: held.size },
        touched: touched.size >= touchedMax ? [] : [...touched].map((vip) => [vipText(vip), held.get(vip)?.size ?? 0]),
      })
    if (endOfRib) tell({ type: 'end-of-rib', peer, atMs, bytes })
  })
}

function watch(url: string): void {
  get(url, (response) => {
    let rest = ''
    response.setEncoding('utf8')
    response.on('data', (text: string) => {
      const atMs = nowMs()
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const name: unknown = JSON.parse(line).object?.metadata?.name
        if (typeof name === 'string') tell({ type: 'slice-seen', name, atMs })
      }
    })
  })
}

function read(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        text += part
      })
      response.on('end', () => resolve(text))
    }).on('error', reject)
  })
}

async function list(urls: readonly string[]): Promise<void> {
  const startMs = nowMs()
  const sizes = await Promise.all(
    urls.map(async (url) => {
      let bytes = 0
      for (let token: string | undefined = ''; token !== undefined; ) {
        const page = await read(`${url}?limit=250${token === '' ? '' : `&continue=${encodeURIComponent(token)}`}`)
        bytes += page.length
        // The token stands in the list's metadata, before the items or after them.
        token = /"continue":"([^"]+)"/.exec(page.slice(0, 2_000) + page.slice(-2_000))?.[1]
      }
      return bytes
    }),
  )
  tell({ type: 'listed', ms: nowMs() - startMs, bytes: sizes.reduce((sum, size) => sum + size, 0) })
}

if (!isMainThread && parentPort !== null) {
  const { addresses, asns, port = 0 } = workerData as WorkerData
  parentPort.on('message', (command: Command) => {
    if (command.type === 'watch') watch(command.url)
    else void list(command.urls)
  })
  const ports = await Promise.all(
    addresses.map(
      (address, peer) =>
        new Promise<number>((resolve) => {
          const server = createServer((socket) => accept(socket, peer, asns[peer] ?? 0))
          server.listen(port, address, () => {
            const bound = server.address()
            resolve(typeof bound === 'object' && bound !== null ? bound.port : 0)
          })
        }),
    ),
  )
  tell({ type: 'listening', ports })
}
