// BgpPeer of both API versions to drafts of Bellhop's. OpenELB passes the fields on to GoBGP, which never reads many of them: those
// are named with what became of them there, so that nobody misses what never was.

import type { RawObject } from '../../k8s/json.ts'
import type { LabelSelector } from '../../k8s/objects.ts'
import { gracefulRestartWords, type PeerDraft, tellSecretCreation } from '../peers.ts'
import { routerAddress, routerPort } from '../router.ts'
import { describeSelector, isEverything } from '../selectors.ts'
import type { Cursor, Source } from '../source.ts'
import { asnOf, timersOf } from '../values.ts'
import type { OpenElbConf } from './conf.ts'
import { isV1alpha1 } from './sources.ts'

const unnumbered = {
  field: 'neighborInterface',
  words: 'Bellhop needs the address of the router: BGP unnumbered is not supported',
}

/** GoBGP's TTL when ebgpMultihop names none. */
const multihopTtlDefault = 255
const rackLabels = ['openelb.kubesphere.io/rack', 'porter.kubesphere.io/rack']

/** The draft, or undefined when Bellhop can not speak to this router: then the source says why. */
export function openElbPeer(source: Source, conf: OpenElbConf | undefined): PeerDraft | undefined {
  const { spec, name } = source
  const settings = spec.child(isV1alpha1(source) ? 'config' : 'conf')
  const address = settings === undefined ? undefined : routerAddress(settings, 'neighborAddress', unnumbered)
  const asn = settings === undefined ? undefined : asnOf(settings, 'peerAs')
  if (settings === undefined || settings.raw('peerAs') === undefined)
    spec.note('problem', '', 'peerAs is missing: the AS number of the router is not known')
  const { nodes, rackAsn } = nodesOf(spec, conf)
  const localAs = settings === undefined ? undefined : asnOf(settings, 'localAs')
  const rest: RawObject = {
    port: routerPort(spec.child('transport'), 'remotePort'),
    passwordSecretRef: settings === undefined ? undefined : passwordOf(settings, name),
    timers: timers(spec.child('timers')?.child('config')),
    families: familiesOf(spec),
    passive: spec.child('transport')?.flag('passiveMode') || undefined,
    shutdown: settings?.flag('adminDown') ? 'administratively down' : undefined,
  }
  const multihop = multihopOf(spec.child('ebgpMultihop'))
  if (settings !== undefined) dropConf(settings)
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
    ownAsn: localAs ?? rackAsn ?? conf?.asn,
    nodes,
    multihopTtl: multihop,
    multihopField: 'ebgpMultihop',
    spec: rest,
  }
}

// The password itself is never repeated.
function passwordOf(settings: Cursor, name: string): RawObject | undefined {
  const password = settings.raw('authPassword')
  if (password === undefined || password === '') return undefined
  const secret = `${name}-md5`
  tellSecretCreation(settings, 'authPassword', secret)
  return { name: secret }
}

function multihopOf(multihop: Cursor | undefined): number | undefined {
  const enabled = multihop?.flag('enabled') ?? false
  const ttl = multihop?.integer('multihopTtl') || multihopTtlDefault
  if (!enabled) return undefined
  if (ttl >= 2 && ttl <= 255) return ttl
  multihop?.note('changed', 'multihopTtl', `${ttl} is a neighbour on our own network: no ebgpMultihop is needed`)
  return undefined
}

const timerFields = {
  holdSeconds: 'holdTime',
  keepaliveSeconds: 'keepaliveInterval',
  connectRetrySeconds: 'connectRetry',
} as const

// A 0 means GoBGP's default, so it can not ask for a hold time of 0.
function timers(config: Cursor | undefined): RawObject | undefined {
  if (config === undefined) return undefined
  config.drop('minimumAdvertisementInterval', 'GoBGP stores it and never uses it; Bellhop sends at once')
  const seconds = (key: string): number | undefined => config.integer(key) || undefined
  return timersOf(
    {
      holdSeconds: seconds(timerFields.holdSeconds),
      keepaliveSeconds: seconds(timerFields.keepaliveSeconds),
      connectRetrySeconds: seconds(timerFields.connectRetrySeconds),
    },
    (timer, text) => config.note('changed', timerFields[timer], text),
  )
}

// ------------------------------------------------------------------------------------------------------ families

const families: Readonly<Record<string, string>> = {
  'AFI_IP SAFI_UNICAST': 'ipv4-unicast',
  'AFI_IP6 SAFI_UNICAST': 'ipv6-unicast',
  '1 1': 'ipv4-unicast',
  '2 1': 'ipv6-unicast',
}

function familiesOf(spec: Cursor): readonly string[] | undefined {
  // Porter's place for it.
  spec.child('addPaths')?.drop('sendMax', sendMaxWords)
  const named = spec.children('afiSafis').flatMap((entry) => {
    const config = entry.child('config')
    const family = config?.child('family')
    const text = `${family?.text('afi') ?? ''} ${family?.text('safi') ?? ''}`
    const enabled = config?.flag('enabled') ?? false
    const addPaths = entry.child('addPaths')?.child('config')
    addPaths?.drop('sendMax', sendMaxWords)
    addPaths?.drop('receive', 'Bellhop uses no routes of routers')
    entry.child('mpGracefulRestart')?.child('config')?.drop('enabled', gracefulRestartWords)
    if (!enabled || family === undefined) return []
    const known = families[text]
    if (known === undefined) family.note('problem', '', `${text}: Bellhop announces IPv4 and IPv6 unicast only`)
    return known ?? []
  })
  return named.length === 0 ? undefined : [...new Set(named)]
}

const sendMaxWords =
  'Bellhop offers ADD-PATH by itself and announces every next hop that the router accepts; a cap for all routers is BgpConf maxNextHops'

// --------------------------------------------------------------------------------------------------------- nodes

// The selector chose which speakers connect. Only with asPerRack did a speaker announce the nodes of its own rack alone.
function nodesOf(
  spec: Cursor,
  conf: OpenElbConf | undefined,
): { readonly nodes: LabelSelector | undefined; readonly rackAsn: number | undefined } {
  const selector = spec.selector('nodeSelector')
  if (selector === undefined || isEverything(selector)) return { nodes: undefined, rackAsn: undefined }
  const label = rackLabels.find((key) => selector.matchLabels[key] !== undefined)
  const rack = label === undefined ? undefined : selector.matchLabels[label]
  const rackAsn = rack === undefined ? undefined : conf?.asPerRack?.get(rack)
  if (label !== undefined && rack !== undefined && conf?.asPerRack !== undefined) {
    spec.note(
      'changed',
      'nodeSelector',
      `the controllers open the session wherever they run, and tell this router of paths over the nodes of rack ${rack} only; what else the selector says chose who connects`,
    )
    return { nodes: { matchLabels: { [label]: rack }, matchExpressions: [] }, rackAsn }
  }
  spec.note(
    'changed',
    'nodeSelector',
    `left out: "${describeSelector(selector)}" chose the nodes that open the session, and each of them announced all next hops. Bellhop's controllers open it, and announce all next hops too; where the router is to hear of some nodes only, set nodeSelector`,
  )
  return { nodes: undefined, rackAsn: undefined }
}

// --------------------------------------------------------------------------------------------------------- drops

const neverRead = 'GoBGP never reads it'

function dropConf(settings: Cursor): void {
  settings.drop('description', 'a BgpPeer has a name and no description')
  settings.drop('peerGroup', 'OpenELB defines no peer groups, so GoBGP refuses it', 'problem')
  settings.drop('vrf', 'Bellhop speaks BGP in the default VRF only: this session will not come up as it is', 'problem')
  settings.drop('peerType', 'follows from the AS numbers')
  settings.drop('sendCommunity', neverRead)
  settings.drop('routeFlapDamping', neverRead)
  for (const key of ['removePrivateAs', 'allowOwnAs', 'replacePeerAs'])
    settings.drop(key, 'concerns routes that are passed on; Bellhop passes none on')
}

function dropRest(spec: Cursor): void {
  spec.drop('gracefulRestart', gracefulRestartWords)
  spec.drop('usingPortForward', 'not needed: Bellhop listens on port 179 itself (BgpConf listenPort)')
  const transport = spec.child('transport')
  for (const key of ['mtuDiscovery', 'remoteAddress', 'tcpMss']) transport?.drop(key, neverRead)
}
