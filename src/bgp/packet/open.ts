// The body of OPEN, both directions side by side. Reading checks what needs no configuration: version, AS 0, hold time, BGP
// identifier 0, the framing of parameters and capabilities. Whether the AS number is the expected one is for the session.
//
//   OPEN        version(1) my AS(2) hold time(2) BGP identifier(4) parameters length(1) parameters        RFC 4271 section 4.2
//   parameter   type(1) length(1) value
//   extended    parameters length(1) 255(1) length(2), then parameters of type(1) length(2) value          RFC 9072 section 2

import { err, ok, type Result } from '../../runtime/result.ts'
import { concatBytes, readU16, readU32, u16, u32 } from './bytes.ts'
import { decodeCapability, encodeCapability } from './capability.ts'
import { openError } from './errors.ts'
import type { Capability, OpenMessage, SessionError } from './message.ts'

const supportedVersion = 4
const capabilitiesParameter = 2
const extendedMarker = 255
const fixedBytes = 10

/**
 * One parameter with all capabilities, as RFC 5492 section 4 recommends. From 255 octets of parameters on, the extended
 * form of RFC 9072: exactly 255 would still fit the classic one, but routers in use take the 255 for the extended marker.
 */
export function encodeOpenBody(open: OpenMessage): Uint8Array {
  const capabilities = concatBytes(open.capabilities.map(encodeCapability))
  return concatBytes([
    Uint8Array.of(open.version),
    u16(open.myAs),
    u16(open.holdTimeSeconds),
    u32(open.bgpIdentifier),
    encodeParameters(capabilities),
  ])
}

function encodeParameters(capabilities: Uint8Array): Uint8Array {
  if (capabilities.length === 0) return Uint8Array.of(0)
  const classic = 2 + capabilities.length
  if (classic < 255)
    return concatBytes([Uint8Array.of(classic, capabilitiesParameter, capabilities.length), capabilities])
  return concatBytes([
    Uint8Array.of(255, extendedMarker),
    u16(3 + capabilities.length),
    Uint8Array.of(capabilitiesParameter),
    u16(capabilities.length),
    capabilities,
  ])
}

/** Reads the body of an OPEN, header excluded; the framing has made sure of its ten fixed octets. */
export function decodeOpenBody(body: Uint8Array): Result<OpenMessage, SessionError> {
  const version = body[0] ?? 0
  if (version !== supportedVersion)
    return err(
      openError(
        'unsupported-version',
        `the router speaks BGP version ${version}, not ${supportedVersion}`,
        u16(supportedVersion),
      ),
    )
  const myAs = readU16(body, 1)
  if (myAs === 0)
    return err(openError('bad-peer-as', 'the router says its AS is 0, which no speaker may use (RFC 7607)'))
  const holdTimeSeconds = readU16(body, 3)
  if (holdTimeSeconds === 1 || holdTimeSeconds === 2)
    return err(
      openError(
        'unacceptable-hold-time',
        `the router asks for a hold time of ${holdTimeSeconds} s; it must be 0 or at least 3`,
      ),
    )
  const bgpIdentifier = readU32(body, 5)
  if (bgpIdentifier === 0) return err(openError('bad-bgp-identifier', "the router's BGP identifier is 0.0.0.0"))
  const capabilities = decodeParameters(body)
  if (!capabilities.ok) return capabilities
  if (capabilities.value.some((capability) => capability.type === 'four-octet-as' && capability.asn === 0))
    return err(openError('bad-peer-as', 'the router says its AS is 0, which no speaker may use (RFC 7607)'))
  return ok({ type: 'OPEN', version, myAs, holdTimeSeconds, bgpIdentifier, capabilities: capabilities.value })
}

// RFC 9072 section 2: the type octet alone decides for the extended form; the old length may then be anything but zero.
function decodeParameters(body: Uint8Array): Result<readonly Capability[], SessionError> {
  const length = body[9] ?? 0
  const extended = length !== 0 && body[fixedBytes] === extendedMarker
  const start = extended ? fixedBytes + 3 : fixedBytes
  const declared = extended ? readU16(body, fixedBytes + 1) : length
  if (start + declared !== body.length)
    return err(
      openError(
        'unspecific',
        `optional parameters of ${declared} octets, but ${Math.max(0, body.length - start)} follow in the message`,
      ),
    )
  return readParameters(body, start, extended ? 2 : 1)
}

function readParameters(
  body: Uint8Array,
  start: number,
  lengthOctets: 1 | 2,
): Result<readonly Capability[], SessionError> {
  const capabilities: Capability[] = []
  let at = start
  while (at < body.length) {
    const type = body[at] ?? 0
    const valueAt = at + 1 + lengthOctets
    const end = valueAt + (lengthOctets === 2 ? readU16(body, at + 1) : (body[at + 1] ?? 0))
    if (valueAt > body.length || end > body.length)
      return err(openError('unspecific', `optional parameter ${type} runs beyond the end of the message`))
    if (type !== capabilitiesParameter)
      return err(openError('unsupported-optional-parameter', `optional parameter ${type} is not known`))
    const read = readCapabilities(body.subarray(valueAt, end))
    if (!read.ok) return read
    capabilities.push(...read.value)
    at = end
  }
  return ok(capabilities)
}

// RFC 5492 section 4: several capabilities may share a parameter, and there may be several parameters.
function readCapabilities(value: Uint8Array): Result<readonly Capability[], SessionError> {
  const capabilities: Capability[] = []
  let at = 0
  while (at < value.length) {
    const code = value[at] ?? 0
    const end = at + 2 + (value[at + 1] ?? 0)
    if (end > value.length)
      return err(openError('unspecific', `capability ${code} runs beyond the end of its optional parameter`))
    const capability = decodeCapability(code, value.subarray(at + 2, end))
    if (capability === undefined)
      return err(openError('unspecific', `four-octet AS capability of ${end - at - 2} octets, must be 4`))
    capabilities.push(capability)
    at = end
  }
  return ok(capabilities)
}
