// Tells whether a string has one of the formats that the API server checks in custom resources (`format:` in a schema).
// A format it does not know is not checked at all, here as there; how strict each one is follows Go's parsers.
import { isIPv4, isIPv6 } from 'node:net'

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i
const HOSTNAME =
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/
const DATE_TIME = /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/

const NANOSECONDS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
}

/** Go's net.ParseIP refuses zones, and so does every Kubernetes field that holds an address. */
const isPlainIPv6 = (text: string): boolean => isIPv6(text) && !text.includes('%')

const CHECKS: Readonly<Record<string, (text: string) => boolean>> = {
  ipv4: isIPv4,
  ipv6: isPlainIPv6,
  cidr: isCidr,
  mac: (text) => /^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$/.test(text),
  uuid: (text) => UUID.test(text),
  uri: (text) => URL.canParse(text),
  hostname: (text) => HOSTNAME.test(text),
  byte: (text) => /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text),
  date: (text) => /^\d{4}-\d{2}-\d{2}$/.test(text) && isCalendarDate(text),
  'date-time': (text) => DATE_TIME.test(text) && isCalendarDate(text.slice(0, 10)) && !Number.isNaN(Date.parse(text)),
  duration: (text) => parseGoDuration(text) !== undefined,
}

/** True also for a format that nobody knows. */
export function hasFormat(format: string, text: string): boolean {
  const key = format === 'datetime' ? 'date-time' : format
  const check = Object.hasOwn(CHECKS, key) ? CHECKS[key] : undefined
  return check?.(text) ?? true
}

/** An address with a prefix length, e.g. 192.0.2.0/24; host bits may be set, as for Go's net.ParseCIDR. */
export function isCidr(text: string): boolean {
  const [address = '', length = '', ...rest] = text.split('/')
  if (rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(length)) return false
  return (isIPv4(address) && Number(length) <= 32) || (isPlainIPv6(address) && Number(length) <= 128)
}

/** @returns nanoseconds of a Go duration such as `1h30m` or `-1.5s`, or undefined when it is none */
function parseGoDuration(text: string): bigint | undefined {
  const match = /^([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/.exec(text)
  if (!match) return /^[+-]?0$/.test(text) ? 0n : undefined
  let total = 0n
  for (const [, whole = '', fraction = '', unit = ''] of text.matchAll(/(\d*)(?:\.(\d*))?(ns|us|µs|ms|s|m|h)/g)) {
    const scale = NANOSECONDS[unit] ?? 0n
    total += BigInt(whole || '0') * scale
    if (fraction !== '') total += (BigInt(fraction) * scale) / 10n ** BigInt(fraction.length)
  }
  return match[1] === '-' ? -total : total
}

function isCalendarDate(text: string): boolean {
  const time = Date.parse(`${text}T00:00:00Z`)
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text)
}
