// All of a table as messages, for peers that have nothing yet: written once, as it was when the first of them asked, and only as
// far as the fastest of them has read. Whoever comes at the same moment reads the same bytes.

import { type Prefix, prefixFamily } from '../../net/prefix.ts'
import { writeNlri } from '../packet/encode.ts'
import { familyOfPrefixFamily } from '../packet/message.ts'
import type { IdsByFamily, Table } from './adj-rib-out.ts'
import { createAnnouncements, type FamilyIds, type Leg, nothingExported } from './announcements.ts'
import type { ExportContext } from './export.ts'
import { createSlabs } from './pack.ts'
import type { Path, Route, RouteAttributes } from './route.ts'

/** What is announced by the messages that were written so far; grows. */
export interface AnnouncedCount {
  readonly paths: number
  readonly prefixes: number
}

export interface FullTable {
  /** Message `index`, counted from 0; undefined behind the last. */
  readonly message: (index: number) => Uint8Array | undefined
  readonly announced: AnnouncedCount
}

/** How routes with equal paths and attributes are announced. */
interface Plan {
  readonly family: FamilyIds
  readonly attributes: RouteAttributes
  readonly legs: readonly Leg[] | undefined
}

const plansMax = 1024
const prefixesPerStep = 512
const inFull = { forced: true } as const

/** Takes down what `table` says now; later changes of it are not seen. */
export function createFullTable(context: ExportContext, table: Table, ids: IdsByFamily): FullTable {
  const messages: Uint8Array[] = []
  const announcements = createAnnouncements(context, {
    allocate: createSlabs(),
    emit: (message) => void messages.push(message),
  })
  const families = new Map(
    [...ids].map(([family, familyIds]): [string, FamilyIds] => [
      family,
      { family, addPath: context.codec.addPathSend.has(family), ids: familyIds },
    ]),
  )
  const announced = { paths: 0, prefixes: 0 }
  const octets = new Uint8Array(17)
  let routes: readonly Route[] = [...table.values()]
  let at = 0

  // Most prefixes have their next hops in common with others, and the speaker's table holds equal sets of them once.
  const plans = new Map<readonly Path[], Plan>()
  const planOf = (route: Route, family: FamilyIds): Plan => {
    const known = plans.get(route.paths)
    if (known !== undefined && known.attributes === route.attributes && known.family === family) return known
    if (plans.size === plansMax) plans.clear()
    const plan: Plan = { family, attributes: route.attributes, legs: announcements.plan(route, family) }
    plans.set(route.paths, plan)
    return plan
  }

  const write = (route: Route): void => {
    const family = families.get(familyOf(route.prefix))
    if (family === undefined) return
    const bytes = writeNlri(octets, 0, route.prefix, undefined)
    const { legs } = planOf(route, family)
    const paths = legs === undefined ? writeAlone(route, family, bytes) : legs.length
    for (const { packer, wireId } of legs ?? []) packer.add(octets, bytes, wireId)
    announced.paths += paths
    announced.prefixes += Math.sign(paths)
  }

  const writeAlone = (route: Route, family: FamilyIds, bytes: number): number => {
    const exported = announcements.exported(route, family)
    return announcements.add(family, { octets, bytes }, exported, nothingExported, inFull)
  }

  /** False when there is no more to write. */
  const advance = (): boolean => {
    if (routes.length === 0) return false
    const end = Math.min(routes.length, at + prefixesPerStep)
    for (; at < end; at++) {
      const route = routes[at]
      if (route !== undefined) write(route)
    }
    if (at === routes.length) {
      announcements.flush()
      plans.clear()
      routes = []
    }
    return true
  }

  return {
    message: (index) => {
      while (index >= messages.length) if (!advance()) return undefined
      return messages[index]
    },
    announced,
  }
}

const familyOf = (prefix: Prefix): string => familyOfPrefixFamily(prefixFamily(prefix))
