// The small values that both products write in their own ways: names, pool addresses, AS numbers, timers, communities.

import type { RawObject } from '../k8s/json.ts'
import { parseAsn } from '../net/asn.ts'
import { parseCommunity } from '../net/community.ts'
import { familyOf, isLinkLocal, isLoopback, parseIp, unicastHostRefusal } from '../net/ip.ts'
import { parsePrefix, prefixOf } from '../net/prefix.ts'
import { parseRange } from '../net/range.ts'
import type { Cursor } from './source.ts'
import { withoutAbsent } from './types.ts'

/** The text as a name that Kubernetes takes. */
export const kubernetesName = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '')
    .slice(0, 200) || 'unnamed'

/** What VipPool takes for the text of a pool, or why nothing does. `tidied` when it is written otherwise there. */
export type PoolRange =
  | { readonly type: 'range'; readonly text: string; readonly tidied: boolean }
  | { readonly type: 'refused'; readonly because: string }

/** `a.b.c.d/n`, `first-last` with or without spaces, or one address. Host bits are cleared, as MetalLB and OpenELB read it. */
export function poolRange(text: string): PoolRange {
  const [address = '', length = ''] = text.trim().split('/')
  const ip = parseIp(address)
  const bits = Number(length)
  const network = /^\d{1,3}$/.test(length) && ip.ok && bits <= (familyOf(ip.value) === 'IPv4' ? 32 : 128)
  const written = network ? prefixOf(ip.value, bits) : text.replace(/\s+/g, '')
  const range = network ? parsePrefix(written) : parseRange(written)
  if (!range.ok) return { type: 'refused', because: `"${text}" is neither a network nor a range of addresses` }
  return { type: 'range', text: written, tidied: written !== text }
}

/** The AS number at `key`, or undefined; a number that no speaker may use is a problem. */
export function asnOf(cursor: Cursor, key: string): number | undefined {
  const number = cursor.integer(key)
  if (number === undefined || number === 0) return undefined
  const asn = parseAsn(number)
  if (asn.ok) return asn.value
  cursor.note('problem', key, `${number} is not an AS number that a session can use`)
  return undefined
}

/** Why Bellhop can not speak to a router at this address, or undefined. */
export function routerRefusal(text: string): string | undefined {
  const ip = parseIp(text)
  if (!ip.ok) return `"${text}" is not an IP address`
  if (familyOf(ip.value) === 'IPv6' && isLinkLocal(ip.value))
    return `${text} is link-local: Bellhop needs the interface too, as ${text}%eth0`
  const refusal = isLoopback(ip.value) ? undefined : unicastHostRefusal(ip.value)
  return refusal === undefined ? undefined : `${text} ${refusal.because}`
}

export interface TimerWishes {
  readonly holdSeconds: number | undefined
  readonly keepaliveSeconds: number | undefined
  readonly connectRetrySeconds: number | undefined
}

/** BgpPeer.spec.timers of what was asked for; undefined when nothing was. `tell` is told what does not fit, by timer. */
export function timersOf(
  wishes: TimerWishes,
  tell: (timer: keyof TimerWishes, text: string) => void,
): RawObject | undefined {
  const { keepaliveSeconds, connectRetrySeconds } = wishes
  const wished =
    wishes.holdSeconds ?? (keepaliveSeconds === undefined ? undefined : Math.min(65_535, keepaliveSeconds * 3))
  const fits = wished === undefined || wished === 0 || (wished >= 3 && wished <= 65_535)
  if (!fits) tell('holdSeconds', `${wished} s is no hold time (0, or 3 to 65535 s): Bellhop's default of 90 s applies`)
  const holdSeconds = fits ? wished : undefined
  const hold = holdSeconds ?? 90
  const third = Math.floor(hold / 3)
  const keepaliveFits = keepaliveSeconds !== undefined && keepaliveSeconds >= 1 && keepaliveSeconds <= third
  if (keepaliveSeconds !== undefined && !keepaliveFits)
    tell(
      'keepaliveSeconds',
      hold === 0
        ? 'with a hold time of 0 there are no keepalives'
        : `${keepaliveSeconds} s is left out: Bellhop sends a keepalive at least every third of the hold time, here every ${third} s`,
    )
  const retryFits = connectRetrySeconds !== undefined && connectRetrySeconds >= 1 && connectRetrySeconds <= 65_535
  if (connectRetrySeconds !== undefined && !retryFits)
    tell('connectRetrySeconds', `${connectRetrySeconds} s is left out: 1 to 65535 s are possible`)
  const timers = withoutAbsent({
    holdSeconds,
    keepaliveSeconds: keepaliveFits && keepaliveSeconds !== third ? keepaliveSeconds : undefined,
    connectRetrySeconds: retryFits ? connectRetrySeconds : undefined,
  })
  return Object.keys(timers).length === 0 ? undefined : timers
}

/** `64512:100`, `large:64512:1:2` or `64512:1:2` as Bellhop writes it; undefined when it is no community. */
export function communityText(text: string): string | undefined {
  const numbers = text
    .trim()
    .replace(/^large:/, '')
    .split(':')
    .map((part) => (/^\d{1,10}$/.test(part) ? String(Number(part)) : part))
  const written = numbers.join(':')
  return /^[\d:]+$/.test(written) && parseCommunity(written).ok ? written : undefined
}

/** Names that BgpConf.communities takes: not empty, not a number, not the name of a well-known community. */
export const isCommunityName = (name: string): boolean =>
  /^(?![0-9:]+$)[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/.test(name) && !parseCommunity(name).ok

/** A number within the bounds; undefined stays. */
export const clamp = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value))
