// Which paths may share an UPDATE: those with equal bytes of attributes and an equal next hop. Attribute values are encoded
// once, interned by what they are on the wire, and from then on compared by identity; so a change that this kind of session
// does not see (LOCAL_PREF on eBGP) is no change.

import { encodePathAttributes } from '../packet/encode.ts'
import type { PathAttributes } from '../packet/message.ts'
import { type ExportContext, exportAttributes, leavingAttributes, withLinkBandwidth } from './export.ts'
import type { Path, RouteAttributes } from './route.ts'

/** Equal attributes on the wire, next hop aside. Two variants are equal exactly when they are the same object. */
export interface Variant {
  readonly attributes: PathAttributes
  readonly attributesBytes: number
}

/** The variants of one set of route attributes, by the link bandwidth in bytes per second; undefined: without the community. */
export interface AttributeSet {
  readonly variantOf: (linkBandwidth: number | undefined) => Variant
  /** The set for paths that leave; made when it is first asked for. */
  readonly leaving: () => AttributeSet
}

/** The set that is written for this path. */
export const setFor = (set: AttributeSet, path: Path): AttributeSet =>
  path.leaving === undefined ? set : set.leaving()

export interface AttributeSets {
  readonly of: (attributes: RouteAttributes) => AttributeSet
  /** Forgets what has gathered when it is a lot: then true, and variants from before and after must not be compared. */
  readonly trim: () => boolean
}

const variantsMax = 4096

/** Creates an empty interner for one session. */
export function createAttributeSets(context: ExportContext): AttributeSets {
  let byIdentity = new WeakMap<RouteAttributes, AttributeSet>()
  const byBytes = new Map<string, AttributeSet>()
  let variants = 0

  const variant = (attributes: PathAttributes, block: Uint8Array): Variant => {
    variants++
    return { attributes, attributesBytes: block.length }
  }
  const encode = (attributes: PathAttributes): Uint8Array => encodePathAttributes(attributes, context.codec)

  const intern = (exported: PathAttributes): AttributeSet => {
    const block = encode(exported)
    const key = block.join()
    const known = byBytes.get(key)
    if (known !== undefined) return known
    const plain = variant(exported, block)
    // By link bandwidth as it is on the wire, a single-precision float.
    const weighted = new Map<number, Variant>()
    const weightedVariant = (weight: number): Variant => {
      const known = weighted.get(weight)
      if (known !== undefined) return known
      const attributes = withLinkBandwidth(exported, context.localAsn, weight)
      const created = variant(attributes, encode(attributes))
      weighted.set(weight, created)
      return created
    }
    let leaving: AttributeSet | undefined
    const set: AttributeSet = {
      variantOf: (linkBandwidth) => (linkBandwidth === undefined ? plain : weightedVariant(Math.fround(linkBandwidth))),
      leaving: () => {
        leaving ??= intern(leavingAttributes(exported, context))
        return leaving
      },
    }
    byBytes.set(key, set)
    return set
  }

  return {
    of: (attributes) => {
      const known = byIdentity.get(attributes)
      if (known !== undefined) return known
      const set = intern(exportAttributes(attributes, context))
      byIdentity.set(attributes, set)
      return set
    },
    trim: () => {
      if (variants <= variantsMax) return false
      byIdentity = new WeakMap()
      byBytes.clear()
      variants = 0
      return true
    },
  }
}
