// From BgpPeer, BgpConf and Secrets to sessions, and to the words that explain every BgpPeer without one. A peer that cannot be
// configured as it was meant is refused: a session with half of its settings would be worse than none.

import type { PeerConfig, TableName } from '../bgp/speaker/protocol.ts'
import type { BgpConf, BgpPeer, ClusterView, Secret } from '../k8s/objects.ts'
import type { RouterId } from '../net/asn.ts'
import { familyOf, isLoopback, unicastHostRefusal } from '../net/ip.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import type { PeerRefusal, PlanContext } from './types.ts'
import { decodeUtf8 } from './utf8.ts'

/** TCP-MD5 keys are no longer than this (TCP_MD5SIG_MAXKEYLEN). */
const passwordBytesMax = 80

/** The TTL of packets to routers in our own AS, which may be any number of hops away. */
const ibgpTtl = 255

export interface PlannedPeers {
  readonly configs: readonly PeerConfig[]
  readonly refusals: readonly PeerRefusal[]
}

/** The conf that counts: the others are reported as ignored. */
export const activeConf = (view: ClusterView): BgpConf | undefined => view.bgpConfs.get('default')

/** The BGP identifier of this replica. */
export const routerIdOf = (conf: BgpConf, context: PlanContext): RouterId | undefined =>
  conf.routerId ?? context.defaultRouterId

/** All peers, by name. `tableOf` names the table whose routes a peer is to hear. */
export function planPeers(
  view: ClusterView,
  context: PlanContext,
  tableOf: (peer: BgpPeer) => TableName,
): PlannedPeers {
  const configs: PeerConfig[] = []
  const refusals: PeerRefusal[] = []
  const sessions = new Map<string, string>()
  // The older of two peers with one address keeps it, so that creating a second object never closes the first one's session.
  for (const peer of [...view.bgpPeers.values()].sort(byAge)) {
    const config = configOf(peer, view, context, sessions, tableOf)
    if (config.ok) configs.push(config.value)
    else refusals.push({ peer: peer.meta.name, ...config.error })
    if (peer.speaker === 'controller' && !sessions.has(sessionKey(peer))) sessions.set(sessionKey(peer), peer.meta.name)
  }
  const byName = (a: string, b: string): number => (a < b ? -1 : 1)
  return {
    configs: configs.sort((a, b) => byName(a.name, b.name)),
    refusals: refusals.sort((a, b) => byName(a.peer, b.peer)),
  }
}

type Refusal = Omit<PeerRefusal, 'peer'>

// The router tells our sessions apart by addresses, so two to the same one would close each other.
const sessionKey = ({ address, zone }: BgpPeer): string => `${address}%${zone ?? ''}`

const byAge = (a: BgpPeer, b: BgpPeer): number =>
  a.meta.creationTimestampMs - b.meta.creationTimestampMs || (a.meta.name < b.meta.name ? -1 : 1)

function configOf(
  peer: BgpPeer,
  view: ClusterView,
  context: PlanContext,
  sessions: ReadonlyMap<string, string>,
  tableOf: (peer: BgpPeer) => TableName,
): Result<PeerConfig, Refusal> {
  const refuse = (reason: Refusal['reason'], message: string): Result<never, Refusal> => err({ reason, message })
  if (peer.speaker === 'node')
    return refuse(
      'NodeSpeaker',
      'speaker is "node": the agents of the selected nodes open the sessions, not the controllers',
    )
  const conf = activeConf(view)
  if (conf === undefined) return refuse('NoBgpConf', noConfMessage(view))
  if (routerIdOf(conf, context) === undefined)
    return refuse(
      'NoRouterId',
      'BgpConf default has no routerId, and this controller has no IPv4 address to take its place',
    )
  const other = sessions.get(sessionKey(peer))
  if (other !== undefined)
    return refuse('AddressConflict', `BgpPeer ${other} is older and has the address ${peer.address} already`)
  const foreign = isLoopback(peer.address) ? undefined : unicastHostRefusal(peer.address)
  if (foreign !== undefined) return refuse('AddressInvalid', `${peer.address} ${foreign.because}`)
  if (peer.sourceAddress !== undefined && familyOf(peer.sourceAddress) !== familyOf(peer.address))
    return refuse(
      'AddressInvalid',
      `sourceAddress ${peer.sourceAddress} and address ${peer.address} are of different families`,
    )
  const localAsn = peer.localAsn ?? conf.asn
  const internal = localAsn === peer.asn
  if (internal && peer.ebgpMultihopTtl !== undefined)
    return refuse('TtlConflict', `ebgpMultihop is set, but AS ${peer.asn} is our own: iBGP sessions need none`)
  const password = passwordOf(peer, view)
  if (!password.ok) return password
  return ok(sessionOf(peer, conf, { password: password.value, internal, table: tableOf(peer) }))
}

function sessionOf(
  peer: BgpPeer,
  conf: BgpConf,
  facts: { readonly password: string | undefined; readonly internal: boolean; readonly table: TableName },
): PeerConfig {
  const { timers } = peer
  const graceful = peer.gracefulRestart ?? conf.gracefulRestart
  return {
    name: peer.meta.name,
    address: peer.address,
    ...(peer.zone === undefined ? {} : { zone: peer.zone }),
    port: peer.port,
    peerAsn: peer.asn,
    localAsn: peer.localAsn ?? conf.asn,
    ...(peer.sourceAddress === undefined ? {} : { sourceAddress: peer.sourceAddress }),
    ...(facts.password === undefined ? {} : { password: facts.password }),
    holdTimeSeconds: timers.holdSeconds,
    keepaliveSeconds: timers.keepaliveSeconds,
    connectRetrySeconds: timers.connectRetrySeconds,
    ttl: facts.internal ? ibgpTtl : (peer.ebgpMultihopTtl ?? 1),
    ...(peer.ttlSecurityHops === undefined ? {} : { ttlSecurityHops: peer.ttlSecurityHops }),
    ...(peer.bfd === undefined ? {} : { bfd: peer.bfd }),
    families:
      peer.families.length > 0 ? peer.families : [familyOf(peer.address) === 'IPv4' ? 'ipv4-unicast' : 'ipv6-unicast'],
    addPath: peer.addPath,
    ...(graceful.enabled
      ? { gracefulRestart: { restartSeconds: graceful.restartSeconds, longLivedSeconds: graceful.longLivedSeconds } }
      : {}),
    nextHop: peer.nextHop,
    passive: peer.passive,
    ...(peer.shutdown === undefined ? {} : { shutdown: peer.shutdown }),
    maxPrefixesIn: peer.maxPrefixesIn,
    table: facts.table,
  }
}

export function noConfMessage(view: ClusterView): string {
  const refused = view.refusals.some(({ kind, meta }) => kind === 'BgpConf' && meta.name === 'default')
  if (refused) return 'BgpConf default makes no sense: see its conditions'
  const others = [...view.bgpConfs.keys()].sort()
  return others.length === 0
    ? 'there is no BgpConf named default'
    : `there is no BgpConf named default; ${others.join(', ')} ${others.length === 1 ? 'is' : 'are'} ignored`
}

// The message names the Secret and the key, never the value.
function passwordOf({ passwordSecretRef: ref }: BgpPeer, view: ClusterView): Result<string | undefined, Refusal> {
  if (ref === undefined) return ok(undefined)
  const secret = secretNamed(view, ref.name)
  if (secret === undefined)
    return err({ reason: 'SecretMissing', message: `there is no Secret ${ref.name} in Bellhop's namespace` })
  const bytes = secret.data.get(ref.key)
  if (bytes === undefined) return err({ reason: 'SecretMissing', message: `Secret ${ref.name} has no key ${ref.key}` })
  const invalid = (because: string): Result<never, Refusal> =>
    err({ reason: 'PasswordInvalid', message: `the password in Secret ${ref.name}, key ${ref.key}, ${because}` })
  if (bytes.length === 0) return invalid('is empty')
  if (bytes.length > passwordBytesMax)
    return invalid(`has ${bytes.length} bytes: TCP-MD5 takes at most ${passwordBytesMax}`)
  const text = decodeUtf8(bytes)
  if (text === undefined) return invalid('is not UTF-8 text')
  return ok(text)
}

// Only one namespace's Secrets are in the view, so the name is enough.
function secretNamed(view: ClusterView, name: string): Secret | undefined {
  for (const secret of view.secrets.values()) if (secret.meta.name === name) return secret
  return undefined
}
