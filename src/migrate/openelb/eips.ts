// Eip to VipPool: the same addresses under the same name. Which Eip a Service gets without naming one follows other rules in OpenELB;
// autoAssign and priority are written so that the outcome is the same.

import type { RawObject } from '../../k8s/json.ts'
import type { Source } from '../source.ts'
import { clamp, poolRange } from '../values.ts'
import { isDefaultEip, isV1alpha1 } from './sources.ts'

export interface EipDraft {
  readonly source: Source
  readonly name: string
  /** VipPool.spec but for sharing. */
  readonly spec: RawObject
}

const priorityMax = 1_000_000

/** All pools, in the order of the input. An Eip without a usable address becomes nothing, and says so. */
export function openElbPools(sources: readonly Source[]): readonly EipDraft[] {
  const facts = sources.map(readEip)
  const anyBound = facts.some(({ bound }) => bound)
  const anyDefault = facts.some(({ source }) => isDefaultEip(source))
  const lastBound = Math.max(0, ...facts.filter(({ bound }) => bound).map(({ priority }) => priority))
  return facts.flatMap(({ source, bound, priority, address, spec }) => {
    if (address === undefined) return []
    const onlyByName = !bound && !isDefaultEip(source) && (anyBound || anyDefault)
    if (onlyByName)
      source.spec.note(
        'changed',
        '',
        'autoAssign: false, since OpenELB gives its addresses only to Services that name it: it is neither the default Eip nor bound to namespaces',
      )
    const rank = !bound && anyBound && !onlyByName && priority <= lastBound ? lastBound + 1 : priority
    if (rank !== priority)
      source.spec.note(
        'changed',
        '',
        `priority ${rank} instead of ${priority}: OpenELB takes it after the Eips that are bound to namespaces`,
      )
    return [
      {
        source,
        name: source.name,
        spec: {
          addresses: [address],
          autoAssign: onlyByName ? false : undefined,
          priority: rank === 0 ? undefined : clamp(rank, -priorityMax, priorityMax),
          ...spec,
        },
      },
    ]
  })
}

interface EipFacts {
  readonly source: Source
  readonly address: string | undefined
  readonly priority: number
  /** To namespaces. */
  readonly bound: boolean
  readonly spec: RawObject
}

function readEip(source: Source): EipFacts {
  const { spec } = source
  const namespaces = [...new Set(spec.texts('namespaces'))]
  const matchLabels = spec.textMap('namespaceSelector')
  const selective = Object.keys(matchLabels).length > 0
  if (namespaces.length > 0 || selective)
    spec.note(
      'changed',
      namespaces.length > 0 ? 'namespaces' : 'namespaceSelector',
      'holds for Services that name the pool or an address of it, too; OpenELB lets those in from any namespace',
    )
  const usingKnownIps = spec.flag('usingKnownIPs')
  const avoid = isV1alpha1(source) && usingKnownIps !== true
  if (usingKnownIps !== undefined && !isV1alpha1(source))
    spec.note(
      'lost',
      'usingKnownIPs',
      'OpenELB has not read it since v0.4: addresses ending in .0 and .255 are given out (avoidBuggyIPs)',
    )
  else if (avoid) spec.note('changed', 'usingKnownIPs', 'addresses ending in .0 and .255 are skipped: avoidBuggyIPs')
  return {
    source,
    address: addressOf(source),
    priority: spec.integer('priority') ?? 0,
    bound: namespaces.length > 0 || selective,
    spec: {
      avoidBuggyIPs: avoid || undefined,
      namespaces: namespaces.length > 0 ? namespaces : undefined,
      namespaceSelector: selective ? { matchLabels } : undefined,
      disabled: spec.flag('disable') || undefined,
      ...modeOf(source),
    },
  }
}

function addressOf({ spec }: Source): string | undefined {
  const text = spec.text('address')
  if (text === undefined || text === '') {
    spec.note('problem', 'address', 'is missing: there is no VipPool for it')
    return undefined
  }
  const range = poolRange(text)
  if (range.type === 'refused') {
    spec.note('problem', 'address', `${range.because}: there is no VipPool for it`)
    return undefined
  }
  if (range.tidied) spec.note('changed', 'address', `"${text}" is written as ${range.text}`)
  return range.text
}

function modeOf({ spec }: Source): RawObject {
  const protocol = spec.text('protocol') || 'bgp'
  if (protocol === 'bgp') {
    spec.drop('interface', 'means nothing with protocol bgp')
    return {}
  }
  if (protocol !== 'layer2' && protocol !== 'vip') {
    spec.note('problem', 'protocol', `${protocol} is not a protocol of OpenELB: bgp is assumed`)
    spec.drop('interface', 'means nothing with protocol bgp')
    return {}
  }
  if (protocol === 'vip')
    spec.note(
      'changed',
      'protocol',
      'vip: there is no keepalived in Bellhop; mode layer2 moves an address between nodes as VRRP does',
    )
  const link = spec.text('interface')
  if (link?.startsWith('can_reach:')) {
    spec.note(
      'problem',
      'interface',
      `"${link}": Bellhop takes names of interfaces; every interface answers until you name some in layer2.interfaces`,
    )
    return { mode: 'layer2' }
  }
  return { mode: 'layer2', layer2: link === undefined || link === '' ? undefined : { interfaces: [link] } }
}
