// MetalLB's names for communities: from Community objects to the names of BgpConf, and the look-up that advertisements need.

import { asObject, asText, type RawObject } from '../../k8s/json.ts'
import type { Source } from '../source.ts'
import { communityText, isCommunityName } from '../values.ts'

export interface CommunityNames {
  /** For BgpConf.spec.communities. */
  readonly named: ReadonlyMap<string, string>
  /** What a BgpPolicy writes for a community of MetalLB's; undefined when it is neither a name nor a community. */
  readonly resolve: (text: string) => string | undefined
}

/** `keepNames`: there will be a BgpConf to hold the names; else policies carry the values. */
export function communityNames(
  sources: readonly Source[],
  { keepNames }: { readonly keepNames: boolean },
): CommunityNames {
  const values = new Map<string, string>()
  const named = new Map<string, string>()
  for (const source of sources)
    for (const { name, text, at } of aliasesOf(source)) {
      const value = communityText(text)
      const tell = (words: string): void => source.spec.note(value === undefined ? 'problem' : 'changed', at, words)
      if (value === undefined) tell(`${name}: "${text}" is not a community that Bellhop can send; left out`)
      else values.set(name, value)
      if (value === undefined) continue
      if (!keepNames) tell(`${name}: policies carry ${value} itself, for there is no BgpConf to hold names`)
      else if (isCommunityName(name)) named.set(name, value)
      else tell(`${name}: not a name that BgpConf takes; policies carry ${value} itself`)
    }
  return {
    named,
    resolve: (text) => {
      const value = values.get(text)
      if (value === undefined) return communityText(text)
      return named.has(text) ? text : value
    },
  }
}

interface Alias {
  readonly name: string
  readonly text: string
  readonly at: string
}

function aliasesOf({ spec, apiVersion }: Source): readonly Alias[] {
  // In the ConfigMap it is a plain map.
  if (apiVersion === 'v1') return mapAliases(asObject(spec.raw('bgp-communities')) ?? {})
  return spec.children('communities').map((entry) => ({
    name: entry.text('name') ?? '',
    text: entry.text('value') ?? '',
    at: 'communities',
  }))
}

const mapAliases = (map: RawObject): readonly Alias[] =>
  Object.entries(map).map(([name, value]) => ({ name, text: asText(value) ?? String(value), at: 'bgp-communities' }))
