// Capabilities (RFC 5492), both directions side by side. What we do not know, or know but find with an impossible length, is
// kept as bytes and thereby ignored: RFC 5492 asks that for the unknown and says nothing of the malformed. The one exception
// is four-octet-as: a peer that sends it will write every AS_PATH in four octets, so ignoring it would misread all of them.
//
//   capability  code(1) length(1) value

import { concatBytes, readU16, readU24, readU32, u16, u32 } from './bytes.ts'
import type { AddPathMode, AfiSafi, Capability } from './message.ts'
import { decodeUtf8, encodeUtf8 } from './utf8.ts'

/** IANA "Capability Codes". */
const codes = {
  multiprotocol: 1, // RFC 4760
  'route-refresh': 2, // RFC 2918
  'extended-next-hop': 5, // RFC 8950
  'extended-message': 6, // RFC 8654
  role: 9, // RFC 9234
  'graceful-restart': 64, // RFC 4724
  'four-octet-as': 65, // RFC 6793
  'add-path': 69, // RFC 7911
  'enhanced-route-refresh': 70, // RFC 7313
  'long-lived-graceful-restart': 71, // RFC 9494
  fqdn: 73, // draft-walton-bgp-hostname-capability
  'software-version': 75, // draft-abraitis-bgp-version-capability
  'paths-limit': 76, // draft-abraitis-idr-addpath-paths-limit
} as const satisfies Record<Exclude<Capability['type'], 'unknown'>, number>

/** Route refresh under the code that was in use before RFC 2918; routers send both. */
const routeRefreshPreStandard = 128

/** The code of a capability on the wire, as in the data of a NOTIFICATION 2/7 (RFC 5492 section 5). */
export const capabilityCode = (capability: Capability): number =>
  capability.type === 'unknown' ? capability.code : codes[capability.type]

const namesByCode: ReadonlyMap<number, string> = new Map(Object.entries(codes).map(([name, code]) => [code, name]))

/** The codes in a list of capabilities such as the data of a NOTIFICATION 2/7; stops where it is malformed. */
export function capabilityCodes(list: Uint8Array): readonly number[] {
  const found: number[] = []
  let at = 0
  while (at + 2 <= list.length) {
    found.push(list[at] ?? 0)
    at += 2 + (list[at + 1] ?? 0)
  }
  return found
}

/** `add-path`, or `capability 99`. */
export const renderCapabilityCode = (code: number): string => namesByCode.get(code) ?? `capability ${code}`

const addPathModes: readonly AddPathMode[] = ['receive', 'send', 'both']

// ------------------------------------------------------------------------------------------------------- writing

/** Code, length and value. Throws when the value exceeds 255 octets. */
export function encodeCapability(capability: Capability): Uint8Array {
  const value = encodeValue(capability)
  if (value.length > 255) throw new Error(`capability ${capability.type} of ${value.length} octets has no encoding`)
  return concatBytes([Uint8Array.of(capabilityCode(capability), value.length), value])
}

function encodeValue(capability: Capability): Uint8Array {
  switch (capability.type) {
    case 'multiprotocol':
      return Uint8Array.of(...u16(capability.afi), 0, capability.safi)
    case 'route-refresh':
    case 'enhanced-route-refresh':
    case 'extended-message':
      return new Uint8Array(0)
    case 'extended-next-hop':
      return concatBytes(
        capability.tuples.flatMap(({ afi, safi, nextHopAfi }) => [u16(afi), u16(safi), u16(nextHopAfi)]),
      )
    case 'graceful-restart':
      return concatBytes([
        u16(
          (capability.restarting ? 0x8000 : 0) |
            (capability.notification ? 0x4000 : 0) |
            (capability.restartTimeSeconds & 0xfff),
        ),
        ...capability.families.map((family) => afiSafiWith(family, [forwardingFlag(family)])),
      ])
    case 'long-lived-graceful-restart':
      return concatBytes(
        capability.families.map((family) =>
          afiSafiWith(family, [forwardingFlag(family), ...u32(family.staleTimeSeconds).subarray(1)]),
        ),
      )
    case 'four-octet-as':
      return u32(capability.asn)
    case 'add-path':
      return concatBytes(
        capability.families.map((family) => afiSafiWith(family, [addPathModes.indexOf(family.mode) + 1])),
      )
    case 'paths-limit':
      return concatBytes(capability.families.map((family) => afiSafiWith(family, u16(family.limit))))
    case 'role':
      return Uint8Array.of(capability.role)
    case 'fqdn': {
      // One length octet each, and both with their lengths within 255.
      const hostname = encodeUtf8(capability.hostname, 253)
      const domain = encodeUtf8(capability.domain, 253 - hostname.length)
      return concatBytes([Uint8Array.of(hostname.length), hostname, Uint8Array.of(domain.length), domain])
    }
    case 'software-version': {
      const version = encodeUtf8(capability.version, 254)
      return concatBytes([Uint8Array.of(version.length), version])
    }
    case 'unknown':
      return capability.bytes
  }
}

const afiSafiWith = ({ afi, safi }: AfiSafi, rest: Iterable<number>): Uint8Array =>
  Uint8Array.of(afi >>> 8, afi & 0xff, safi, ...rest)

const forwardingFlag = ({ forwardingPreserved }: { readonly forwardingPreserved: boolean }): number =>
  forwardingPreserved ? 0x80 : 0

// ------------------------------------------------------------------------------------------------------- reading

/**
 * One capability from its code and value; a malformed value makes it `unknown`. Returns undefined only for a malformed
 * four-octet-as, which must end the session.
 */
export function decodeCapability(code: number, value: Uint8Array): Capability | undefined {
  if (code === codes['four-octet-as'])
    return value.length === 4 ? { type: 'four-octet-as', asn: readU32(value, 0) } : undefined
  return decodeValue(code, value) ?? { type: 'unknown', code, bytes: value.slice() }
}

function decodeValue(code: number, value: Uint8Array): Capability | undefined {
  switch (code) {
    case codes.multiprotocol:
      return value.length === 4 ? { type: 'multiprotocol', ...afiAndSafi(value, 0, 3) } : undefined
    case codes['route-refresh']:
    case routeRefreshPreStandard:
      return value.length === 0 ? { type: 'route-refresh' } : undefined
    case codes['enhanced-route-refresh']:
      return value.length === 0 ? { type: 'enhanced-route-refresh' } : undefined
    case codes['extended-message']:
      return value.length === 0 ? { type: 'extended-message' } : undefined
    case codes['extended-next-hop']: {
      const tuples = entries(value, 0, 6, (at) => ({
        afi: readU16(value, at),
        safi: readU16(value, at + 2),
        nextHopAfi: readU16(value, at + 4),
      }))
      return tuples && { type: 'extended-next-hop', tuples }
    }
    case codes['graceful-restart']:
      return decodeGracefulRestart(value)
    case codes['long-lived-graceful-restart']: {
      const families = entries(value, 0, 7, (at) => ({
        ...afiAndSafi(value, at, at + 2),
        forwardingPreserved: ((value[at + 3] ?? 0) & 0x80) !== 0,
        staleTimeSeconds: readU24(value, at + 4),
      }))
      return families && { type: 'long-lived-graceful-restart', families }
    }
    case codes['add-path']: {
      const families = entries(value, 0, 4, (at) => addPathTuple(value, at))
      return families && { type: 'add-path', families: families.flat() }
    }
    case codes['paths-limit']: {
      const families = entries(value, 0, 5, (at) => ({
        ...afiAndSafi(value, at, at + 2),
        limit: readU16(value, at + 3),
      }))
      return families && { type: 'paths-limit', families }
    }
    case codes.role: {
      const [role] = value
      return role !== undefined && value.length === 1 ? { type: 'role', role } : undefined
    }
    case codes.fqdn:
      return decodeFqdn(value)
    case codes['software-version']: {
      const version = decodeUtf8(value.subarray(1))
      return value[0] === value.length - 1 && version !== undefined ? { type: 'software-version', version } : undefined
    }
    default:
      return undefined
  }
}

const afiAndSafi = (value: Uint8Array, afiAt: number, safiAt: number): AfiSafi => ({
  afi: readU16(value, afiAt),
  safi: value[safiAt] ?? 0,
})

// The entries of equal size that fill `value` from `start`, or undefined when they do not come out even.
function entries<T>(value: Uint8Array, start: number, size: number, read: (at: number) => T): readonly T[] | undefined {
  if (value.length < start || (value.length - start) % size !== 0) return undefined
  return Array.from({ length: (value.length - start) / size }, (_, i) => read(start + i * size))
}

// RFC 7911 section 4 has the whole capability ignored for a mode other than 1, 2 and 3. Routers do send a tuple with mode 0
// beside valid ones for a family whose reception was switched off, so only the tuple is.
function addPathTuple(value: Uint8Array, at: number): readonly (AfiSafi & { readonly mode: AddPathMode })[] {
  const mode = addPathModes[(value[at + 3] ?? 0) - 1]
  return mode === undefined ? [] : [{ ...afiAndSafi(value, at, at + 2), mode }]
}

function decodeGracefulRestart(value: Uint8Array): Capability | undefined {
  const families = entries(value, 2, 4, (at) => ({
    ...afiAndSafi(value, at, at + 2),
    forwardingPreserved: ((value[at + 3] ?? 0) & 0x80) !== 0,
  }))
  const head = readU16(value, 0)
  return (
    families && {
      type: 'graceful-restart',
      restarting: (head & 0x8000) !== 0,
      notification: (head & 0x4000) !== 0,
      restartTimeSeconds: head & 0xfff,
      families,
    }
  )
}

function decodeFqdn(value: Uint8Array): Capability | undefined {
  const hostnameEnd = 1 + (value[0] ?? 0)
  const domainLength = value[hostnameEnd]
  if (domainLength === undefined || hostnameEnd + 1 + domainLength !== value.length) return undefined
  const hostname = decodeUtf8(value.subarray(1, hostnameEnd))
  const domain = decodeUtf8(value.subarray(hostnameEnd + 1))
  return hostname === undefined || domain === undefined ? undefined : { type: 'fqdn', hostname, domain }
}
