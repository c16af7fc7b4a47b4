// A peer as most are, for programs that configure a speaker by hand. Bellhop's own peers take their defaults from the BgpPeer schema.

import type { PeerConfig } from './protocol.ts'

/** Everything but who the peer is and what it is to hear: a directly connected router, dialled and listened to. */
export const peerDefaults = {
  port: 179,
  holdTimeSeconds: 90,
  keepaliveSeconds: 30,
  connectRetrySeconds: 10,
  ttl: 1,
  families: ['ipv4-unicast', 'ipv6-unicast'],
  addPath: 'auto',
  nextHop: 'node',
  passive: false,
  maxPrefixesIn: 1000,
} as const satisfies Partial<PeerConfig>
