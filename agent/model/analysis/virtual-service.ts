// What is found of the hosts of a VirtualService, the ports and protocols there, and of its delegates.

import { isVisible } from '../destination.ts'
import { severityOf } from './codes.ts'
import { unknownHost } from './host.ts'
import {
  absence,
  type AnalysisWorld,
  type Finding,
  type Found,
  keyOf,
  type KnownService,
  matchPath,
  nameOf,
  nameOfService,
  portsText,
  type RuleAt,
  rulesOf,
  servicesOf,
  virtualServiceNamed,
} from './world.ts'
import type { Delegate, VirtualService } from '../policy.ts'

/** VirtualServices that speak of nothing, or of what is not spoken there. */
export function analyseVirtualServices(world: AnalysisWorld): readonly Finding[] {
  const delegates = new Set(world.virtualServices.flatMap(({ http }) => http.flatMap(({ instead }) => named(instead))))
  return world.virtualServices.flatMap((one) => {
    const found = [
      ...ofHosts(world, one),
      ...ofPorts(world, one),
      ...rulesOf(world, one).flatMap((at) => ofDelegate(world, one, at)),
      ...(one.hosts.length === 0 && !delegates.has(keyOf(one.ref)) ? [undelegated(world)] : []),
    ]
    return found.map((each): Finding => ({ severity: severityOf(each.code), ...each, object: one.ref }))
  })
}

const named = (instead: { readonly kind: string } | null): string[] =>
  instead?.kind === 'delegate' ? [keyOf(instead as Delegate)] : []

function ofHosts(world: AnalysisWorld, { hosts }: VirtualService): readonly Found[] {
  return hosts.flatMap((host, index): Found[] => {
    const field = `spec.hosts[${index}]`
    const first = hosts.indexOf(host)
    if (first < index) return [{ code: 'WEFT0223', field, message: `${host} is spec.hosts[${first}] already` }]
    const unknown = unknownHost(world, host)
    if (unknown === null) return []
    const { severity, message, isOutside } = unknown
    const rest = isOutside
      ? ': the rules hold for HTTP by this Host alone, at addresses that nothing else stands for'
      : ''
    return [{ code: 'WEFT0201', field, severity, message: message + rest }]
  })
}

/** Only where every host is known: what one Service does not have another one may. */
function ofPorts(world: AnalysisWorld, one: VirtualService): readonly Found[] {
  const byHost = one.hosts.map((host) => servicesOf(world, host))
  const services = byHost.flat().filter(({ service }) => service.ports.length > 0)
  if (services.length === 0 || byHost.some((known) => known.length === 0)) return []
  return rulesOf(world, one).flatMap((at): Found[] => {
    const { list, place, rule } = at
    const strays = rule.matches.flatMap(({ port }, index): Found[] => {
      if (port === null) return []
      const field = `${matchPath(place, index)}.port`
      const there = services.flatMap(({ service }) => service.ports.filter((own) => own.port === port))
      if (there.length === 0) {
        return [{ code: 'WEFT0214', field, message: noPort(services, port) }]
      }
      return there.every(({ protocol }) => protocol === strange(list)) ? [ofProtocol(list, field, `port ${port}`)] : []
    })
    const isForAll = rule.matches.length === 0 || rule.matches.some(({ port }) => port === null)
    const all = services.flatMap(({ service }) => service.ports)
    if (!isForAll || !all.every(({ protocol }) => protocol === strange(list))) return strays
    return [...strays, ofProtocol(list, place.path, 'every port of its Services')]
  })
}

/** The protocol of a port at which nobody looks at rules of a list. */
function strange(list: RuleAt['list']): 'opaque' | 'http' {
  return list === 'http' ? 'opaque' : 'http'
}

function ofProtocol(list: RuleAt['list'], field: string, what: string): Found {
  if (list === 'http') {
    const message = `${what} is declared to be no HTTP/1.1: http rules are not looked at there`
    return { code: 'WEFT0215', field, message }
  }
  return { code: 'WEFT0216', field, message: `${what} is declared to be HTTP: ${list} rules are not looked at there` }
}

function noPort(services: readonly KnownService[], port: number): string {
  const [only] = services
  if (services.length > 1 || only === undefined) return `none of its ${services.length} Services has port ${port}`
  return `${nameOfService(only)} has no port ${port} (its ports: ${portsText(only)})`
}

function ofDelegate(world: AnalysisWorld, from: VirtualService, { list, rule, place }: RuleAt): readonly Found[] {
  if (list !== 'http' || rule.instead?.kind !== 'delegate') return []
  const field = `${place.path}.delegate`
  if (from.hosts.length === 0) {
    return [
      { code: 'WEFT0210', field, message: 'a VirtualService without hosts delegates no further: nothing is done' },
    ]
  }
  const { namespace, name } = rule.instead
  const ref = { kind: 'VirtualService', namespace, name }
  const to = virtualServiceNamed(world, ref)
  if (to === null) {
    const isRejected = world.rejected.some(({ object }) => object.kind === ref.kind && keyOf(object) === keyOf(ref))
    if (isRejected) return [{ code: 'WEFT0207', field, message: `${nameOf(ref)} is not sound` }]
    const severity = world.from === 'cluster' ? 'error' : 'warning'
    return [{ code: 'WEFT0207', field, severity, message: `${nameOf(ref)} ${absence(world)}` }]
  }
  if (!isVisible(to.exportTo, from.ref.namespace)) {
    const message = `${nameOf(ref)} is not exported to namespace ${from.ref.namespace}`
    return [{ code: 'WEFT0208', field, message }]
  }
  if (to.hosts.length === 0) return []
  return [{ code: 'WEFT0209', field, message: `${nameOf(ref)} has hosts of its own: nobody can delegate to it` }]
}

function undelegated(world: AnalysisWorld): Found {
  const where = world.from === 'files' ? ' of the given files' : ''
  const message = `names no host, and no VirtualService${where} delegates to it`
  return { code: 'WEFT0211', field: '', message, severity: world.from === 'files' ? 'info' : 'warning' }
}
