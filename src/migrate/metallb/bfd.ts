// BFDProfile: MetalLB shares a profile between peers by name, in Bellhop every BgpPeer has its own numbers.

import type { RawObject } from '../../k8s/json.ts'
import type { Source } from '../source.ts'
import { withoutAbsent } from '../types.ts'

export interface BfdProfiles {
  /** BgpPeer.spec.bfd of the profile; undefined when there is none of this name. */
  readonly use: (name: string, peer: string) => RawObject | undefined
  /** To be called after all peers: notes on each profile where it went. */
  readonly finish: () => void
}

const intervals = { receiveInterval: 'receiveMs', transmitInterval: 'transmitMs' } as const

/** Reads all profiles. */
export function bfdProfiles(sources: readonly Source[]): BfdProfiles {
  const profiles = new Map<string, { readonly source: Source; readonly bfd: RawObject; readonly peers: string[] }>()
  for (const source of sources) profiles.set(source.name, { source, bfd: numbersOf(source), peers: [] })
  return {
    use: (name, peer) => {
      const profile = profiles.get(name)
      profile?.peers.push(peer)
      return profile?.bfd
    },
    finish: () => {
      for (const { source, peers } of profiles.values())
        source.spec.note(
          peers.length === 0 ? 'lost' : 'changed',
          '',
          peers.length === 0
            ? 'no BGPPeer names it'
            : `its numbers stand in BgpPeer ${peers.join(', ')}: change them there from now on`,
        )
    },
  }
}

function numbersOf({ spec }: Source): RawObject {
  const milliseconds = (key: keyof typeof intervals): number | undefined => {
    const value = spec.integer(key)
    if (value === undefined || (value >= 10 && value <= 60_000)) return value
    spec.note('problem', key, `${value} ms is left out: 10 to 60000 are possible, 300 is the default`)
    return undefined
  }
  const multiplier = spec.integer('detectMultiplier')
  const fits = multiplier === undefined || (multiplier >= 2 && multiplier <= 255)
  if (!fits)
    spec.note('problem', 'detectMultiplier', `${multiplier} is left out: 2 to 255 are possible, 3 is the default`)
  // In the ConfigMap the name is a field.
  spec.raw('name')
  const bfd = {
    [intervals.transmitInterval]: milliseconds('transmitInterval'),
    [intervals.receiveInterval]: milliseconds('receiveInterval'),
    multiplier: fits ? multiplier : undefined,
  }
  spec.drop('echoInterval', 'Bellhop has no BFD echo mode: the control packets alone decide')
  spec.drop('echoMode', 'Bellhop has no BFD echo mode: the control packets alone decide')
  spec.drop('passiveMode', 'Bellhop always sends first; a router that waits for that is fine with it')
  spec.drop('minimumTtl', 'a BgpPeer has no field for the least TTL of BFD packets')
  return withoutAbsent(bfd)
}
