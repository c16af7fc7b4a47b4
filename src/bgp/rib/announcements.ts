// Announcements on their way into messages: which paths of a route go out, with which attributes, into which message that is
// being filled. Shared by the two that announce: the comparison with what a peer has, and the whole table for one that has
// nothing.

import type { Ip } from '../../net/ip.ts'
import { nlriBytes } from '../packet/encode.ts'
import type { Family } from '../packet/message.ts'
import { type AttributeSet, createAttributeSets, setFor, type Variant } from './attribute-sets.ts'
import { type ExportContext, exportPaths, hasLinkBandwidth } from './export.ts'
import { announcementPacker, announcementRoom, type MessageSink, type Packer } from './pack.ts'
import type { PathIds } from './path-ids.ts'
import type { Path, Route } from './route.ts'

/** What of a route a peer has or is to have. */
export interface Exported {
  /** Ascending by path id. */
  readonly paths: readonly Path[]
  /** Link bandwidth goes along. */
  readonly weighted: boolean
  readonly set: AttributeSet | undefined
}

/** A prefix as it is on the wire: length octet and address octets, `bytes` of them. */
export interface WirePrefix {
  readonly octets: Uint8Array
  readonly bytes: number
}

/** One family of the session. */
export interface FamilyIds {
  readonly family: Family
  readonly addPath: boolean
  readonly ids: PathIds
}

/** One path of a planned route: `packer` takes the prefix with this path id. */
export interface Leg {
  readonly packer: Packer
  readonly wireId: number | undefined
}

export interface Announcements {
  readonly exported: (route: Route | undefined, of: FamilyIds) => Exported
  /** Adds the paths of `after` that `before` has not, or has otherwise, or all of them if `forced`; returns how many. */
  readonly add: (
    of: FamilyIds,
    prefix: WirePrefix,
    after: Exported,
    before: Exported,
    options: { readonly forced: boolean },
  ) => number
  /**
   * Where each path of the route goes, and by which id: the same for every prefix of the family whose route has these very
   * attributes and paths, until `trim`. Undefined where the prefix has a say.
   */
  readonly plan: (route: Route, of: FamilyIds) => readonly Leg[] | undefined
  /** Emits the messages that are not full. */
  readonly flush: () => void
  /** Forgets attributes and packers when they have become many; only between a `flush` and the next `add`. */
  readonly trim: () => void
}

// A path id, 128 bits and their number.
const entryBytesMax = 4 + 17
// Header and value of the attribute of extended communities.
const linkBandwidthBytes = 3 + 8
// MED, LOCAL_PREF, and a community with the header of its attribute.
const leavingBytesMax = 7 + 7 + 3 + 4

export const nothingExported: Exported = { paths: [], weighted: false, set: undefined }

const packersMax = 8192

/** Creates the announcements of one session or of several with equal contexts; `sink` gets whole messages. */
export function createAnnouncements(context: ExportContext, sink: MessageSink): Announcements {
  const { codec } = context
  const attributeSets = createAttributeSets(context)
  // Kept from batch to batch, because with a packer comes what its messages have in common, encoded.
  const packers = new Map<Family, Map<Variant, Map<Ip, Packer>>>()
  let packerCount = 0
  /** Those with something in them, and with them the order in which it came. */
  const filling: Packer[] = []

  const packerOf = (family: Family, variant: Variant, nextHop: Ip): Packer => {
    const byVariant = entryOf(packers, family, newMap<Variant, Map<Ip, Packer>>)
    const byNextHop = entryOf(byVariant, variant, newMap<Ip, Packer>)
    return entryOf(byNextHop, nextHop, () => {
      packerCount++
      return announcementPacker(family, variant.attributes, nextHop, codec, sink, filling)
    })
  }

  const exported: Announcements['exported'] = (route, { family, addPath }) => {
    if (route === undefined) return nothingExported
    const paths = exportPaths(route, family, context)
    const [first] = paths
    if (first === undefined) return nothingExported
    const set = attributeSets.of(route.attributes)
    const weighted = hasLinkBandwidth(paths)
    // Attributes that leave no room for a prefix in a message can not be sent at all.
    const entryBytes = nlriBytes(route.prefix, addPath ? 0 : undefined)
    const hasRoom = (path: Path): boolean => {
      const { attributesBytes } = variantOf(set, { weighted }, path)
      return announcementRoom(family, attributesBytes, codec) >= entryBytes
    }
    if (!paths.some(({ leaving }) => leaving !== undefined))
      return hasRoom(first) ? { paths, set, weighted } : nothingExported
    const roomy = paths.filter(hasRoom)
    return roomy.length === 0 ? nothingExported : { paths: roomy, set, weighted }
  }

  return {
    exported,
    add: ({ family, addPath, ids }, { octets, bytes }, after, before, { forced }) => {
      if (after.set === undefined) return 0
      let count = 0
      let at = 0
      for (const path of after.paths) {
        // Without ADD-PATH there is one path at most, and the id is not on the wire.
        if (addPath) while (pathIdAt(before.paths, at) < path.pathId) at++
        const held = before.paths[at]
        const variant = variantOf(after.set, after, path)
        const same =
          held !== undefined &&
          held.nextHop === path.nextHop &&
          (held.pathId === path.pathId || !addPath) &&
          before.set !== undefined &&
          variantOf(before.set, before, held) === variant
        if (same && !forced) continue
        const wireId = addPath ? ids.wireId(path.pathId, path.nextHop) : undefined
        packerOf(family, variant, path.nextHop).add(octets, bytes, wireId)
        count++
      }
      return count
    },
    plan: (route, { family, addPath, ids }) => {
      const limit = addPath ? (context.pathsLimit.get(family) ?? 0) : 1
      const chooses = context.nextHopSelf === undefined && limit > 0 && route.paths.length > limit
      const { attributesBytes } = attributeSets.of(route.attributes).variantOf(undefined)
      const room = announcementRoom(family, attributesBytes + linkBandwidthBytes + leavingBytesMax, codec)
      if (chooses || room < entryBytesMax) return undefined
      const { paths, set, weighted } = exported(route, { family, addPath, ids })
      if (set === undefined) return []
      return paths.map((path) => ({
        packer: packerOf(family, variantOf(set, { weighted }, path), path.nextHop),
        wireId: addPath ? ids.wireId(path.pathId, path.nextHop) : undefined,
      }))
    },
    flush: () => {
      for (const packer of filling) packer.flush()
      filling.length = 0
    },
    trim: () => {
      if (!attributeSets.trim() && packerCount <= packersMax) return
      packers.clear()
      packerCount = 0
    },
  }
}

const newMap = <K, V>(): Map<K, V> => new Map()

function entryOf<K, V>(map: Map<K, V>, key: K, create: () => V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  const created = create()
  map.set(key, created)
  return created
}

const variantOf = (set: AttributeSet, { weighted }: Pick<Exported, 'weighted'>, path: Path): Variant =>
  setFor(set, path).variantOf(weighted ? path.linkBandwidth : undefined)

const pathIdAt = (paths: readonly Path[], at: number): number => paths[at]?.pathId ?? Number.POSITIVE_INFINITY

/** The paths of `before` that are not in `after`; both ascend by path id. */
export function forEachGone(before: readonly Path[], after: readonly Path[], found: (path: Path) => void): void {
  let at = 0
  for (const path of before) {
    while (pathIdAt(after, at) < path.pathId) at++
    const kept = after[at]
    if (kept === undefined || kept.pathId !== path.pathId || kept.nextHop !== path.nextHop) found(path)
  }
}
