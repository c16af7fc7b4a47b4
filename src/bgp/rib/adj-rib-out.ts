// What one peer has been told and what it should be told: from the desired routes to the UPDATE messages that make the
// peer's table equal to them (RFC 4271 section 3.2 and 9.2). It keeps two references a prefix, the route sent and the route
// desired, and computes the paths of both when it compares them; nothing is kept path by path.
//
// Work is done in batches: all prefixes marked since the last one. Each prefix is compared once a batch, so that messages
// of a batch never contradict each other, and may be ordered as serves the peer: what only shrinks is withdrawn first, new
// next hops follow, and next hops they replace go last. A slow peer that has not asked for its next message finds the newest
// state when it does, for every prefix that was not written yet.
//
// Sharing between peers: the messages are a function of the context and of the calls, nothing else, and are never written
// to again. Peers with equal contexts and the same table can be members of one group around one AdjRibOut, each with its
// own position in the list of messages. A member that falls behind, resynchronises or has just come up leaves with an
// AdjRibOut of its own that was given `remember` for every route of `sentRoutes()`, and joins again when both have nothing
// pending: at that moment they hold the same. No session notices.

import type { Ip } from '../../net/ip.ts'
import { type Prefix, prefixFamily } from '../../net/prefix.ts'
import { nlriBytes, writeNlri } from '../packet/encode.ts'
import { type Family, familyOfPrefixFamily } from '../packet/message.ts'
import { type AttributeSet, createAttributeSets, type Variant } from './attribute-sets.ts'
import { type ExportContext, exportPaths, hasLinkBandwidth } from './export.ts'
import { announcementPacker, announcementRoom, encodeEndOfRib, type Packer, withdrawalPacker } from './pack.ts'
import { createPathIds, type PathIds } from './path-ids.ts'
import type { Path, Route } from './route.ts'

export type { ExportContext } from './export.ts'

export interface AdjRibOut {
  /** Sets the desired route of a prefix; undefined withdraws it. Marks only; families not negotiated are ignored. */
  readonly update: (prefix: Prefix, route: Route | undefined) => void
  /** Every path of the family is to be sent again (RFC 2918). */
  readonly resend: (family: Family) => void
  /** The next whole UPDATE, or undefined when the peer has everything. Never empty, never above the negotiated size. */
  readonly next: () => Uint8Array | undefined
  readonly endOfRib: (family: Family) => Uint8Array
  /** The peer may still hold this route from an earlier session (RFC 4724): it is announced again or withdrawn. */
  readonly remember: (route: Route) => void
  /** The routes as they were last handed out by `next`, or are about to be. */
  readonly sentRoutes: () => IterableIterator<Route>
  /** Announced and not withdrawn, counting what `next` is about to hand out. */
  readonly announcedPaths: number
  readonly announcedPrefixes: number
  /** Whether `next` may have something. */
  readonly pending: boolean
}

/** One family of the session. */
interface Table {
  readonly family: Family
  readonly addPath: boolean
  readonly entries: Map<Prefix, Entry>
  readonly ids: PathIds
  /** Withdrawals of prefixes that only shrink, and of those that also get new paths. */
  readonly shrinking: Packer
  readonly replaced: Packer
}

interface Entry {
  readonly table: Table
  readonly prefix: Prefix
  sent: Route | undefined
  desired: Route | undefined
  /** In the list of marked prefixes. */
  marked: boolean
  /** All paths are to be sent, also those that the peer has. */
  forced: boolean
}

/** What of a route a peer has or is to have. */
interface Exported {
  readonly paths: readonly Path[]
  /** Link bandwidth goes along. */
  readonly weighted: boolean
  readonly set: AttributeSet | undefined
}

/** How many prefixes are compared before the messages that are full are handed out. */
const prefixesPerStep = 512

export function createAdjRibOut(context: ExportContext): AdjRibOut {
  const { codec } = context
  const urgent = createQueue()
  const ordinary = createQueue()
  const attributeSets = createAttributeSets(context)
  // Announcements of the batch in progress: messages that are still being filled.
  const filling = new Map<Variant, Map<Ip, Packer>>()
  let marked: Entry[] = []
  let batch: Entry[] = []
  let batchAt = 0
  let announcedPaths = 0
  let announcedPrefixes = 0

  const tables = new Map<Family, Table>()
  for (const family of codec.families)
    tables.set(family, {
      family,
      addPath: codec.addPathSend.has(family),
      entries: new Map(),
      ids: createPathIds(),
      shrinking: withdrawalPacker(family, codec, (message) => urgent.put(message)),
      replaced: withdrawalPacker(family, codec, (message) => ordinary.put(message)),
    })

  const mark = (entry: Entry): void => {
    if (entry.marked) return
    entry.marked = true
    marked.push(entry)
  }
  const entryOf = (table: Table, prefix: Prefix): Entry => {
    const known = table.entries.get(prefix)
    if (known !== undefined) return known
    const entry: Entry = { table, prefix, sent: undefined, desired: undefined, marked: false, forced: false }
    table.entries.set(prefix, entry)
    return entry
  }
  const tableOf = (prefix: Prefix): Table | undefined => tables.get(familyOfPrefixFamily(prefixFamily(prefix)))

  // ------------------------------------------------------------------------------------------------ one prefix

  const exported = (route: Route | undefined, { family, addPath }: Table): Exported => {
    if (route === undefined) return nothing
    const paths = exportPaths(route, family, context)
    const [first] = paths
    if (first === undefined) return nothing
    const set = attributeSets.of(route.attributes)
    const weighted = hasLinkBandwidth(paths)
    // Attributes that leave no room for a prefix in a message can not be sent at all.
    const { attributesBytes } = set.variantOf(weighted ? first.linkBandwidth : undefined)
    const entryBytes = nlriBytes(route.prefix, addPath ? 0 : undefined)
    return announcementRoom(family, attributesBytes, codec) < entryBytes ? nothing : { paths, set, weighted }
  }

  const packerOf = (family: Family, variant: Variant, nextHop: Ip): Packer => {
    let byNextHop = filling.get(variant)
    if (byNextHop === undefined) {
      byNextHop = new Map()
      filling.set(variant, byNextHop)
    }
    let packer = byNextHop.get(nextHop)
    if (packer === undefined) {
      packer = announcementPacker(family, variant.attributes, nextHop, codec, (message) => ordinary.put(message))
      byNextHop.set(nextHop, packer)
    }
    return packer
  }

  const nlri = new Uint8Array(17)

  /** Brings the peer's view of one prefix from what was sent to what is desired. */
  const compare = (entry: Entry): void => {
    const { table, prefix, sent, desired, forced } = entry
    entry.marked = false
    entry.forced = false
    entry.sent = desired
    if (desired === undefined) table.entries.delete(prefix)
    if (sent === desired && !forced) return
    const before = exported(sent, table)
    const after = exported(desired, table)
    const prefixBytes = writeNlri(nlri, 0, prefix, undefined)
    const announced = announce(table, prefixBytes, after, before, { forced })
    if (table.addPath) {
      const packer = announced > 0 ? table.replaced : table.shrinking
      forEachGone(before.paths, after.paths, ({ pathId, nextHop }) =>
        packer.add(nlri, prefixBytes, table.ids.wireId(pathId, nextHop)),
      )
    } else if (after.paths.length === 0 && before.paths.length > 0) table.shrinking.add(nlri, prefixBytes, undefined)
    announcedPaths += after.paths.length - before.paths.length
    announcedPrefixes += Math.sign(after.paths.length) - Math.sign(before.paths.length)
  }

  /** Adds the paths of `after` that are new or changed, or all; returns how many. */
  const announce = (
    table: Table,
    prefixBytes: number,
    after: Exported,
    before: Exported,
    { forced }: { readonly forced: boolean },
  ): number => {
    if (after.set === undefined) return 0
    let count = 0
    let at = 0
    for (const path of after.paths) {
      // Both lists ascend by path id. Without ADD-PATH there is one path at most, and the id is not on the wire.
      if (table.addPath) while (pathIdAt(before.paths, at) < path.pathId) at++
      const held = before.paths[at]
      const variant = after.set.variantOf(after.weighted ? path.linkBandwidth : undefined)
      const same =
        held !== undefined &&
        held.nextHop === path.nextHop &&
        (held.pathId === path.pathId || !table.addPath) &&
        before.set?.variantOf(before.weighted ? held.linkBandwidth : undefined) === variant
      if (same && !forced) continue
      const wireId = table.addPath ? table.ids.wireId(path.pathId, path.nextHop) : undefined
      packerOf(table.family, variant, path.nextHop).add(nlri, prefixBytes, wireId)
      count++
    }
    return count
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
      attributeSets.trim()
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
    for (const { shrinking } of tables.values()) shrinking.flush()
  }

  const finishBatch = (): void => {
    flushShrinking()
    for (const byNextHop of filling.values()) for (const packer of byNextHop.values()) packer.flush()
    filling.clear()
    for (const { replaced } of tables.values()) replaced.flush()
    batch = []
    batchAt = 0
  }

  return {
    update: (prefix, route) => {
      if (route !== undefined && route.prefix !== prefix) throw new Error(`route of ${route.prefix} under ${prefix}`)
      const table = tableOf(prefix)
      if (table === undefined) return
      if (route === undefined && !table.entries.has(prefix)) return
      const entry = entryOf(table, prefix)
      if (entry.desired === route) return
      entry.desired = route
      mark(entry)
    },
    resend: (family) => {
      for (const entry of tables.get(family)?.entries.values() ?? []) {
        entry.forced = true
        mark(entry)
      }
    },
    next: () => {
      for (;;) {
        const message = urgent.take() ?? ordinary.take()
        if (message !== undefined || !advance()) return message
      }
    },
    endOfRib: encodeEndOfRib,
    remember: (route) => {
      const table = tableOf(route.prefix)
      if (table === undefined) return
      const entry = entryOf(table, route.prefix)
      if (entry.sent !== undefined) throw new Error(`${route.prefix} was sent on this session already`)
      entry.sent = route
      entry.forced = true
      const { length } = exported(route, table).paths
      announcedPaths += length
      announcedPrefixes += Math.sign(length)
      mark(entry)
    },
    sentRoutes: function* () {
      for (const { entries } of tables.values())
        for (const { sent } of entries.values()) if (sent !== undefined) yield sent
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

const nothing: Exported = { paths: [], weighted: false, set: undefined }

const pathIdAt = (paths: readonly Path[], at: number): number => paths[at]?.pathId ?? Number.POSITIVE_INFINITY

/** The paths of `before` that are not in `after`; both ascend by path id. */
function forEachGone(before: readonly Path[], after: readonly Path[], found: (path: Path) => void): void {
  let at = 0
  for (const path of before) {
    while (pathIdAt(after, at) < path.pathId) at++
    const kept = after[at]
    if (kept === undefined || kept.pathId !== path.pathId || kept.nextHop !== path.nextHop) found(path)
  }
}

interface Queue {
  readonly put: (message: Uint8Array) => void
  readonly take: () => Uint8Array | undefined
  readonly size: () => number
}

// First in, first out, without moving the rest on each take. Bounded by the batch that fills it: the next one begins empty.
function createQueue(): Queue {
  let messages: Uint8Array[] = []
  let taken = 0
  return {
    put: (message) => void messages.push(message),
    take: () => {
      const message = messages[taken]
      if (message === undefined) return undefined
      if (++taken === messages.length) {
        messages = []
        taken = 0
      }
      return message
    },
    size: () => messages.length - taken,
  }
}
