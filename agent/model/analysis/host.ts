// Whether a host means anything, and how to say that it does not.

import { absence, type AnalysisWorld, type Found, type KnownService, serviceAt, servicesOf } from './world.ts'

/** What is wrong with a host that is no Service. `isOutside`: it is a name beyond the cluster. */
export interface UnknownHost extends Required<Pick<Found, 'message' | 'severity'>> {
  readonly isOutside: boolean
}

/** Null where the host is a Service, covers one, or is the name of a pod of a headless one. */
export function unknownHost(world: AnalysisWorld, host: string): UnknownHost | null {
  if (servicesOf(world, host).length > 0 || isPodName(world, host)) return null
  const suffix = `.svc.${world.clusterDomain}`
  if (host.startsWith('*')) {
    const message = `${host} covers no Service${world.from === 'files' ? ' of the given files' : ''}`
    return { severity: 'warning', isOutside: !host.endsWith(suffix), message }
  }
  if (host.endsWith(suffix)) {
    const [name = '', namespace = '', ...more] = host.slice(0, -suffix.length).split('.')
    const message = more.length > 0 ? `${host} is no Service` : `Service ${namespace}/${name} ${absence(world)}`
    // files that have a namespace's Services are taken to have all of them; others may leave it to the cluster
    const isSure = world.from === 'cluster' || world.services.some(({ service }) => service.namespace === namespace)
    return { severity: isSure ? 'error' : 'warning', isOutside: false, message }
  }
  const meant = [`${host}${suffix}`, `${host}.${world.clusterDomain}`].find((full) => serviceAt(world, full) !== null)
  if (meant !== undefined) {
    const message = `${host} is taken as it is written, and is no Service: ${meant} is`
    return { severity: 'error', isOutside: false, message }
  }
  return { severity: 'warning', isOutside: true, message: `${host} is no Service` }
}

/** `web-0.web.shop.svc.…`: a pod that is dialled by its own name. */
function isPodName(world: AnalysisWorld, host: string): boolean {
  return serviceAt(world, host.slice(host.indexOf('.') + 1))?.service.headless === true
}

/** Aliases (ExternalName) that are followed from one to the next, as routing does. */
const ALIASES_MAX = 4

/** What a host leads to: a Service, through aliases; a name outside by an alias; null for neither. */
export function resolvedService(
  world: AnalysisWorld,
  host: string,
): KnownService | { readonly outside: string } | null {
  let known = serviceAt(world, host)
  for (let step = 0; step < ALIASES_MAX; step++) {
    const name = known?.service.externalName ?? null
    if (name === null) return known
    known = serviceAt(world, name)
    if (known === null) return { outside: name }
  }
  return known?.service.externalName === null ? known : null
}
