// Ages as kubectl shows them: two digits' worth of what matters. Pure. Source: k8s.io/apimachinery duration.HumanDuration.

/** Milliseconds → '45s', '3m20s', '7h5m', '2d', '1y30d'. */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000)
  if (seconds < -1) return '<invalid>'
  if (seconds < 120) return `${Math.max(0, seconds)}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 10) return pair(minutes, 'm', seconds % 60, 's')
  if (minutes < 180) return `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 8) return pair(hours, 'h', minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  const days = Math.floor(hours / 24)
  if (days < 8) return pair(days, 'd', hours % 24, 'h')
  if (days < 730) return `${days}d`
  const years = Math.floor(days / 365)
  return years < 8 ? pair(years, 'y', days % 365, 'd') : `${years}y`
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`
}

/** The age of an RFC 3339 time at `now` (ms since the epoch); '<unknown>' without one. */
export function ageOf(time: unknown, now: number): string {
  const since = typeof time === 'string' ? Date.parse(time) : NaN
  return Number.isNaN(since) ? '<unknown>' : humanDuration(now - since)
}
