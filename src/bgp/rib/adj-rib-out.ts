// What one peer, or several that are told the same, has been told and should be told: from the changes of a table to the UPDATE
// messages that carry them (RFC 4271 section 3.2 and 9.2). The table itself is the memory of what was sent. Only prefixes whose
// change is not written yet have an entry here, two references: the route sent and the route desired; the paths of both are
// computed when they are compared. So a peer that has everything costs nothing, however many routes there are.
//
// Work is done in batches: all prefixes marked since the last one. Each prefix is compared once a batch, so that messages
// of a batch never contradict each other, and may be ordered as serves the peer: what only shrinks is withdrawn first, new
// next hops follow, and next hops they replace go last. A slow peer that has not asked for its next message finds the newest
// state when it does, for every prefix that was not written yet. The messages are a function of the context and of the calls,
// nothing else, and are never written to again: update-groups.ts hands them to every peer with an equal context.

import { type Prefix, prefixFamily } from '../../net/prefix.ts'
import { writeNlri } from '../packet/encode.ts'
import { type Family, familyOfPrefixFamily } from '../packet/message.ts'
import { createAnnouncements, type FamilyIds, forEachGone } from './announcements.ts'
import type { ExportContext } from './export.ts'
import { createMessageQueue } from './message-queue.ts'
import { apart, type Packer, withdrawalPacker } from './pack.ts'
import { createPathIds, type PathIds } from './path-ids.ts'
import type { Route } from './route.ts'

export type { ExportContext } from './export.ts'

/** Routes by their prefix. */
export type Table = ReadonlyMap<Prefix, Route>

/** The ids in use on a session, by family. */
export type IdsByFamily = ReadonlyMap<Family, PathIds>

export interface AdjRibOut {
  /**
   * Sets the desired route of a prefix; undefined withdraws it. Marks only; families not negotiated are ignored. Comes before
   * the table itself is changed: until then it says what the peer has.
   */
  readonly update: (prefix: Prefix, route: Route | undefined) => void
  /** Every path of the family is to be sent again (RFC 2918). */
  readonly resend: (family: Family) => void
  /** The next whole UPDATE, or undefined when the peer has everything. Never empty, never above the negotiated size. */
  readonly next: () => Uint8Array | undefined
  /** Whatever the table says, this is what the peer has of the prefix; it is brought to what the table says. */
  readonly holds: (prefix: Prefix, route: Route | undefined) => void
  /** The peer may still hold this route from an earlier session (RFC 4724): it is announced again or withdrawn. */
  readonly remember: (route: Route) => void
  /** The routes as they were last handed out by `next`, or are about to be. */
  readonly sentRoutes: () => IterableIterator<Route>
  /** By how much the paths announced and not withdrawn have grown, counting what `next` is about to hand out. */
  readonly announcedPaths: number
  readonly announcedPrefixes: number
  /** Whether `next` may have something. */
  readonly pending: boolean
}

/** One family of the session. */
interface FamilyState extends FamilyIds {
  readonly entries: Map<Prefix, Entry>
  /** Withdrawals of prefixes that only shrink, and of those that also get new paths. */
  readonly shrinking: Packer
  readonly replaced: Packer
}

/** A prefix whose change is not written yet. */
interface Entry {
  readonly state: FamilyState
  readonly prefix: Prefix
  readonly sent: Route | undefined
  desired: Route | undefined
  /** All paths are to be sent, also those that the peer has. */
  forced: boolean
}

/** How many prefixes are compared before the messages that are full are handed out. */
const prefixesPerStep = 512

/** New ids for every family of the session. */
export const createIds = ({ codec }: ExportContext): IdsByFamily =>
  new Map([...codec.families].map((family) => [family, createPathIds()]))

/** For a peer that has what `table` says, or was never told anything while it is empty. `ids` are those of its session. */
export function createAdjRibOut(context: ExportContext, table: Table, ids = createIds(context)): AdjRibOut {
  const { codec } = context
  const urgent = createMessageQueue()
  const ordinary = createMessageQueue()
  const announcements = createAnnouncements(context, { allocate: apart, emit: ordinary.put })
  let marked: Entry[] = []
  let batch: Entry[] = []
  let batchAt = 0
  let announcedPaths = 0
  let announcedPrefixes = 0

  const families = new Map<Family, FamilyState>()
  for (const [family, familyIds] of ids)
    families.set(family, {
      family,
      addPath: codec.addPathSend.has(family),
      ids: familyIds,
      entries: new Map(),
      shrinking: withdrawalPacker(family, codec, urgent.put),
      replaced: withdrawalPacker(family, codec, ordinary.put),
    })
  const stateOf = (prefix: Prefix): FamilyState | undefined => families.get(familyOf(prefix))

  const mark = (state: FamilyState, prefix: Prefix, sent: Route | undefined, desired: Route | undefined): Entry => {
    const entry: Entry = { state, prefix, sent, desired, forced: false }
    state.entries.set(prefix, entry)
    marked.push(entry)
    return entry
  }

  // ------------------------------------------------------------------------------------------------ one prefix

  const octets = new Uint8Array(17)

  /** Brings the peer's view of one prefix from what was sent to what is desired. */
  const compare = ({ state, prefix, sent, desired, forced }: Entry): void => {
    state.entries.delete(prefix)
    if (sent === desired && !forced) return
    const before = announcements.exported(sent, state)
    const after = announcements.exported(desired, state)
    const bytes = writeNlri(octets, 0, prefix, undefined)
    const announced = announcements.add(state, { octets, bytes }, after, before, { forced })
    if (state.addPath) {
      const packer = announced > 0 ? state.replaced : state.shrinking
      forEachGone(before.paths, after.paths, ({ pathId, nextHop }) =>
        packer.add(octets, bytes, state.ids.wireId(pathId, nextHop)),
      )
    } else if (after.paths.length === 0 && before.paths.length > 0) state.shrinking.add(octets, bytes, undefined)
    announcedPaths += after.paths.length - before.paths.length
    announcedPrefixes += Math.sign(after.paths.length) - Math.sign(before.paths.length)
  }

  // ---------------------------------------------------------------------------------------------------- batches

  /** Does a piece of work towards the next message; false when there is none left. */
  const advance = (): boolean => {
    if (batchAt === batch.length) {
      if (batch.length > 0) {
        finishBatch()
        return true
      }
      if (marked.length === 0) return false
      announcements.trim()
      batch = marked
      marked = []
    }
    const end = Math.min(batch.length, batchAt + prefixesPerStep)
    for (; batchAt < end; batchAt++) {
      const entry = batch[batchAt]
      if (entry !== undefined) compare(entry)
    }
    // Whatever only shrinks goes before announcements, but is not cut short while there are none.
    if (ordinary.size() > 0) flushShrinking()
    return true
  }

  const flushShrinking = (): void => {
    for (const { shrinking } of families.values()) shrinking.flush()
  }

  const finishBatch = (): void => {
    flushShrinking()
    announcements.flush()
    for (const { replaced } of families.values()) replaced.flush()
    batch = []
    batchAt = 0
  }

  const holds = (prefix: Prefix, route: Route | undefined): Entry | undefined => {
    const state = stateOf(prefix)
    if (state === undefined) return undefined
    if (state.entries.has(prefix)) throw new Error(`what the peer has of ${prefix} is known already`)
    return mark(state, prefix, route, table.get(prefix))
  }

  return {
    update: (prefix, route) => {
      if (route !== undefined && route.prefix !== prefix) throw new Error(`route of ${route.prefix} under ${prefix}`)
      const state = stateOf(prefix)
      if (state === undefined) return
      const entry = state.entries.get(prefix)
      if (entry !== undefined) entry.desired = route
      else {
        const sent = table.get(prefix)
        if (sent !== route) mark(state, prefix, sent, route)
      }
    },
    resend: (family) => {
      const state = families.get(family)
      if (state === undefined) return
      for (const entry of state.entries.values()) entry.forced = true
      for (const [prefix, route] of table)
        if (familyOf(prefix) === family && !state.entries.has(prefix)) mark(state, prefix, route, route).forced = true
    },
    next: () => {
      for (;;) {
        const message = urgent.take() ?? ordinary.take()
        if (message !== undefined || !advance()) return message
      }
    },
    holds: (prefix, route) => void holds(prefix, route),
    remember: (route) => {
      const entry = holds(route.prefix, route)
      if (entry === undefined) return
      entry.forced = true
      const { length } = announcements.exported(route, entry.state).paths
      announcedPaths += length
      announcedPrefixes += Math.sign(length)
    },
    sentRoutes: function* () {
      for (const { entries } of families.values())
        for (const { sent } of entries.values()) if (sent !== undefined) yield sent
      for (const [prefix, route] of table) {
        const state = stateOf(prefix)
        if (state !== undefined && !state.entries.has(prefix)) yield route
      }
    },
    get announcedPaths() {
      return announcedPaths
    },
    get announcedPrefixes() {
      return announcedPrefixes
    },
    get pending() {
      return urgent.size() > 0 || ordinary.size() > 0 || batch.length > 0 || marked.length > 0
    },
  }
}

const familyOf = (prefix: Prefix): Family => familyOfPrefixFamily(prefixFamily(prefix))
