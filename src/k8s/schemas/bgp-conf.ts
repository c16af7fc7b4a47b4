// BgpConf: the speaker's own settings. Defaults as in its CRD, applied here too because an older CRD may be installed.

import { parseRouterId } from '../../net/asn.ts'
import { type ParsedCommunity, parseCommunity } from '../../net/community.ts'
import { asObject } from '../json.ts'
import type { BgpConf, GracefulRestartSpec, ObjectMeta } from '../objects.ts'
import { asnAt, ipsAt } from './addresses.ts'
import type { Fields } from './fields.ts'

/** Problems are noted on `spec`; undefined when there were any. */
export function parseBgpConf(raw: unknown, meta: ObjectMeta, spec: Fields): BgpConf | undefined {
  const asn = asnAt(spec, 'asn')
  if (spec.raw('asn') === undefined) spec.refuse('is needed: the AS number Bellhop speaks as', 'asn')
  const routerIdText = spec.text('routerId')
  const routerId = routerIdText === undefined ? undefined : parseRouterId(routerIdText)
  if (routerId !== undefined && !routerId.ok)
    spec.refuse(`"${routerIdText}" is no router id: four octets like 10.0.0.5, not 0.0.0.0`, 'routerId')
  const guard = spec.object('withdrawGuard')
  const gracefulRestart =
    gracefulRestartAt(spec, 'gracefulRestart', { enabledByDefault: false }) ?? defaultGracefulRestart
  const redirectFromPort = spec.integer('redirectFromPort', { min: 1, max: 65_535 })
  const conf = {
    ...(redirectFromPort === undefined ? {} : { redirectFromPort }),
    listenPort: spec.integer('listenPort', { min: 0, max: 65_535 }) ?? 179,
    listenAddresses: ipsAt(spec, 'listenAddresses'),
    gracefulRestart,
    origin: spec.oneOf('origin', ['IGP', 'INCOMPLETE'], 'IGP'),
    maxNextHops: spec.integer('maxNextHops', { min: 0, max: 65_535 }) ?? 0,
    withdrawGuard: {
      percent: guard?.integer('percent', { min: 1, max: 100 }) ?? 50,
      minimumVips: guard?.integer('minimumVips', { min: 0, max: 1_000_000 }) ?? 20,
    },
    drainGraceSeconds: spec.integer('drainGraceSeconds', { min: 0, max: 3600 }) ?? 30,
    communities: namedCommunities(spec),
    status: asObject(asObject(raw)?.['status']) ?? {},
  }
  if (asn === undefined) return undefined
  return { meta, asn, ...(routerId?.ok ? { routerId: routerId.value } : {}), ...conf }
}

const defaultGracefulRestart: GracefulRestartSpec = { enabled: false, restartSeconds: 120, longLivedSeconds: 0 }

// Restart Time is 12 bits (RFC 4724 section 3), the long-lived stale time 24 bits (RFC 9494 section 3.1).
const restartSecondsMax = 4095
const longLivedSecondsMax = 0xff_ffff

/** The settings at `key`, or undefined when absent. Naming them on a peer turns them on; in BgpConf it does not. */
export function gracefulRestartAt(
  fields: Fields,
  key: string,
  defaults: { readonly enabledByDefault: boolean },
): GracefulRestartSpec | undefined {
  const spec = fields.object(key)
  if (spec === undefined) return undefined
  return {
    enabled: spec.flag('enabled', defaults.enabledByDefault),
    restartSeconds: spec.integer('restartSeconds', { min: 0, max: restartSecondsMax }) ?? 120,
    longLivedSeconds: spec.integer('longLivedSeconds', { min: 0, max: longLivedSecondsMax }) ?? 0,
  }
}

function namedCommunities(spec: Fields): ReadonlyMap<string, ParsedCommunity> {
  const communities = new Map<string, ParsedCommunity>()
  for (const [name, text] of Object.entries(spec.textMap('communities'))) {
    const community = parseCommunity(text)
    if (community.ok) communities.set(name, community.value)
    else
      spec.refuse(`"${text}" is no community: write 64512:100, 64512:1:2 or a well-known name`, `communities.${name}`)
  }
  return communities
}
