// Which pools a Service may take an address from, and in which order. Built once per pass over all pools: the answers are used for
// ten thousand Services.

import { type ClusterView, matchesSelector, type Service, type VipPool } from '../k8s/objects.ts'
import type { IpFamily } from '../net/ip.ts'
import { type AddressOwnership, divideAddresses } from './pool-ranges.ts'

export interface Pools extends AddressOwnership {
  readonly get: (name: string) => VipPool | undefined
  readonly all: readonly VipPool[]
  /** Pools that exist, but whose specs make no sense; sorted. */
  readonly refused: readonly string[]
  /** The pool exists, but its spec makes no sense. */
  readonly isRefused: (name: string) => boolean
  /** Why the pool gives out nothing at all now, in words. */
  readonly closedBecause: (pool: VipPool) => string | undefined
  /** Why the pool gives `service` nothing, in words, or undefined when it admits it. Holds for explicit requests too. */
  readonly admissionRefusal: (pool: VipPool, service: Service) => string | undefined
  /** The pools that admit `service` without being named, in the order in which they are tried. */
  readonly automatic: (service: Service, family: IpFamily) => readonly VipPool[]
}

/** Indexes the pools of a view. */
export function indexPools(view: ClusterView): Pools {
  const ownership = divideAddresses(view.vipPools.values())
  const refused = new Set(view.refusals.filter(({ kind }) => kind === 'VipPool').map(({ meta }) => meta.name))
  const inOrder = [...view.vipPools.values()]
    .filter((pool) => pool.autoAssign && closedBecause(pool) === undefined)
    .sort(byPreference)
  const namespaceAnswers = new Map<VipPool, Map<string, boolean>>()

  const admitsNamespace = (pool: VipPool, namespace: string): boolean => {
    const answers = namespaceAnswers.get(pool) ?? new Map<string, boolean>()
    namespaceAnswers.set(pool, answers)
    const known = answers.get(namespace)
    if (known !== undefined) return known
    const answer = namespaceAdmitted(pool, namespace, view)
    answers.set(namespace, answer)
    return answer
  }
  const admissionRefusal = (pool: VipPool, service: Service): string | undefined => {
    if (!admitsNamespace(pool, service.meta.namespace))
      return `pool ${pool.meta.name} does not admit namespace ${service.meta.namespace}`
    if (pool.serviceSelector !== undefined && !matchesSelector(pool.serviceSelector, service.meta.labels))
      return `the labels of the Service do not match the serviceSelector of pool ${pool.meta.name}`
    return undefined
  }
  return {
    ...ownership,
    get: (name) => view.vipPools.get(name),
    all: [...view.vipPools.values()].sort((a, b) => (a.meta.name < b.meta.name ? -1 : 1)),
    refused: [...refused].filter((name) => !view.vipPools.has(name)).sort(),
    isRefused: (name) => refused.has(name) && !view.vipPools.has(name),
    closedBecause,
    admissionRefusal,
    automatic: (service, family) =>
      inOrder.filter(
        (pool) =>
          ownership.rangesOf(pool.meta.name).some((range) => range.family === family) &&
          admissionRefusal(pool, service) === undefined,
      ),
  }
}

function closedBecause(pool: VipPool): string | undefined {
  if (pool.disabled) return `pool ${pool.meta.name} is disabled`
  return pool.meta.deleting ? `pool ${pool.meta.name} is being deleted` : undefined
}

// The two namespace rules are alternatives. Without either everybody is admitted; a selector that matches nothing admits nobody.
function namespaceAdmitted(pool: VipPool, namespace: string, view: ClusterView): boolean {
  if (pool.namespaces.length === 0 && pool.namespaceSelector === undefined) return true
  if (pool.namespaces.includes(namespace)) return true
  const object = view.namespaces.get(namespace)
  return (
    pool.namespaceSelector !== undefined &&
    object !== undefined &&
    matchesSelector(pool.namespaceSelector, object.meta.labels)
  )
}

const isSelective = (pool: VipPool): boolean =>
  pool.namespaces.length > 0 || pool.namespaceSelector !== undefined || pool.serviceSelector !== undefined

function byPreference(a: VipPool, b: VipPool): number {
  return (
    a.priority - b.priority ||
    Number(isSelective(b)) - Number(isSelective(a)) ||
    (a.meta.name < b.meta.name ? -1 : a.meta.name > b.meta.name ? 1 : 0)
  )
}
