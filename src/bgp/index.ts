// biome-ignore-all lint/performance/noBarrelFile: the entry of a package has to name what the package promises.
// The public face of node-bgp: what is exported here stays, everything else may change from one version to the next. Bellhop itself
// imports the files behind it.

// A speaker: sessions with routers, and the routes they are told.

export type { Path, Route, RouteAttributes } from './rib/route.ts'
export { peerDefaults } from './speaker/peer-defaults.ts'
export type {
  PeerConfig,
  SessionStatus,
  Speaker,
  SpeakerCommand,
  SpeakerConfig,
  SpeakerEvent,
} from './speaker/protocol.ts'
export { createLocalSpeaker, createWorkerSpeaker, type WorkerSpeakerOptions } from './speaker/speaker.ts'

// Addresses, prefixes and numbers, parsed once.

export { type Asn, parseAsn, parseRouterId, type RouterId } from '../net/asn.ts'
export { type Community, type LargeCommunity, parseCommunity } from '../net/community.ts'
export { type Ip, parseIp } from '../net/ip.ts'
export { hostPrefix, type Prefix, parsePrefix } from '../net/prefix.ts'
export { must, type Result } from '../runtime/result.ts'

// Messages and their wire form, pure.

export { decodeMessage } from './packet/decode.ts'
export { encodeMessage } from './packet/encode.ts'
export { createFramer } from './packet/framing.ts'
export { type BgpMessage, openingCodec, type SessionCodec } from './packet/message.ts'

// The state machine of RFC 4271 and of two connections at once, pure; recordings of it.

export { initialMachine, type PeerAction, type PeerInput, type PeerMachine, peerTransition } from './fsm/collision.ts'
export type { SessionAction, SessionConfig, SessionEvent, SessionState } from './fsm/session.ts'
export { transition } from './fsm/transition.ts'
export { parseRecorded, type Recorded, renderRecorded, replay } from './speaker/recording.ts'

// Worlds to run in: the kernel's TCP and clock, or a network in memory and a clock that only the caller moves.

export type { Clock, Random } from '../runtime/clock.ts'
export { systemClock } from '../runtime/system-clock.ts'
export { createVirtualClock } from '../runtime/virtual-clock.ts'
export { createMemoryNetwork } from './speaker/memory-transport.ts'
export { createTcpTransport } from './speaker/tcp-transport.ts'

// BFD (RFC 5880) by itself.

export { createBfdEngine } from '../bfd/engine.ts'
export { createUdpTransport } from '../bfd/udp-transport.ts'
