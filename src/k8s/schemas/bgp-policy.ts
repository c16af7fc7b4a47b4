// BgpPolicy: attributes on what is announced. Community names are kept as names: BgpConf knows what they stand for.

import { parseCommunity } from '../../net/community.ts'
import type { BgpPolicy, ObjectMeta } from '../objects.ts'
import type { Fields } from './fields.ts'
import { selectorAt } from './selector.ts'

const uint32Max = 0xffff_ffff
// Routers limit what they accept; more than this is a typo (and beyond 255 it would not fit one AS_PATH segment).
const prependMax = 64

/** Problems are noted on `spec`. */
export function parseBgpPolicy(_raw: unknown, meta: ObjectMeta, spec: Fields): BgpPolicy {
  const serviceSelector = selectorAt(spec, 'serviceSelector')
  const localPref = spec.integer('localPref', { min: 0, max: uint32Max })
  const med = spec.integer('med', { min: 0, max: uint32Max })
  const aggregation = spec.object('aggregationLength')
  return {
    meta,
    priority: spec.integer('priority', { min: -0x8000_0000, max: 0x7fff_ffff }) ?? 0,
    pools: spec.texts('pools'),
    ...(serviceSelector === undefined ? {} : { serviceSelector }),
    peers: spec.texts('peers'),
    communities: communitiesOf(spec),
    ...(localPref === undefined ? {} : { localPref }),
    ...(med === undefined ? {} : { med }),
    prepend: spec.integer('prepend', { min: 0, max: prependMax }) ?? 0,
    aggregationLength: {
      ipv4: aggregation?.integer('ipv4', { min: 1, max: 32 }) ?? 32,
      ipv6: aggregation?.integer('ipv6', { min: 1, max: 128 }) ?? 128,
    },
    linkBandwidth: spec.oneOf('linkBandwidth', ['None', 'Endpoints'], 'None'),
    announce: spec.flag('announce', true),
  }
}

const communityName = /^(?![0-9:]+$)[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?$/

function communitiesOf(spec: Fields): BgpPolicy['communities'] {
  return spec.texts('communities').flatMap((text, i): BgpPolicy['communities'] => {
    const community = parseCommunity(text)
    if (community.ok) return [community.value]
    if (communityName.test(text)) return [{ kind: 'name', value: text }]
    spec.refuse(
      `"${text}" is neither a community (64512:100, 64512:1:2) nor a name that BgpConf could define`,
      `communities[${i}]`,
    )
    return []
  })
}
