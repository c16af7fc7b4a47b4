// What can be said of a peer without having it: plain values from its configuration, its state machine and what was negotiated.

import { type Ip, unicastHostRefusal } from '../../net/ip.ts'
import type { PeerCommand, PeerMachine, Session, SessionId } from '../fsm/collision.ts'
import type { Negotiated } from '../fsm/negotiate.ts'
import type { AfiSafi, Family } from '../packet/message.ts'
import { type ExportContext, ownNextHop } from '../rib/export.ts'
import type { SessionFacts } from './peer-report.ts'
import type { PeerConfig, SessionStateName } from './protocol.ts'
import { maxPrefixesRetrySeconds } from './session-config.ts'
import type { Connection } from './transport.ts'

/** Whether a router is at the other end, which a reset will be noticed by. */
export const hasPeer = (state: SessionStateName): boolean =>
  state === 'OpenSent' || state === 'OpenConfirm' || state === 'Established'

export const stopWith = (text: string): PeerCommand => ({
  type: 'ManualStop',
  cease: { name: 'administrative-shutdown', text },
})

export const sessionOf = ({ primary, secondary }: PeerMachine, id: SessionId): Session | undefined =>
  primary.id === id ? primary : secondary?.id === id ? secondary : undefined

export const negotiatedFacts = (negotiated: Negotiated): Partial<SessionFacts> => ({
  holdTimeSeconds: negotiated.holdTimeSeconds,
  families: negotiated.families,
  addPath: [...negotiated.codec.addPathSend] satisfies readonly Family[],
  gracefulRestart: negotiated.gracefulRestart !== undefined,
  peerRouterId: negotiated.peerRouterId,
})

export function exportContextOf(config: PeerConfig, negotiated: Negotiated, connection: Connection): ExportContext {
  const nextHopSelf = config.nextHop === 'self' ? selfOf(connection) : undefined
  return {
    codec: negotiated.codec,
    localAsn: config.localAsn,
    peerAsn: config.peerAsn,
    ...(nextHopSelf === undefined ? {} : { nextHopSelf }),
    pathsLimit: negotiated.pathsLimit,
    // The peer's name is the same in every replica, and another one for every router.
    seed: config.name,
  }
}

/** Our own addresses, as far as they can be a next hop: some routers end the session over one that can not. */
function selfOf({ localAddresses: { ipv4, ipv6 } }: Connection): NonNullable<ExportContext['nextHopSelf']> {
  const isUsable = (ip: Ip | undefined): ip is Ip => ip !== undefined && unicastHostRefusal(ip) === undefined
  return { ...(isUsable(ipv4) ? { ipv4 } : {}), ...(isUsable(ipv6) ? { ipv6 } : {}) }
}

const missing = (name: string): string =>
  `has no ${name} address beside it${name === 'IPv4' ? ', and the router takes no IPv6 next hop instead (RFC 8950)' : ''}`

/** With next hop self: the families in which nothing is announced, and why, in an operator's words. */
function nextHopError(config: PeerConfig, { families, codec }: Negotiated, connection: Connection): string | undefined {
  if (config.nextHop !== 'self') return undefined
  const { localAddress, localAddresses } = connection
  const words = families.flatMap((family) => {
    const isAnyFamily = codec.extendedNextHop?.has(family) === true
    if (ownNextHop(family, selfOf(connection), { isAnyFamily }) !== undefined) return []
    const [own, name] = family === 'ipv4-unicast' ? [localAddresses.ipv4, 'IPv4'] : [localAddresses.ipv6, 'IPv6']
    const because = own === undefined ? missing(name) : unicastHostRefusal(own)?.because
    if (because === undefined) return []
    return [
      `nothing is announced in ${family}: next hop self, and our end of the session, ${own ?? localAddress}, ${because}`,
    ]
  })
  return words.length === 0 ? undefined : words.join('; ')
}

/** What the session means for next hops. */
export function nextHopFacts(
  config: PeerConfig,
  negotiated: Negotiated,
  connection: Connection,
): Partial<SessionFacts> {
  const { localNetworks } = connection
  const error = nextHopError(config, negotiated, connection)
  return {
    ...(localNetworks.length === 0 ? {} : { localNetworks }),
    ...(error === undefined ? {} : { nextHopError: error }),
  }
}

/** The end of a session whose router has announced more than it may in a family. */
export function tooManyPrefixes({ afi, safi }: AfiSafi, limit: number): PeerCommand {
  // RFC 4486 section 4: AFI, SAFI and the limit.
  const data = new Uint8Array(7)
  const view = new DataView(data.buffer)
  view.setUint16(0, afi)
  view.setUint8(2, safi)
  view.setUint32(3, limit)
  return {
    type: 'AutomaticStop',
    cease: { name: 'maximum-prefixes', data },
    reason: `the router announced more than ${limit} prefixes (maxPrefixesIn); trying again in ${maxPrefixesRetrySeconds} s`,
    retryAfterSeconds: maxPrefixesRetrySeconds,
  }
}
