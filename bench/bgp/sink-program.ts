// The neutral receiver: dials a sender from so many addresses, says OPEN and KEEPALIVE, and marks off every (prefix, next hop)
// it is sent in a bitmap, until all of the table has come. It keeps no routes and decodes no attribute but NEXT_HOP, so that it
// is far from being the slower side, and a path counts once however often it is sent. The clock starts with the KEEPALIVE that
// makes the session Established at the sender. Whoever falls silent in the middle of the table is sent another KEEPALIVE after
// 2, 4, 8, ... ms: BIRD 2.0.12 leaves its last messages to the next turn of its event loop, and without one sleeps 3 seconds.
// One JSON line a command on its standard output.
//
//   {"do":"receive", ...ReceiveOptions}  dial, receive the table, report, and keep the sessions
//   {"do":"close"}                       end the sessions
//   {"do":"watch"}                       report the time of every UPDATE on the first session from now on, until "close"

import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { bgpPort, firstNextHopBits, firstPrefixBits, receiverAsn, type TableSize } from './plan.ts'

export interface ReceiveOptions extends TableSize {
  readonly sender: string
  readonly receivers: readonly string[]
}

export interface Received {
  /** From the first session that is Established to the last path on the last one. */
  readonly ms: number
  readonly bytes: number
  readonly updates: number
  /** Paths beyond the first of a (prefix, next hop), and withdrawals. */
  readonly superfluous: number
}

/** Nanoseconds of the machine's monotonic clock: the same in all processes. */
const nowNs = (): bigint => process.hrtime.bigint()

const redialMs = 50
const nudgeMs = 2
/** How long to wait for the OPEN of a daemon that may not say it first. */
const acceptMs = 3000

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

class Session {
  readonly #socket: Socket
  readonly #options: ReceiveOptions
  readonly #seen: Uint8Array
  readonly #done: () => void
  readonly accepted: Promise<void>
  #held: Uint8Array = new Uint8Array(0)
  #quietTicks = 0
  #opens = 0
  missing: number
  bytes = 0
  updates = 0
  superfluous = 0
  startedNs = 0n
  lastNs = 0n
  watching: ((atNs: bigint) => void) | undefined

  constructor(options: ReceiveOptions, socket: Socket, done: () => void) {
    this.#options = options
    this.#socket = socket
    this.#done = done
    this.missing = options.prefixes * options.nextHops
    this.#seen = new Uint8Array((this.missing + 7) >>> 3)
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#take(chunk))
    // Its OPEN.
    this.accepted = new Promise((resolve) => socket.once('data', () => resolve()))
  }

  begin(): void {
    this.#socket.write(open(this.#options.receivers.length))
    this.#confirm()
  }

  /** Called every so often; doubles its patience each time. */
  tick(): void {
    this.#quietTicks++
    const due = (this.#quietTicks & (this.#quietTicks - 1)) === 0
    if (due && this.startedNs !== 0n && this.missing > 0) this.#socket.write(message(4, []))
  }

  close(): void {
    // Cease, peer de-configured: some daemons do not look at a closed connection for a while.
    this.#socket.end(message(3, [6, 3]))
  }

  #take(chunk: Uint8Array): void {
    this.#quietTicks = 0
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    let at = 0
    while (bytes.length - at >= 19) {
      const length = u16(bytes, at + 16)
      if (bytes.length - at < length) break
      this.#message(bytes, at, length)
      at += length
    }
    this.#held = at === bytes.length ? new Uint8Array(0) : bytes.slice(at)
  }

  #message(bytes: Uint8Array, at: number, length: number): void {
    const type = bytes[at + 18]
    if (type === 1) this.#confirm()
    else if (type === 2) this.#update(bytes, at, at + length)
    else if (type === 3) throw new Error(`the sender closed the session: ${bytes[at + 19]}/${bytes[at + 20]}`)
  }

  // Both OPENs have to be there: whichever comes second is followed by the KEEPALIVE.
  #confirm(): void {
    if (++this.#opens < 2) return
    this.#socket.write(message(4, []))
    this.startedNs = nowNs()
  }

  #update(bytes: Uint8Array, start: number, end: number): void {
    this.bytes += end - start
    this.updates++
    this.watching?.(nowNs())
    if (this.watching !== undefined) return
    let at = start + 19
    const withdrawn = u16(bytes, at)
    if (withdrawn > 0) this.superfluous++
    at += 2 + withdrawn
    const attributesEnd = at + 2 + u16(bytes, at)
    const leg = nextHopOf(bytes, at + 2, attributesEnd) - firstNextHopBits
    const { nextHops } = this.#options
    const seen = this.#seen
    for (at = attributesEnd; at < end; at += 9) {
      if (bytes[at + 4] !== 32) throw new Error(`a prefix of ${bytes[at + 4]} bits`)
      const path = (u32(bytes, at + 5) - firstPrefixBits) * nextHops + leg
      const mask = 1 << (path & 7)
      const octet = seen[path >>> 3]
      if (octet === undefined || leg >= nextHops) throw new Error('a path that nobody was asked to announce')
      if ((octet & mask) !== 0) this.superfluous++
      else {
        seen[path >>> 3] = octet | mask
        this.missing--
      }
    }
    if (this.missing > 0 || this.lastNs !== 0n) return
    this.lastNs = nowNs()
    this.#done()
  }
}

function nextHopOf(bytes: Uint8Array, start: number, end: number): number {
  let at = start
  while (at < end) {
    const extended = ((bytes[at] ?? 0) & 0x10) !== 0
    const valueAt = at + (extended ? 4 : 3)
    if (bytes[at + 1] === 3) return u32(bytes, valueAt)
    at = valueAt + (extended ? u16(bytes, at + 2) : (bytes[at + 2] ?? 0))
  }
  return 0
}

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
const u32 = (bytes: Uint8Array, at: number): number => (u16(bytes, at) * 0x1_0000 + u16(bytes, at + 2)) >>> 0

function message(type: number, body: readonly number[]): Uint8Array {
  return Uint8Array.from([...Array<number>(16).fill(0xff), 0, 19 + body.length, type, ...body])
}

// Version 4, hold time 90; multiprotocol IPv4 unicast, route refresh, four-octet AS numbers, ADD-PATH receive.
function open(identifier: number): Uint8Array {
  const asn = [receiverAsn >>> 8, receiverAsn & 255]
  const capabilities = [1, 4, 0, 1, 0, 1, 2, 0, 65, 4, 0, 0, ...asn, 69, 4, 0, 1, 1, 1]
  const id = [10, 99, 2, identifier]
  return message(1, [4, ...asn, 0, 90, ...id, capabilities.length + 2, 2, capabilities.length, ...capabilities])
}

let sessions: readonly Session[] = []

async function dial(options: ReceiveOptions, localAddress: string, done: () => void): Promise<Session> {
  for (;;) {
    const socket = connect({ host: options.sender, port: bgpPort, localAddress })
    const connected = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
    })
    if (connected) return new Session(options, socket, done)
    await pause(redialMs)
  }
}

async function receive(options: ReceiveOptions): Promise<Received> {
  let waiting = options.receivers.length
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = (): void => {
    if (--waiting === 0) resolve()
  }
  sessions = await Promise.all(options.receivers.map((address) => dial(options, address, done)))
  // Not before every connection has been accepted: some daemons have a short queue for them, and a second try takes a second.
  await Promise.race([Promise.all(sessions.map(({ accepted }) => accepted)), pause(acceptMs)])
  for (const session of sessions) session.begin()
  const nudge = setInterval(() => {
    for (const session of sessions) session.tick()
  }, nudgeMs)
  await promise
  clearInterval(nudge)
  const sum = (of: (session: Session) => number): number => sessions.reduce((total, session) => total + of(session), 0)
  const times = sessions.map(({ startedNs, lastNs }) => ({ startedNs, lastNs }))
  const first = times.reduce((least, { startedNs }) => (startedNs < least ? startedNs : least), nowNs())
  const last = times.reduce((most, { lastNs }) => (lastNs > most ? lastNs : most), 0n)
  return {
    ms: Number(last - first) / 1e6,
    bytes: sum(({ bytes }) => bytes),
    updates: sum(({ updates }) => updates),
    superfluous: sum(({ superfluous }) => superfluous),
  }
}

type Command = ({ readonly do: 'receive' } & ReceiveOptions) | { readonly do: 'close' } | { readonly do: 'watch' }

const say = (answer: object): void => void process.stdout.write(`${JSON.stringify(answer)}\n`)

async function obey(command: Command): Promise<void> {
  if (command.do === 'receive') say(await receive(command))
  else if (command.do === 'watch') {
    for (const session of sessions.slice(0, 1)) session.watching = (at) => say({ updateAtNs: String(at) })
    say({ watching: true })
  } else {
    for (const session of sessions) session.close()
    sessions = []
    say({ closed: true })
  }
}

createInterface({ input: process.stdin }).on('line', (line) => void obey(JSON.parse(line) as Command))
