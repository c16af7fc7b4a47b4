// BgpPeer: one router, or all that connect from one network. What can be judged from the object alone is judged here; whether its Secret exists is the plan's question.

import { familyOf, type IpFamily, isLinkLocal, isLoopback, parseIp, unicastHostRefusal } from '../../net/ip.ts'
import { parsePrefix, prefixFamily } from '../../net/prefix.ts'
import { asObject } from '../json.ts'
import type { BgpPeer, ObjectMeta } from '../objects.ts'
import { asnAt, ipAt } from './addresses.ts'
import { gracefulRestartAt } from './bgp-conf.ts'
import type { Fields } from './fields.ts'
import { everything, selectorAt } from './selector.ts'

/** Problems are noted on `spec`; undefined when what identifies the peer is among them. */
export function parseBgpPeer(raw: unknown, meta: ObjectMeta, spec: Fields): BgpPeer | undefined {
  const target = targetOf(spec)
  const asn = asnAt(spec, 'asn')
  if (spec.raw('asn') === undefined) spec.refuse("is needed: the router's AS number", 'asn')
  const localAsn = asnAt(spec, 'localAsn')
  const sourceAddress = ipAt(spec, 'sourceAddress')
  if (target?.address !== undefined && sourceAddress !== undefined && target.family !== familyOf(sourceAddress))
    spec.refuse(`${sourceAddress} and the router's ${target.address} are of different IP families`, 'sourceAddress')
  if (target?.addressRange !== undefined) refuseDialling(spec)
  const ebgpMultihopTtl = integerOfPresent(spec, 'ebgpMultihop', 'ttl', { min: 1, max: 255, fallback: 2 })
  const ttlSecurityHops = integerOfPresent(spec, 'ttlSecurity', 'hops', { min: 1, max: 254, fallback: 1 })
  if (spec.raw('ebgpMultihop') !== undefined && spec.raw('ttlSecurity') !== undefined)
    spec.refuse('ebgpMultihop and ttlSecurity exclude each other', 'ttlSecurity')
  const passwordSecretRef = secretRef(spec, 'passwordSecretRef')
  const bfd = bfdOf(spec)
  const gracefulRestart = gracefulRestartAt(spec, 'gracefulRestart', { enabledByDefault: true })
  const shutdown = spec.text('shutdown')
  const rest = {
    port: spec.integer('port', { min: 1, max: 65_535 }) ?? 179,
    timers: timersOf(spec),
    families: familiesOf(spec, target?.family ?? 'IPv4'),
    addPath: spec.oneOf('addPath', ['auto', 'require', 'disabled'], 'auto'),
    nextHop: spec.oneOf('nextHop', ['node', 'self'], 'node'),
    speaker: spec.oneOf('speaker', ['controller', 'node'], 'controller'),
    nodeSelector: selectorAt(spec, 'nodeSelector') ?? everything,
    passive: spec.flag('passive', false) || target?.addressRange !== undefined,
    maxSessions: spec.integer('maxSessions', { min: 1, max: 500 }) ?? 100,
    maxPrefixesIn: spec.integer('maxPrefixesIn', { min: 0, max: 0xffff_ffff }) ?? 1000,
    status: asObject(asObject(raw)?.['status']) ?? {},
  }
  // The port of the host may be the controller's, or another routing daemon's.
  if (rest.speaker === 'node' && rest.passive && target?.addressRange === undefined)
    spec.refuse('nodes dial and do not listen: a peer with speaker node cannot be passive', 'passive')
  if (target === undefined || asn === undefined) return undefined
  const { family: _, ...place } = target
  return {
    meta,
    ...place,
    asn,
    ...rest,
    ...(localAsn === undefined ? {} : { localAsn }),
    ...(sourceAddress === undefined ? {} : { sourceAddress }),
    ...(passwordSecretRef === undefined ? {} : { passwordSecretRef }),
    ...(ebgpMultihopTtl === undefined ? {} : { ebgpMultihopTtl }),
    ...(ttlSecurityHops === undefined ? {} : { ttlSecurityHops }),
    ...(bfd === undefined ? {} : { bfd }),
    ...(gracefulRestart === undefined ? {} : { gracefulRestart }),
    ...(shutdown === undefined ? {} : { shutdown }),
  }
}

interface Target extends Pick<BgpPeer, 'address' | 'zone' | 'addressRange'> {
  readonly family: IpFamily
}

function targetOf(spec: Fields): Target | undefined {
  if (spec.raw('addressRange') === undefined) return peerAddress(spec)
  if (spec.raw('address') !== undefined) {
    spec.refuse('address and addressRange exclude each other', 'addressRange')
    return undefined
  }
  const text = spec.text('addressRange')
  if (text === undefined) return undefined
  const range = parsePrefix(text)
  if (range.ok) return { addressRange: range.value, family: prefixFamily(range.value) }
  spec.refuse(
    range.error.code === 'prefix/host-bits-set'
      ? `"${text}" has bits set beyond its length`
      : `"${text}" is no network as in 10.0.0.0/24`,
    'addressRange',
  )
  return undefined
}

// Whoever waits to be called has no use for what a call needs.
function refuseDialling(spec: Fields): void {
  if (spec.raw('sourceAddress') !== undefined)
    spec.refuse('is for sessions that we open: with addressRange the routers do', 'sourceAddress')
  if (spec.raw('speaker') === 'node')
    spec.refuse('is for sessions that nodes open: agents do not listen, so addressRange is for controllers', 'speaker')
}

/** `10.0.0.1`, `2001:db8::1`, or a link-local address with its interface: `fe80::1%eth0`. */
function peerAddress(spec: Fields): Target | undefined {
  const text = spec.text('address')
  if (text === undefined) {
    if (spec.raw('address') === undefined)
      spec.refuse("is needed: the router's address (or an addressRange for routers that connect to us)", 'address')
    return undefined
  }
  const [addressText = '', zone, ...more] = text.split('%')
  const address = parseIp(addressText)
  if (!address.ok || more.length > 0 || zone === '') {
    spec.refuse(`"${text}" is no IPv4 or IPv6 address`, 'address')
    return undefined
  }
  // A router may well run beside us: a BIRD or FRR on every host is a common fabric.
  const refusal = isLoopback(address.value) ? undefined : unicastHostRefusal(address.value)
  if (refusal !== undefined) spec.refuse(`${address.value} ${refusal.because}`, 'address')
  const needsZone = isLinkLocal(address.value) && familyOf(address.value) === 'IPv6'
  if (needsZone && zone === undefined)
    spec.refuse(`${address.value} is link-local: name the interface too, as in ${address.value}%eth0`, 'address')
  if (!needsZone && zone !== undefined)
    spec.refuse(`only link-local IPv6 addresses have an interface (%${zone})`, 'address')
  const family = familyOf(address.value)
  return { address: address.value, family, ...(zone === undefined ? {} : { zone }) }
}

// RFC 4271 section 4.2: a Hold Time is 0 or at least three seconds.
function timersOf(spec: Fields): BgpPeer['timers'] {
  const timers = spec.object('timers')
  const holdSeconds = timers?.integer('holdSeconds', { min: 0, max: 65_535 }) ?? 90
  if (holdSeconds === 1 || holdSeconds === 2)
    timers?.refuse(`${holdSeconds} is too short: 0 (never) or at least 3 seconds`, 'holdSeconds')
  const keepaliveSeconds = timers?.integer('keepaliveSeconds', { min: 0, max: 65_535 }) ?? Math.floor(holdSeconds / 3)
  if (holdSeconds > 0 && keepaliveSeconds >= holdSeconds)
    timers?.refuse(`must be shorter than the hold time of ${holdSeconds} seconds`, 'keepaliveSeconds')
  return {
    holdSeconds,
    keepaliveSeconds,
    connectRetrySeconds: timers?.integer('connectRetrySeconds', { min: 1, max: 65_535 }) ?? 10,
  }
}

function secretRef(of: Fields, field: string): { readonly name: string; readonly key: string } | undefined {
  const reference = of.object(field)
  if (reference === undefined) return undefined
  const name = reference.text('name') ?? ''
  if (name === '') reference.refuse('is needed: the Secret in the namespace of Bellhop', 'name')
  return { name, key: reference.text('key') ?? 'password' }
}

// RFC 5880: intervals are 32-bit microseconds, the multiplier one octet that is not zero.
function bfdOf(spec: Fields): BgpPeer['bfd'] | undefined {
  const bfd = spec.object('bfd')
  if (bfd === undefined) return undefined
  const authentication = bfdAuthenticationOf(bfd)
  return {
    transmitMs: bfd.integer('transmitMs', { min: 10, max: 60_000 }) ?? 300,
    receiveMs: bfd.integer('receiveMs', { min: 10, max: 60_000 }) ?? 300,
    multiplier: bfd.integer('multiplier', { min: 1, max: 255 }) ?? 3,
    ...(authentication === undefined ? {} : { authentication }),
  }
}

function bfdAuthenticationOf(bfd: Fields): NonNullable<BgpPeer['bfd']>['authentication'] {
  const authentication = bfd.object('authentication')
  if (authentication === undefined) return undefined
  const keyId = authentication.integer('keyId', { min: 0, max: 255 }) ?? 1
  const type = authentication.oneOf('type', ['MeticulousKeyedSHA1', 'KeyedSHA1'], 'MeticulousKeyedSHA1')
  const ref = secretRef(authentication, 'secretRef')
  if (ref === undefined) {
    authentication.refuse('is needed: the Secret with the key', 'secretRef')
    return undefined
  }
  return { type: type === 'KeyedSHA1' ? 'keyed-sha1' : 'meticulous-keyed-sha1', keyId, secretRef: ref }
}

/** `{key: {field: n}}`: absent `key` is undefined, a present one without the field means the fallback. */
function integerOfPresent(
  spec: Fields,
  key: string,
  field: string,
  bounds: { readonly min: number; readonly max: number; readonly fallback: number },
): number | undefined {
  const section = spec.object(key)
  return section === undefined ? undefined : (section.integer(field, bounds) ?? bounds.fallback)
}

const families = ['ipv4-unicast', 'ipv6-unicast'] as const

function familiesOf(spec: Fields, family: IpFamily): BgpPeer['families'] {
  const named = spec.texts('families').flatMap((text, i) => {
    const family = families.find((candidate) => candidate === text)
    if (family === undefined) spec.refuse(`"${text}" is none of ${families.join(', ')}`, `families[${i}]`)
    return family === undefined ? [] : [family]
  })
  if (named.length > 0) return [...new Set(named)]
  return [family === 'IPv6' ? 'ipv6-unicast' : 'ipv4-unicast']
}
