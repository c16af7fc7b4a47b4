// Bellhop's speaker as the controller runs it, a worker thread that owns BGP beside a main thread that owns the routes, with a
// table of N x M paths in place of a cluster. One JSON line a command on standard input, one an answer on standard output.
//
//   {"do":"change","prefix":3}   takes the last next hop of a prefix away, or gives it back; answers with the time it began
//   {"do":"status"}              what the session of the first peer says of itself

import { createInterface } from 'node:readline'
import type { Route } from '../../src/bgp/rib/route.ts'
import type { PeerConfig, SessionStatus } from '../../src/bgp/speaker/protocol.ts'
import { createWorkerSpeaker } from '../../src/bgp/speaker/speaker.ts'
import { parseAsn, parseRouterId } from '../../src/net/asn.ts'
import { parseIp } from '../../src/net/ip.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { must } from '../../src/runtime/result.ts'
import { answerDelayMs, bgpPort, host, nextHop, receiverAsn, senderAsn, type TableSize } from './plan.ts'

export interface BellhopOptions extends TableSize {
  readonly address: string
  readonly receivers: readonly string[]
  readonly maxPrefixesIn: number
}

const options = JSON.parse(process.argv[2] ?? '') as BellhopOptions
const say = (answer: object): void => void process.stdout.write(`${JSON.stringify(answer)}\n`)

const peerAt = (address: string, index: number): PeerConfig => ({
  name: `receiver-${index}`,
  address: must(parseIp(address)),
  port: bgpPort,
  peerAsn: must(parseAsn(receiverAsn)),
  localAsn: must(parseAsn(senderAsn)),
  holdTimeSeconds: 90,
  keepaliveSeconds: 30,
  connectRetrySeconds: 5,
  ttl: 1,
  families: ['ipv4-unicast'],
  addPath: 'auto',
  nextHop: 'node',
  passive: true,
  maxPrefixesIn: options.maxPrefixesIn,
  table: 'vips',
})

const attributes = { origin: 'IGP', prepend: 0, communities: [], largeCommunities: [] } as const
const paths = Array.from({ length: options.nextHops }, (_, leg) => ({
  pathId: leg + 1,
  nextHop: must(parseIp(nextHop(leg))),
}))
const routeOf = (index: number, legs: number): Route => ({
  prefix: hostPrefix(must(parseIp(host(index)))),
  attributes,
  paths: paths.slice(0, legs),
})

const pieceRoutes = 2000
const speaker = createWorkerSpeaker({})
let status: SessionStatus | undefined
speaker.onEvent((event) => {
  if (event.type === 'session' && event.status.state === 'Established') status = event.status
  if (event.type === 'listening') say({ ready: true })
  if (event.type === 'listen-failed') throw new Error(event.reason)
})
let revision = 0
// In pieces, so that what the thread that stands in for the controller leaves behind is not counted as the speaker's.
for (let first = 0; first < options.prefixes; first += pieceRoutes)
  speaker.send({
    type: 'routes',
    table: 'vips',
    replace: false,
    upserts: Array.from({ length: Math.min(pieceRoutes, options.prefixes - first) }, (_, i) =>
      routeOf(first + i, options.nextHops),
    ),
    withdrawals: [],
    revision: ++revision,
  })
speaker.send({ type: 'ready' })
speaker.send({
  type: 'configure',
  config: {
    routerId: must(parseRouterId(options.address)),
    listenPort: bgpPort,
    listenAddresses: [must(parseIp(options.address))],
    peers: options.receivers.map(peerAt),
  },
})

const shortened = new Set<number>()

function change(index: number): void {
  const legs = shortened.delete(index) ? options.nextHops : options.nextHops - 1
  if (legs < options.nextHops) shortened.add(index)
  const route = routeOf(index, legs)
  const beganNs = process.hrtime.bigint()
  speaker.send({
    type: 'routes',
    table: 'vips',
    replace: false,
    upserts: [route],
    withdrawals: [],
    revision: ++revision,
  })
  setTimeout(() => say({ beganNs: String(beganNs) }), answerDelayMs)
}

type Command = { readonly do: 'change'; readonly prefix: number } | { readonly do: 'status' }

createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line) as Command
  if (command.do === 'change') change(command.prefix)
  else say({ receivedPrefixes: status?.receivedPrefixes ?? 0, state: status?.state ?? 'none' })
})
