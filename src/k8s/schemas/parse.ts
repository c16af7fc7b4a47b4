// The one door through which raw objects become values: by kind, a value, a refusal, or nothing for us in it.

import { asObject } from '../json.ts'
import type {
  BgpConf,
  BgpPeer,
  BgpPolicy,
  EndpointSlice,
  Kind,
  Namespace,
  Node,
  ObjectMeta,
  ObjectRefusal,
  Secret,
  Service,
  Vip,
  VipPool,
} from '../objects.ts'
import { parseBgpConf } from './bgp-conf.ts'
import { parseBgpPeer } from './bgp-peer.ts'
import { parseBgpPolicy } from './bgp-policy.ts'
import { builtinMeta, parseEndpointSlice, parseNode, parseSecret, parseService } from './builtin.ts'
import { type Fields, fieldsOf, type Problem } from './fields.ts'
import { parseVip } from './vip.ts'
import { parseVipPool } from './vip-pool.ts'

export interface KindValues {
  readonly Service: Service
  readonly EndpointSlice: EndpointSlice
  readonly Node: Node
  readonly Namespace: Namespace
  readonly Secret: Secret
  readonly BgpConf: BgpConf
  readonly BgpPeer: BgpPeer
  readonly VipPool: VipPool
  readonly Vip: Vip
  readonly BgpPolicy: BgpPolicy
}

export type Parsed<K extends Kind> =
  | { readonly type: 'value'; readonly value: KindValues[K] }
  | { readonly type: 'refusal'; readonly refusal: ObjectRefusal }
  /** A slice of addressType FQDN or of no Service: neither wrong nor of use. */
  | { readonly type: 'nothing' }
  /** No `metadata.name`: not a Kubernetes object. */
  | { readonly type: 'garbage' }

/** Parses one raw object. `intern` may share equal strings between objects; by default each keeps its own. */
export function parseObject<K extends Kind>(
  kind: K,
  raw: unknown,
  intern: (text: string) => string = (text) => text,
): Parsed<K> {
  const meta = builtinMeta(kind, raw)
  if (meta === undefined) return { type: 'garbage' }
  const problems: Problem[] = []
  const spec = fieldsOf((raw as Readonly<Record<string, unknown>>)['spec'], 'spec', problems)
  const value = parseValue(kind, raw, meta, spec, intern)
  if (problems.length > 0) return { type: 'refusal', refusal: { kind, meta, problems, ...sharedStatus(kind, raw) } }
  return value === undefined ? { type: 'nothing' } : { type: 'value', value: value as KindValues[K] }
}

function sharedStatus(kind: Kind, raw: unknown): Pick<ObjectRefusal, 'status'> {
  const status = asObject(asObject(raw)?.['status'])
  return status !== undefined && (kind === 'BgpPeer' || kind === 'BgpConf') ? { status } : {}
}

function parseValue(
  kind: Kind,
  raw: unknown,
  meta: ObjectMeta,
  spec: Fields,
  intern: (text: string) => string,
): KindValues[Kind] | undefined {
  switch (kind) {
    case 'Service':
      return parseService(raw, meta)
    case 'EndpointSlice':
      return parseEndpointSlice(raw, meta, intern)
    case 'Node':
      return parseNode(raw, meta)
    case 'Namespace':
      return { meta }
    case 'Secret':
      return parseSecret(raw, meta)
    case 'BgpConf':
      return parseBgpConf(raw, meta, spec)
    case 'BgpPeer':
      return parseBgpPeer(raw, meta, spec)
    case 'VipPool':
      return parseVipPool(raw, meta, spec)
    case 'Vip':
      return parseVip(raw, meta, spec)
    case 'BgpPolicy':
      return parseBgpPolicy(raw, meta, spec)
  }
}
