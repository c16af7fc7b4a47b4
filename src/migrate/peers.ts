// What is the same for routers of both products: our own AS number is a property of the cluster in Bellhop, one address and port is one
// session for the whole cluster, and what only eBGP knows is left away on iBGP. Turns drafts of peers into BgpConf and BgpPeers.

import type { RawObject } from '../k8s/json.ts'
import type { BgpPeer, LabelSelector } from '../k8s/objects.ts'
import { both, describeSelector, isEverything, renderSelector, unite } from './selectors.ts'
import type { Cursor, Source } from './source.ts'
import { bellhopObject, type Migrated, withoutAbsent } from './types.ts'

export interface PeerDraft {
  readonly source: Source
  readonly name: string
  readonly address: string
  readonly asn: number
  /** The AS number that the cluster speaks to this router with; undefined: that of the cluster. */
  readonly ownAsn: number | undefined
  /** The nodes whose paths the router hears of; undefined: all. `inexpressible` was noted already. */
  readonly nodes: LabelSelector | undefined | 'inexpressible'
  /** Present when an eBGP session may cross routers. */
  readonly multihopTtl: number | undefined
  /** Where the multihop setting stands, for notes. */
  readonly multihopField: string
  /** The rest of BgpPeer.spec. */
  readonly spec: RawObject
}

export interface Peers {
  readonly asn: number | undefined
  readonly peers: readonly PeerDraft[]
  /** Names of peers that became part of another one. */
  readonly mergedInto: ReadonlyMap<string, string>
  /** Drafts that are no peer of their own. */
  readonly merged: readonly PeerDraft[]
}

/**
 * One peer for each address and port. Where several objects speak to one, as they do when every rack or node has its own, they are
 * one session to Bellhop's controllers: equal ones are united, others can not be had at once. With `speaker` node they are as many
 * as they were, where one selector can not name the nodes of both.
 * @param clusterAsn the AS number that is written down for the cluster; without it the one that most peers use
 */
export function settlePeers(
  drafts: readonly PeerDraft[],
  clusterAsn: number | undefined,
  speaker: BgpPeer['speaker'],
): Peers {
  const peers: PeerDraft[] = []
  const merged: PeerDraft[] = []
  const mergedInto = new Map<string, string>()
  for (const draft of drafts) {
    const index = peers.findIndex(
      (peer) =>
        peer.address === draft.address &&
        peer.spec['port'] === draft.spec['port'] &&
        (speaker === 'controller' || isOneObject(peer, draft)),
    )
    const first = peers[index]
    if (first === undefined) {
      peers.push(draft)
      continue
    }
    merged.push(draft)
    if (comparable(first) !== comparable(draft)) {
      draft.source.spec.note(
        'problem',
        '',
        `left out: ${first.name} speaks to ${draft.address} already, with other settings. Bellhop has one session for each address and port of a router: make the settings equal`,
      )
      continue
    }
    mergedInto.set(draft.name, first.name)
    peers[index] = mergeNodes(first, draft)
    draft.source.spec.note('changed', '', `part of BgpPeer ${first.name}: it is the same router with the same settings`)
  }
  const asn = clusterAsn ?? mostCommon(peers.flatMap(({ ownAsn }) => ownAsn ?? []))
  return { asn, peers, merged, mergedInto }
}

/** Nodes that speak for themselves have each a session: several objects for one router are one where a selector can say so. */
const isOneObject = (a: PeerDraft, b: PeerDraft): boolean =>
  comparable(a) === comparable(b) &&
  a.nodes !== 'inexpressible' &&
  b.nodes !== 'inexpressible' &&
  (a.nodes === undefined || b.nodes === undefined || unite([a.nodes, b.nodes]).type !== 'several')

const comparable = ({ asn, ownAsn, multihopTtl, spec }: PeerDraft): string =>
  JSON.stringify([asn, ownAsn, multihopTtl, withoutAbsent(spec)])

function mergeNodes(a: PeerDraft, b: PeerDraft): PeerDraft {
  if (a.nodes === 'inexpressible' || b.nodes === 'inexpressible') return { ...a, nodes: 'inexpressible' }
  if (a.nodes === undefined || b.nodes === undefined) return { ...a, nodes: undefined }
  const united = unite([a.nodes, b.nodes])
  if (united.type !== 'several') return { ...a, nodes: united.type === 'one' ? united.selector : undefined }
  b.source.spec.note('problem', '', severalNodes([a.nodes, b.nodes]))
  return { ...a, nodes: 'inexpressible' }
}

/** Why nodes that several selectors name can not be had, and what to do. */
export const severalNodes = (
  selectors: readonly LabelSelector[],
  speaker: BgpPeer['speaker'] = 'controller',
): string => {
  const instead = speaker === 'node' ? 'every node opens a session' : 'the router is told of all nodes'
  return `Bellhop takes one node selector, and "${selectors.map(describeSelector).join('" or "')}" can not be written as one: ${instead}. Give these nodes one label and set nodeSelector`
}

function mostCommon(numbers: readonly number[]): number | undefined {
  const counts = new Map<number, number>()
  for (const number of numbers) counts.set(number, (counts.get(number) ?? 0) + 1)
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0]
}

/**
 * The objects. `restrict`: nodes that announcements to a router are limited to, on top of its own; undefined: none.
 * @param conf the rest of BgpConf.spec, and the sources that it is told with
 */
export function peerObjects(
  { asn, peers }: Peers,
  restrict: (peer: string) => LabelSelector | undefined,
): readonly Migrated[] {
  return peers.map((draft) => {
    const { source, name, address, ownAsn, nodes, spec } = draft
    const localAsn = ownAsn !== undefined && ownAsn !== asn ? ownAsn : undefined
    const internal = draft.asn === (ownAsn ?? asn)
    if (internal && draft.multihopTtl !== undefined)
      source.spec.note(
        'lost',
        draft.multihopField,
        'the router is in our own AS: iBGP sessions may cross routers anyway',
      )
    const selector = both(nodes === 'inexpressible' ? undefined : nodes, restrict(name))
    const object = bellhopObject('BgpPeer', name, {
      address,
      asn: draft.asn,
      localAsn,
      ...spec,
      ebgpMultihop: internal || draft.multihopTtl === undefined ? undefined : { ttl: draft.multihopTtl },
      nodeSelector: selector === undefined || isEverything(selector) ? undefined : renderSelector(selector),
    })
    return { object, origins: [source.origin()] }
  })
}

/** Notes that a Secret has to be copied. */
export function tellSecretCopy(
  cursor: Cursor,
  key: string,
  secret: { readonly name: string; readonly namespace: string },
): void {
  cursor.note(
    'changed',
    key,
    'Bellhop reads Secrets of its own namespace only; copy it:',
    `kubectl -n ${secret.namespace} get secret ${secret.name} -o json | jq '{apiVersion, kind, type, data, metadata: {name: .metadata.name}}' | kubectl -n bellhop-system apply -f -`,
  )
}

/** Notes that a password, which stood in the object itself, has to be put into a Secret. The password is never repeated. */
export function tellSecretCreation(cursor: Cursor, key: string, secret: string): void {
  cursor.note(
    'problem',
    key,
    'not printed here. Until it is in a Secret the session is not opened; type it without a newline and press Ctrl-D twice:',
    `kubectl -n bellhop-system create secret generic ${secret} --from-file=password=/dev/stdin`,
  )
}

/** The Secret that the agents may read: a key a router. */
export const nodeSecret = 'bgp-node-peers'

/** Notes how a router's password comes to where the agents read it. `from`: the Secret that it is in; undefined: in the object itself. */
export function tellNodeSecret(
  cursor: Cursor,
  field: string,
  key: string,
  from: { readonly name: string; readonly namespace: string } | undefined,
): void {
  const patch = (value: string): string =>
    `kubectl -n bellhop-system patch secret ${nodeSecret} -p "{\\"data\\":{\\"${key}\\":\\"${value}\\"}}"`
  const where = `the agents read Secret ${nodeSecret} only, a key a router`
  if (from === undefined)
    cursor.note(
      'problem',
      field,
      `not printed here; ${where}. Until it is there the session is not opened; type it without a newline and press Ctrl-D twice:`,
      patch('$(base64 -w0)'),
    )
  else
    cursor.note(
      'changed',
      field,
      `${where}; copy it:`,
      patch(`$(kubectl -n ${from.namespace} get secret ${from.name} -o jsonpath='{.data.password}')`),
    )
}

/** Why a router id is left away. */
export const routerIdWords =
  'left out: two replicas with one BGP identifier would look like one speaker to the router, so each takes its own IPv4 InternalIP'

/** Why graceful restart is left away. */
export const gracefulRestartWords =
  'left out: with two replicas a restart loses no route, and some routers keep dead next hops after it. With a single replica set gracefulRestart: {enabled: true}'
