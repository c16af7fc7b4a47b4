// IPAddressPool to VipPool: the same addresses under the same name, so that what Services have and ask for by name stays right.

import type { RawObject } from '../../k8s/json.ts'
import { describeSelector, renderSelector, unite } from '../selectors.ts'
import type { Source } from '../source.ts'
import { clamp, poolRange } from '../values.ts'

export interface PoolDraft {
  readonly source: Source
  readonly name: string
  /** VipPool.spec but for mode, layer2 and sharing. */
  readonly spec: RawObject
}

const priorityMax = 1_000_000
const entriesMax = 256

/** All pools, in the order of the input. A pool without a usable address becomes nothing, and says so. */
export function metalLbPools(sources: readonly Source[]): readonly PoolDraft[] {
  const ranks = priorities(sources)
  return sources.flatMap((source) => {
    const { spec, name } = source
    const addresses = poolAddresses(source)
    if (addresses.length === 0) return []
    const allocation = spec.child('serviceAllocation')
    const namespaces = [...new Set(allocation?.texts('namespaces') ?? [])]
    const restrict = (key: 'namespaceSelectors' | 'serviceSelectors'): RawObject | undefined => {
      const selectors = allocation?.selectors(key) ?? []
      const united = unite(selectors)
      const [first] = selectors
      if (united.type === 'one') return renderSelector(united.selector)
      if (united.type === 'all' || first === undefined) return undefined
      allocation?.note(
        'problem',
        key,
        `Bellhop takes one selector, and these can not be written as one; only "${describeSelector(first)}" is kept: give the others the same label, or a pool of their own`,
      )
      return renderSelector(first)
    }
    return [
      {
        source,
        name,
        spec: {
          addresses,
          autoAssign: spec.flag('autoAssign') === false ? false : undefined,
          avoidBuggyIPs: spec.flag('avoidBuggyIPs') || undefined,
          priority: ranks.get(source),
          namespaces: namespaces.length > 0 ? namespaces : undefined,
          namespaceSelector: restrict('namespaceSelectors'),
          serviceSelector: restrict('serviceSelectors'),
        },
      },
    ]
  })
}

/** The pool's ranges as VipPool writes them; entries that are none are noted, and so is a pool with too many. */
function poolAddresses({ spec }: Source): readonly string[] {
  const addresses = new Set<string>()
  for (const text of spec.texts('addresses')) {
    const range = poolRange(text)
    if (range.type === 'refused') spec.note('problem', 'addresses', `${range.because}; left out`)
    else addresses.add(range.text)
    if (range.type === 'range' && range.tidied && range.text !== text.replace(/\s+/g, ''))
      spec.note('changed', 'addresses', `"${text}" is written as the network it means, ${range.text}`)
  }
  if (addresses.size === 0) spec.note('problem', 'addresses', 'no usable address: there is no VipPool for it')
  if (addresses.size <= entriesMax) return [...addresses]
  spec.note('problem', 'addresses', `${addresses.size} entries, and a VipPool takes ${entriesMax}: split the pool`)
  return []
}

// MetalLB: pools with a serviceAllocation come first, lower priority first, 0 or none last among them; then the other pools, at
// random. Bellhop: lower priority first, selective pools before open ones, then by name. Numbers are written only where that differs.
function priorities(sources: readonly Source[]): ReadonlyMap<Source, number> {
  const pinned = new Map<Source, number>()
  for (const source of sources) {
    const allocation = source.spec.child('serviceAllocation')
    if (allocation !== undefined) pinned.set(source, allocation.integer('priority') ?? 0)
  }
  const highest = Math.max(0, ...pinned.values())
  const ranks = new Map<Source, number>()
  if (highest === 0) return ranks
  const last = clamp(highest, 1, priorityMax - 2)
  for (const source of sources) {
    const written = pinned.get(source)
    const rank = written === undefined ? last + 2 : written > 0 ? Math.min(written, last) : last + 1
    ranks.set(source, rank)
    if (written === undefined || written === rank) {
      if (written === undefined)
        source.spec.note(
          'changed',
          '',
          rankWords(rank, 'without serviceAllocation it comes after the pools that have one'),
        )
    } else if (written === 0)
      source.spec.note(
        'changed',
        'serviceAllocation.priority',
        rankWords(rank, 'MetalLB takes a pool with priority 0 or none after those with a number, Bellhop before them'),
      )
    else
      source.spec.note(
        'changed',
        'serviceAllocation.priority',
        rankWords(rank, `Bellhop's numbers end at ${priorityMax}`),
      )
  }
  return ranks
}

const rankWords = (rank: number, because: string): string => `priority ${rank} here: ${because}`
