// From BgpPeer, BgpConf and Secrets to sessions, and to the words that explain every BgpPeer without one. A peer that cannot be
// configured as it was meant is refused: a session with half of its settings would be worse than none.

import type { PeerConfig, PeerRange, TableName } from '../bgp/speaker/protocol.ts'
import { type BgpConf, type BgpPeer, type ClusterView, matchesSelector, type Secret } from '../k8s/objects.ts'
import type { RouterId } from '../net/asn.ts'
import { familyOf, type IpFamily, isLoopback, unicastHostRefusal } from '../net/ip.ts'
import { prefixContains, prefixFamily } from '../net/prefix.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { type NodeIdentity, nodeIdentity, peerOfNode } from './node-speaker.ts'
import { conflictOf } from './peer-conflicts.ts'
import type { LastGoodPeers, PeerRefusal, Plan, PlanContext } from './types.ts'
import { decodeUtf8 } from './utf8.ts'

/** TCP-MD5 keys are no longer than this (TCP_MD5SIG_MAXKEYLEN). */
const passwordBytesMax = 80
/** RFC 5880 section 4.4. */
const bfdKeyBytesMax = 20

/** The TTL of packets to routers in our own AS, which may be any number of hops away. */
const ibgpTtl = 255

export interface PlannedPeers {
  readonly configs: readonly PeerConfig[]
  /** Networks from which routers connect to us. */
  readonly ranges: readonly PeerRange[]
  readonly refusals: readonly PeerRefusal[]
  /** Peers whose Secret says nothing usable any more, and that have what it said last; absent = none. */
  readonly kept?: readonly PeerRefusal[]
  /** At a controller: the sessions that the agents of nodes have, as far as they are the same for all nodes. */
  readonly atNodes: readonly PeerConfig[]
  /** The BGP identifier of this speaker; absent where there is none. */
  readonly routerId?: RouterId
}

/** The conf that counts: the others are reported as ignored. */
export const activeConf = (view: ClusterView): BgpConf | undefined => view.bgpConfs.get('default')

/** The same, or what it said before it was edited into nonsense. */
export const countingConf = (view: ClusterView, plan: Plan | undefined): BgpConf | undefined =>
  activeConf(view) ?? plan?.kept?.objects.bgpConfs.get('default')

/** The BGP identifier of this replica, or of the node's speaker. */
function routerIdOf(
  conf: BgpConf | undefined,
  context: PlanContext,
  identity: Result<NodeIdentity, string> | undefined,
): RouterId | undefined {
  if (identity !== undefined) return identity.ok ? identity.value.routerId : undefined
  return conf?.routerId ?? context.defaultRouterId ?? context.madeRouterId
}

/** All peers of this speaker, by name. `tableOf` names the table whose routes a peer is to hear. */
export function planPeers(
  view: ClusterView,
  context: PlanContext,
  tableOf: (peer: BgpPeer) => TableName,
): PlannedPeers {
  const configs: PeerConfig[] = []
  const ranges: PeerRange[] = []
  const atNodes: PeerConfig[] = []
  const refusals: PeerRefusal[] = []
  const kept: PeerRefusal[] = []
  const older: BgpPeer[] = []
  const { incumbents = noNames, secrets = noSecrets } = context.lastGood ?? {}
  const identity = context.speakerNode === undefined ? undefined : nodeIdentity(view, context.speakerNode)
  const routerId = routerIdOf(activeConf(view), context, identity)
  const own = (peer: BgpPeer): BgpPeer => (identity?.ok === true ? peerOfNode(peer, identity.value) : peer)
  // Of two peers that can not be told apart the one that has the session keeps it, else the older one: creating or editing an object
  // never closes another one's session.
  const byRight = (a: BgpPeer, b: BgpPeer): number =>
    Number(incumbents.has(b.meta.name)) - Number(incumbents.has(a.meta.name)) || byAge(a, b)
  for (const peer of [...view.bgpPeers.values()].sort(byRight)) {
    const role = roleOf(peer, view, context)
    if (role === 'none') continue
    const ours = role === 'ours'
    const config =
      identity?.ok === false
        ? err<Refusal>({ reason: 'NodeAnnotation', message: identity.error })
        : configOf(
            own(peer),
            { texts: textsOf(view, secrets.get(peer.meta.name), (refusal) => kept.push(named(peer, refusal))), view },
            { hasRouterId: routerId !== undefined || !ours, tableOf },
            ours ? older : nobody,
          )
    if (!config.ok) refusals.push(named(peer, config.error))
    else if ('range' in config.value) ranges.push(config.value)
    else if (ours) configs.push(config.value)
    else atNodes.push(config.value)
    if (ours) older.push(own(peer))
  }
  const byName = (a: string, b: string): number => (a < b ? -1 : 1)
  return {
    configs: configs.sort((a, b) => byName(a.name, b.name)),
    ranges: ranges.map((range) => withExceptions(range, refusals, view)).sort((a, b) => byName(a.name, b.name)),
    refusals: refusals.sort((a, b) => byName(a.peer, b.peer)),
    ...(kept.length === 0 ? {} : { kept: kept.sort((a, b) => byName(a.peer, b.peer)) }),
    atNodes: atNodes.sort((a, b) => byName(a.name, b.name)),
    ...(routerId === undefined ? {} : { routerId }),
  }
}

// A router with a BgpPeer of its own is not to get, by a mistake in that, the session that the range has for anybody.
function withExceptions(range: PeerRange, refusals: readonly PeerRefusal[], view: ClusterView): PeerRange {
  const except = refusals.flatMap(({ peer }) => {
    const address = view.bgpPeers.get(peer)?.address
    return address !== undefined && prefixContains(range.range, address) ? [address] : []
  })
  return except.length === 0 ? range : { ...range, except }
}

const nobody: readonly BgpPeer[] = []

/** Whether this speaker has the session, the agents of nodes have it, or it is none of our business. */
function roleOf(
  { speaker, nodeSelector }: BgpPeer,
  view: ClusterView,
  { speakerNode }: PlanContext,
): 'ours' | 'theirs' | 'none' {
  if (speakerNode === undefined) return speaker === 'controller' ? 'ours' : 'theirs'
  const labels = view.nodes.get(speakerNode)?.meta.labels
  return speaker === 'node' && labels !== undefined && matchesSelector(nodeSelector, labels) ? 'ours' : 'none'
}

type Refusal = Omit<PeerRefusal, 'peer'>

const named = (peer: BgpPeer, refusal: Refusal): PeerRefusal => ({ peer: peer.meta.name, ...refusal })

const noNames: ReadonlySet<string> = new Set()
const noSecrets: LastGoodPeers['secrets'] = new Map()

const byAge = (a: BgpPeer, b: BgpPeer): number =>
  a.meta.creationTimestampMs - b.meta.creationTimestampMs || (a.meta.name < b.meta.name ? -1 : 1)

function configOf(
  peer: BgpPeer,
  { view, texts }: { readonly view: ClusterView; readonly texts: Texts },
  { hasRouterId, tableOf }: { readonly hasRouterId: boolean; readonly tableOf: (peer: BgpPeer) => TableName },
  older: readonly BgpPeer[],
): Result<PeerConfig | PeerRange, Refusal> {
  const refuse = (reason: Refusal['reason'], message: string): Result<never, Refusal> => err({ reason, message })
  const conf = activeConf(view)
  if (conf === undefined) return refuse('NoBgpConf', noConfMessage(view))
  if (!hasRouterId)
    return refuse(
      'NoRouterId',
      'BgpConf default has no routerId, and the Node that this controller is told to run on (NODE_NAME) is not there to make one of',
    )
  const conflict = older.map((other) => conflictOf(peer, other)).find((words) => words !== undefined)
  if (conflict !== undefined) return refuse('AddressConflict', conflict)
  const invalid = addressRefusal(peer, conf)
  if (invalid !== undefined) return refuse('AddressInvalid', invalid)
  const localAsn = peer.localAsn ?? conf.asn
  const internal = localAsn === peer.asn
  if (internal && peer.ebgpMultihopTtl !== undefined)
    return refuse('TtlConflict', `ebgpMultihop is set, but AS ${peer.asn} is our own: iBGP sessions need none`)
  const password = passwordOf(peer, texts)
  if (!password.ok) return password
  const bfd = bfdOf(peer, texts)
  if (!bfd.ok) return bfd
  return ok(sessionOf(peer, conf, { password: password.value, bfd: bfd.value, internal, table: tableOf(peer) }))
}

function addressRefusal(peer: BgpPeer, { listenPort }: BgpConf): string | undefined {
  const { address, addressRange, sourceAddress, speaker } = peer
  if (addressRange !== undefined) {
    if (speaker === 'node') return 'addressRange is for routers that connect to the controllers: agents do not listen'
    return listenPort === 0 ? 'nobody can connect: BgpConf default has listenPort 0' : undefined
  }
  if (address === undefined) return 'neither address nor addressRange says where the router is'
  const foreign = isLoopback(address) ? undefined : unicastHostRefusal(address)
  if (foreign !== undefined) return `${address} ${foreign.because}`
  return sourceAddress !== undefined && familyOf(sourceAddress) !== familyOf(address)
    ? `sourceAddress ${sourceAddress} and address ${address} are of different families`
    : undefined
}

interface SessionFacts {
  readonly password: string | undefined
  readonly bfd: PeerConfig['bfd']
  readonly internal: boolean
  readonly table: TableName
}

function sessionOf(peer: BgpPeer, conf: BgpConf, facts: SessionFacts): PeerConfig | PeerRange {
  const { address, addressRange, maxSessions } = peer
  if (addressRange !== undefined)
    return { ...sharedOf(peer, conf, prefixFamily(addressRange), facts), range: addressRange, maxSessions }
  if (address === undefined) throw new Error(`BgpPeer ${peer.meta.name} was accepted without an address`)
  return {
    ...sharedOf(peer, conf, familyOf(address), facts),
    address,
    ...(peer.zone === undefined ? {} : { zone: peer.zone }),
    port: peer.port,
    ...(peer.sourceAddress === undefined ? {} : { sourceAddress: peer.sourceAddress }),
    passive: peer.passive,
  }
}

/** What a session with one router and the sessions of a range have in common. */
function sharedOf(
  peer: BgpPeer,
  conf: BgpConf,
  family: IpFamily,
  facts: SessionFacts,
): Omit<PeerRange, 'range' | 'maxSessions'> {
  const { timers } = peer
  const graceful = peer.gracefulRestart ?? conf.gracefulRestart
  return {
    name: peer.meta.name,
    peerAsn: peer.asn,
    localAsn: peer.localAsn ?? conf.asn,
    ...(facts.password === undefined ? {} : { password: facts.password }),
    holdTimeSeconds: timers.holdSeconds,
    keepaliveSeconds: timers.keepaliveSeconds,
    connectRetrySeconds: timers.connectRetrySeconds,
    ttl: facts.internal ? ibgpTtl : (peer.ebgpMultihopTtl ?? 1),
    ...(peer.ttlSecurityHops === undefined ? {} : { ttlSecurityHops: peer.ttlSecurityHops }),
    ...(facts.bfd === undefined ? {} : { bfd: facts.bfd }),
    families: peer.families.length > 0 ? peer.families : [family === 'IPv4' ? 'ipv4-unicast' : 'ipv6-unicast'],
    addPath: peer.addPath,
    ...(graceful.enabled
      ? { gracefulRestart: { restartSeconds: graceful.restartSeconds, longLivedSeconds: graceful.longLivedSeconds } }
      : {}),
    nextHop: peer.nextHop,
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

interface SecretText {
  readonly ref: { readonly name: string; readonly key: string }
  readonly bytesMax: number
  /** What takes no more, in an operator's words. */
  readonly taker: string
}

/** The texts of Secrets, as one peer has them. */
type Texts = (text: SecretText, what: 'password' | 'bfdKey') => Result<string, Refusal>

// A Secret that vanishes, or says nonsense, takes no session along: what it said last is as good as it was.
const textsOf =
  (
    view: ClusterView,
    last: { readonly password?: string; readonly bfdKey?: string } | undefined,
    onKept: (refusal: Refusal) => void,
  ): Texts =>
  (text, what) => {
    const now = secretText(view, text)
    const before = last?.[what]
    if (now.ok || before === undefined) return now
    onKept(now.error)
    return ok(before)
  }

const passwordOf = ({ passwordSecretRef: ref }: BgpPeer, texts: Texts): Result<string | undefined, Refusal> =>
  ref === undefined ? ok(undefined) : texts({ ref, bytesMax: passwordBytesMax, taker: 'TCP-MD5' }, 'password')

function bfdOf({ bfd }: BgpPeer, texts: Texts): Result<PeerConfig['bfd'], Refusal> {
  if (bfd === undefined) return ok(undefined)
  const { authentication, ...timers } = bfd
  if (authentication === undefined) return ok(timers)
  const { type, keyId, secretRef: ref } = authentication
  const password = texts({ ref, bytesMax: bfdKeyBytesMax, taker: 'a BFD key' }, 'bfdKey')
  return password.ok ? ok({ ...timers, authentication: { type, keyId, password: password.value } }) : password
}

// The message names the Secret and the key, never the value.
function secretText(view: ClusterView, { ref, bytesMax, taker }: SecretText): Result<string, Refusal> {
  const secret = secretNamed(view, ref.name)
  if (secret === undefined)
    return err({ reason: 'SecretMissing', message: `there is no Secret ${ref.name} in Bellhop's namespace` })
  const bytes = secret.data.get(ref.key)
  if (bytes === undefined) return err({ reason: 'SecretMissing', message: `Secret ${ref.name} has no key ${ref.key}` })
  const invalid = (because: string): Result<never, Refusal> =>
    err({ reason: 'PasswordInvalid', message: `the password in Secret ${ref.name}, key ${ref.key}, ${because}` })
  if (bytes.length === 0) return invalid('is empty')
  if (bytes.length > bytesMax) return invalid(`has ${bytes.length} bytes: ${taker} takes at most ${bytesMax}`)
  const text = decodeUtf8(bytes)
  if (text === undefined) return invalid('is not UTF-8 text')
  return ok(text)
}

// Only one namespace's Secrets are in the view, so the name is enough.
function secretNamed(view: ClusterView, name: string): Secret | undefined {
  for (const secret of view.secrets.values()) if (secret.meta.name === name) return secret
  return undefined
}
