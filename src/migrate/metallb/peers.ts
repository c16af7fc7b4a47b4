// BGPPeer (and the ConfigMap's peers) to drafts of BgpPeers. In MetalLB every selected node opens a session and announces itself; in
// Bellhop the controllers open one session each and announce the same nodes, so what selects nodes selects paths now. Where the nodes
// are to go on speaking for themselves (`speaker` node), it selects nodes as before.

import type { RawObject } from '../../k8s/json.ts'
import type { BgpPeer } from '../../k8s/objects.ts'
import { parseDurationSeconds } from '../../k8s/schemas/selector.ts'
import {
  gracefulRestartWords,
  nodeSecret,
  type PeerDraft,
  routerIdWords,
  severalNodes,
  tellNodeSecret,
  tellSecretCopy,
  tellSecretCreation,
} from '../peers.ts'
import { routerAddress, routerPort } from '../router.ts'
import { unite } from '../selectors.ts'
import type { Cursor, Source } from '../source.ts'
import { asnOf, timersOf } from '../values.ts'
import type { BfdProfiles } from './bfd.ts'

const unnumbered = {
  field: 'interface',
  words:
    'Bellhop needs the address of the router; one that connects by itself can have a BgpPeer with addressRange fe80::/10',
}

/** FRR's `ebgp-multihop` without a number. */
const multihopTtl = 255

/** The draft, or undefined when Bellhop can not speak to this router: then the source says why. */
export function metalLbPeer(source: Source, profiles: BfdProfiles, speaker: BgpPeer['speaker']): PeerDraft | undefined {
  const { spec, name } = source
  const address = routerAddress(spec, 'peerAddress', unnumbered)
  const myAsn = asnOf(spec, 'myASN')
  const asn = peerAsn(spec, myAsn)
  const localAsn = asnOf(spec, 'localASN')
  if (localAsn !== undefined)
    spec.note(
      'changed',
      'localASN',
      `becomes localAsn. MetalLB used it in its frr mode only: if the router knows this cluster as AS ${myAsn}, take it away`,
    )
  if (spec.raw('myASN') === undefined)
    spec.note('problem', 'myASN', 'is missing: the AS number of the cluster is not known')
  const selectors = spec.selectors('nodeSelectors')
  const nodes = unite(selectors)
  if (nodes.type === 'several') spec.note('problem', 'nodeSelectors', severalNodes(selectors, speaker))
  if (nodes.type === 'one' && speaker === 'controller')
    spec.note(
      'changed',
      'nodeSelectors',
      'the controllers open the session wherever they run, and tell this router of paths over these nodes only',
    )
  const multihop = spec.flag('ebgpMultiHop') ? multihopTtl : undefined
  const rest: RawObject = {
    port: routerPort(spec, 'peerPort'),
    passwordSecretRef: passwordOf(source, speaker),
    timers: peerTimers(spec),
    bfd: bfdOf(source, profiles, speaker),
    ...sessionOf(spec, speaker),
    families: spec.flag('dualStackAddressFamily') ? ['ipv4-unicast', 'ipv6-unicast'] : undefined,
  }
  dropRest(spec)
  if (address === undefined || asn === undefined) {
    spec.note('problem', '', 'left out: there is no BgpPeer for it')
    return undefined
  }
  return {
    source,
    name,
    address,
    asn,
    ownAsn: localAsn ?? myAsn,
    nodes: nodes.type === 'several' ? 'inexpressible' : nodes.type === 'one' ? nodes.selector : undefined,
    multihopTtl: multihop,
    multihopField: 'ebgpMultiHop',
    spec: rest,
  }
}

function peerAsn(spec: Cursor, myAsn: number | undefined): number | undefined {
  const dynamic = spec.text('dynamicASN')
  const written = asnOf(spec, 'peerASN')
  if (dynamic === undefined || dynamic === '') {
    if (spec.raw('peerASN') === undefined)
      spec.note('problem', 'peerASN', "is missing: the router's AS number is not known")
    return written
  }
  if (dynamic === 'internal') {
    spec.note('changed', 'dynamicASN', `internal: the router is in our own AS, ${myAsn}`)
    return myAsn
  }
  spec.note('problem', 'dynamicASN', `${dynamic}: Bellhop needs the router's AS number`)
  return undefined
}

// The password itself is never repeated: not in an object, not in a note.
function passwordOf({ spec, name, namespace }: Source, speaker: BgpPeer['speaker']): RawObject | undefined {
  const password = spec.raw('password')
  const secret = spec.child('passwordSecret')
  const secretName = secret?.text('name')
  const from = secret?.text('namespace') || namespace || 'metallb-system'
  const isThere = secretName !== undefined && secretName !== ''
  if (speaker === 'node') {
    if (!isThere && (password === undefined || password === '')) return undefined
    tellNodeSecret(
      spec,
      isThere ? 'passwordSecret' : 'password',
      name,
      isThere ? { name: secretName, namespace: from } : undefined,
    )
    return { name: nodeSecret, key: name }
  }
  if (isThere) {
    tellSecretCopy(spec, 'passwordSecret', { name: secretName, namespace: from })
    return { name: secretName }
  }
  if (password === undefined || password === '') return undefined
  const ours = `${name}-md5`
  tellSecretCreation(spec, 'password', ours)
  return { name: ours }
}

const durations = {
  holdSeconds: 'holdTime',
  keepaliveSeconds: 'keepaliveTime',
  connectRetrySeconds: 'connectTime',
} as const

function peerTimers(spec: Cursor): RawObject | undefined {
  const seconds = (key: string): number | undefined => {
    const text = spec.text(key)
    if (text === undefined || text === '') return undefined
    const duration = parseDurationSeconds(text)
    if (!duration.ok) spec.note('problem', key, `"${text}" is no duration; left out`)
    return duration.ok ? Math.round(duration.value) : undefined
  }
  return timersOf(
    {
      holdSeconds: seconds(durations.holdSeconds),
      keepaliveSeconds: seconds(durations.keepaliveSeconds),
      connectRetrySeconds: seconds(durations.connectRetrySeconds),
    },
    (timer, text) => spec.note('changed', durations[timer], text),
  )
}

function bfdOf({ spec, name }: Source, profiles: BfdProfiles, speaker: BgpPeer['speaker']): RawObject | undefined {
  const profile = spec.text('bfdProfile')
  if (profile === undefined || profile === '') return undefined
  const bfd = profiles.use(profile, name)
  if (bfd === undefined) spec.note('problem', 'bfdProfile', `there is no BFDProfile ${profile}: the session has no BFD`)
  else if (speaker === 'controller')
    spec.note(
      'changed',
      'bfdProfile',
      'the router runs BFD with the controllers instead of with every node: change its BFD neighbours along with its BGP neighbours',
    )
  return bfd
}

// What belongs to one node has its place where nodes speak for themselves.
function sessionOf(spec: Cursor, speaker: BgpPeer['speaker']): RawObject {
  if (speaker === 'node') {
    spec.drop(
      'routerID',
      'left out: each node takes its own IPv4 InternalIP, or what the annotation bellhop.io/router-id of its Node says',
    )
    return {
      speaker,
      sourceAddress: spec.text('sourceAddress') || undefined,
      gracefulRestart: spec.flag('enableGracefulRestart') ? { enabled: true } : undefined,
    }
  }
  spec.drop('routerID', routerIdWords)
  spec.drop('enableGracefulRestart', gracefulRestartWords)
  spec.drop(
    'sourceAddress',
    'left out: it belongs to one node, and the session is opened from whichever node a controller runs on, with the address its routing table chooses',
  )
  return {}
}

function dropRest(spec: Cursor): void {
  spec.drop('vrf', 'Bellhop speaks BGP in the default VRF only: this session will not come up as it is', 'problem')
  spec.drop('disableMP', 'Bellhop always offers the multiprotocol capability, for the families it announces')
}
