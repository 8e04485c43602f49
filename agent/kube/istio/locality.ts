// Which endpoints come first by where they are.

import { REGION, SUBZONE, ZONE } from '../../model/balance/locality.ts'
import type { LocalityPreference } from '../../model/traffic-policy.ts'
import type { GivenLocality } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { isLabelName, isLabelValue, type Reading } from './checked.ts'

export function localityPreference(given: GivenLocality, path: string, { report }: Reading): LocalityPreference {
  demandOneWay(given, path)
  if (given.distribute?.length && given.failoverPriority?.length) {
    report(`${path}.failoverPriority`, 'has no effect beside distribute')
  }
  return {
    enabled: given.enabled ?? true,
    distribute: distribute(given.distribute ?? [], `${path}.distribute`),
    failover: (given.failover ?? []).map((one, index) => failover(one, `${path}.failover[${index}]`)),
    failoverPriority: (given.failoverPriority ?? []).map((text, index) => {
      return priority(text, `${path}.failoverPriority[${index}]`)
    }),
  }
}

const PLACES: readonly string[] = [REGION, ZONE, SUBZONE]

/** Shares leave nothing to fail over to; regions and labels go together as long as the labels speak of no places (Istio). */
function demandOneWay({ distribute: shares, failover: regions, failoverPriority }: GivenLocality, path: string): void {
  if (!regions?.length) return
  if (shares?.length) throw new Rejected(`${path}.failover`, 'must not stand beside distribute')
  const place = failoverPriority?.find((label) => PLACES.includes(label))
  if (place !== undefined) throw new Rejected(`${path}.failoverPriority`, `must not have ${place} beside failover`)
}

/** The shares of one place add up to 100, and no two of its localities, or places, are the same in part. */
function distribute(given: NonNullable<GivenLocality['distribute']>, path: string): LocalityPreference['distribute'] {
  const read = given.map(({ from = '', to = {} }, index) => {
    const at = `${path}[${index}]`
    const shares = Object.entries(to)
    for (const [place, weight] of shares) {
      demandLocality(place, `${at}.to.${place}`)
      if (weight < 1 || weight > 100) throw new Rejected(`${at}.to.${place}`, 'must be 1 to 100')
    }
    demandApart(
      shares.map(([place]) => place),
      `${at}.to`,
    )
    const sum = shares.reduce((total, [, weight]) => total + weight, 0)
    if (sum !== 100) throw new Rejected(`${at}.to`, `adds up to ${sum}, not to 100`)
    demandLocality(from, `${at}.from`)
    return { from, to: shares.map(([locality, weight]) => ({ locality, weight })) }
  })
  demandApart(
    read.map(({ from }) => from),
    path,
  )
  return read
}

/** `region/zone/subzone` from the left, `*` for whatever follows. */
function demandLocality(text: string, path: string): void {
  const parts = text.split('/')
  const isSound =
    parts.length <= 3 &&
    parts.every((part, index) => {
      return part !== '' && (!part.includes('*') || (part === '*' && index === parts.length - 1))
    })
  if (!isSound) throw new Rejected(path, `'${text}' is no locality such as region/zone/*`)
}

/** Throws Rejected where one locality is a part of another. */
function demandApart(places: readonly string[], path: string): void {
  const beginnings = places.map((place) => `${place}/`.replace(/\*\/$/, ''))
  beginnings.forEach((one, index) => {
    const other = beginnings.findIndex((two, at) => at !== index && one.startsWith(two))
    if (other >= 0) throw new Rejected(path, `${places[index] ?? ''} is a part of ${places[other] ?? ''}`)
  })
}

function failover(
  { from = '', to = '' }: { readonly from?: string; readonly to?: string },
  path: string,
): LocalityPreference['failover'][number] {
  for (const [name, region] of [
    ['from', from],
    ['to', to],
  ] as const) {
    if (!/^[^/*]+$/.test(region)) throw new Rejected(`${path}.${name}`, 'must be a region, without zone or wildcard')
  }
  if (from === to) throw new Rejected(`${path}.to`, 'must be another region than from')
  return { from, to }
}

/** A label, or a label and the value that endpoints are to have. */
function priority(text: string, path: string): string {
  const at = text.indexOf('=')
  const name = at < 0 ? text : text.slice(0, at)
  if (isLabelName(name) && (at < 0 || isLabelValue(text.slice(at + 1)))) return text
  throw new Rejected(path, `'${text}' is no label, alone or with a value`)
}
