// BGPPeer (and the ConfigMap's peers) to drafts of BgpPeers. In MetalLB every selected node opens a session and announces itself; in
// Bellhop the controllers open one session each and announce the same nodes, so what selects nodes selects paths now.

import type { RawObject } from '../../k8s/json.ts'
import { parseDurationSeconds } from '../../k8s/schemas/selector.ts'
import {
  gracefulRestartWords,
  type PeerDraft,
  routerIdWords,
  severalNodes,
  tellSecretCopy,
  tellSecretCreation,
} from '../peers.ts'
import { unite } from '../selectors.ts'
import type { Cursor, Source } from '../source.ts'
import { asnOf, routerRefusal, timersOf } from '../values.ts'
import type { BfdProfiles } from './bfd.ts'

/** FRR's `ebgp-multihop` without a number. */
const multihopTtl = 255

/** The draft, or undefined when Bellhop can not speak to this router: then the source says why. */
export function metalLbPeer(source: Source, profiles: BfdProfiles): PeerDraft | undefined {
  const { spec, name } = source
  const address = peerAddress(spec)
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
  if (nodes.type === 'several') spec.note('problem', 'nodeSelectors', severalNodes(selectors))
  if (nodes.type === 'one')
    spec.note(
      'changed',
      'nodeSelectors',
      'the controllers open the session wherever they run, and tell this router of paths over these nodes only',
    )
  const multihop = spec.flag('ebgpMultiHop') ? multihopTtl : undefined
  const rest: RawObject = {
    port: portOf(spec),
    passwordSecretRef: passwordOf(source),
    timers: peerTimers(spec),
    bfd: bfdOf(source, profiles),
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

function peerAddress(spec: Cursor): string | undefined {
  spec.drop(
    'interface',
    'Bellhop needs the address of the router; one that connects by itself can have a BgpPeer with addressRange fe80::/10',
    'problem',
  )
  const text = spec.text('peerAddress')
  if (text === undefined || text === '') return undefined
  const refusal = routerRefusal(text)
  if (refusal === undefined) return text
  spec.note('problem', 'peerAddress', refusal)
  return undefined
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

function portOf(spec: Cursor): number | undefined {
  const port = spec.integer('peerPort')
  if (port === undefined || port === 0 || port === 179) return undefined
  if (port <= 65_535) return port
  spec.note('problem', 'peerPort', `${port} is no port; left out`)
  return undefined
}

// The password itself is never repeated: not in an object, not in a note.
function passwordOf({ spec, name, namespace }: Source): RawObject | undefined {
  const password = spec.raw('password')
  const secret = spec.child('passwordSecret')
  const secretName = secret?.text('name')
  const from = secret?.text('namespace') || namespace || 'metallb-system'
  if (secretName !== undefined && secretName !== '') {
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

function bfdOf({ spec, name }: Source, profiles: BfdProfiles): RawObject | undefined {
  const profile = spec.text('bfdProfile')
  if (profile === undefined || profile === '') return undefined
  const bfd = profiles.use(profile, name)
  if (bfd === undefined) spec.note('problem', 'bfdProfile', `there is no BFDProfile ${profile}: the session has no BFD`)
  else
    spec.note(
      'changed',
      'bfdProfile',
      'the router runs BFD with the controllers instead of with every node: change its BFD neighbours along with its BGP neighbours',
    )
  return bfd
}

function dropRest(spec: Cursor): void {
  spec.drop('routerID', routerIdWords)
  spec.drop('enableGracefulRestart', gracefulRestartWords)
  spec.drop(
    'sourceAddress',
    'left out: it belongs to one node, and the session is opened from whichever node a controller runs on, with the address its routing table chooses',
  )
  spec.drop('vrf', 'Bellhop speaks BGP in the default VRF only: this session will not come up as it is', 'problem')
  spec.drop('disableMP', 'Bellhop always offers the multiprotocol capability, for the families it announces')
}
