// Ages as kubectl prints them: two units at most, fewer as the time grows. Source: duration.HumanDuration of apimachinery.

/** `5s`, `2m30s`, `45m`, `5h12m`, `3d4h`, `42d`, `2y10d`, `9y`; `<invalid>` for a time in the future. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000)
  if (seconds < -1) return '<invalid>'
  if (seconds < 0) return '0s'
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  const days = Math.floor(hours / 24)
  const years = Math.floor(days / 365)
  const two = (large: string, rest: number, unit: string): string => (rest === 0 ? large : `${large}${rest}${unit}`)
  if (seconds < 120) return `${seconds}s`
  if (minutes < 10) return two(`${minutes}m`, seconds % 60, 's')
  if (minutes < 180) return `${minutes}m`
  if (hours < 8) return two(`${hours}h`, minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  if (hours < 192) return two(`${days}d`, hours % 24, 'h')
  if (days < 730) return `${days}d`
  if (days < 8 * 365) return two(`${years}y`, days % 365, 'd')
  return `${years}y`
}

/** The age of an RFC 3339 timestamp; `<unknown>` without one. */
export function ageOf(timestamp: string | undefined, nowMs: number): string {
  const then = timestamp === undefined ? Number.NaN : Date.parse(timestamp)
  return Number.isNaN(then) ? '<unknown>' : humanDuration(nowMs - then)
}
