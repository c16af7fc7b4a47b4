// A router that keeps to no rule: takes connections and opens some, says anything on them in any pieces, reads or does not, hangs
// up. All the while it holds the speaker to the rules: what it hears must be well formed, in order, and assigned.

import assert from 'node:assert/strict'
import { negotiate } from '../../src/bgp/fsm/negotiate.ts'
import { sampleConfig } from '../../src/bgp/fsm/render-table.ts'
import { decodeMessage } from '../../src/bgp/packet/decode.ts'
import { isAssignedError } from '../../src/bgp/packet/errors.ts'
import { createFramer, type Framer } from '../../src/bgp/packet/framing.ts'
import {
  type BgpMessage,
  type NotificationMessage,
  type OpenMessage,
  openingCodec,
  type SessionCodec,
} from '../../src/bgp/packet/message.ts'
import type { Connection } from '../../src/bgp/speaker/transport.ts'
import { type Bench, ours, router } from '../bgp/speaker/bench.ts'
import type { Random } from './runner.ts'

/** One TCP connection, from the router's end. */
export interface Line {
  readonly connection: Connection
  closed: boolean
  /** What was said until there was a whole message. */
  readonly beginning: Framer
  /** The OPEN each way. */
  said: OpenMessage | undefined
  heard: OpenMessage | undefined
  heardKeepalive: boolean
  notification: NotificationMessage | undefined
  /** Only whole messages were said: the next one will be read as a message. */
  inStep: boolean
}

export interface HostileRouter {
  /** Connections that neither side has closed. */
  readonly lines: () => readonly Line[]
  /** Messages that were heard and held to the rules. */
  readonly heard: () => number
  readonly dial: () => void
  /** In pieces, as TCP may cut them. */
  readonly say: (line: Line, bytes: Uint8Array) => void
  readonly hangUp: (line: Line, how: 'close' | 'abort') => void
  /** Neither listens nor speaks any more. */
  readonly end: () => void
}

const routerConfig = { ...sampleConfig, localAsn: router.asn, peerAsn: ours.asn }

/** How the router reads what it is sent. */
const codecOf = ({ said, heard }: Line): SessionCodec =>
  said === undefined || heard === undefined
    ? openingCodec
    : negotiate(said, heard, { ...routerConfig, families: ['ipv4-unicast', 'ipv6-unicast'] }).codec

export function createHostileRouter(bench: Bench, random: Random): HostileRouter {
  const lines = new Set<Line>()
  const transport = bench.network.host(router.address)
  let heard = 0

  const attach = (connection: Connection): void => {
    const line: Line = {
      connection,
      closed: false,
      beginning: createFramer(),
      said: undefined,
      heard: undefined,
      heardKeepalive: false,
      notification: undefined,
      inStep: true,
    }
    lines.add(line)
    const framer = createFramer()
    connection.open({
      data: (chunk) => {
        framer.push(chunk)
        heard += hear(framer, line)
      },
      drained: () => {},
      closed: () => {
        line.closed = true
        lines.delete(line)
      },
    })
  }

  const listener = transport.listen(179, [], {
    listening: () => {},
    failed: () => {},
    refused: () => {},
    connection: attach,
  })
  listener.setPeers([{ address: ours.address }])

  const hangUp = (line: Line, how: 'close' | 'abort'): void => {
    line.closed = true
    lines.delete(line)
    line.connection[how]()
  }

  return {
    lines: () => [...lines],
    heard: () => heard,
    dial: () => void transport.dial({ address: ours.address, port: 179 }, { connected: attach, failed: () => {} }),
    say: (line, bytes) => {
      line.said ??= firstOpen(line, bytes)
      for (let at = 0; at < bytes.length; ) {
        const end = random.oneIn(3) ? at + 1 + random.below(bytes.length - at) : bytes.length
        line.connection.write(bytes.slice(at, end))
        at = end
      }
    },
    hangUp,
    end: () => {
      listener.close()
      for (const line of lines) hangUp(line, 'abort')
    },
  }
}

// The speaker goes on only if the first message is an OPEN that it can read.
function firstOpen({ beginning }: Line, bytes: Uint8Array): OpenMessage | undefined {
  beginning.push(bytes.slice())
  const framed = beginning.next(openingCodec.messageBytesMaxReceive)
  const decoded = framed?.type === 'message' ? decodeMessage(framed.bytes, openingCodec) : undefined
  return decoded?.ok && decoded.message.type === 'OPEN' ? decoded.message : undefined
}

// Everything that has arrived, message by message. Returns how many there were.
function hear(framer: Framer, line: Line): number {
  let messages = 0
  for (let framed = framer.next(65535); framed !== undefined; framed = framer.next(65535)) {
    if (framed.type === 'error') assert.fail(`we sent a bad header: ${framed.error.reason}`)
    const decoded = decodeMessage(framed.bytes, codecOf(line))
    const hex = Buffer.from(framed.bytes).toString('hex')
    if (!decoded.ok) assert.fail(`we sent what we would refuse: ${decoded.error.reason}: ${hex}`)
    assert.deepEqual(decoded.issues, [], `we sent ${hex}`)
    hold(line, decoded.message)
    messages++
  }
  return messages
}

function hold(line: Line, message: BgpMessage): void {
  assert.equal(line.notification, undefined, `${message.type} after a NOTIFICATION`)
  switch (message.type) {
    case 'OPEN':
      assert.equal(line.heard, undefined, 'a second OPEN')
      line.heard = message
      break
    case 'NOTIFICATION':
      assert.ok(isAssignedError(message.code, message.subcode), `NOTIFICATION ${message.code}/${message.subcode}`)
      assert.notEqual(line.heard, undefined, 'a NOTIFICATION before OPEN')
      line.notification = message
      break
    case 'KEEPALIVE':
      assert.ok(line.heard !== undefined && line.said !== undefined, 'KEEPALIVE before the OPENs')
      line.heardKeepalive = true
      break
    default:
      assert.ok(line.heardKeepalive, `${message.type} before KEEPALIVE`)
  }
}
