// Istio's VirtualService, as the mesh's own.

import { VirtualService as Schema } from '@kubernetes-models/istio/networking.istio.io/v1/VirtualService'
import { ipWords } from '../model/address.ts'
import type { VirtualService } from '../model/policy.ts'
import { unhonoured } from './honoured.ts'
import type { VirtualServiceSpec } from './istio.ts'
import { demandDomainOrIp, type Reading } from './istio/checked.ts'
import { MESH_GATEWAY } from './istio/destinations.ts'
import { VIRTUAL_SERVICE_FIELDS } from './istio/fields.ts'
import { tcpRules, tlsRules } from './istio/flow-rule.ts'
import { httpRules } from './istio/http-rule.ts'
import type { KubeObject } from './object.ts'
import {
  asWished,
  attempt,
  createdMs,
  demandValid,
  refOf,
  Rejected,
  resolveExportTo,
  resolveHost,
  type Translation,
  withoutNulls,
} from './translate.ts'

type Rules = Pick<VirtualService, 'hosts' | 'http' | 'tls' | 'tcp'>

/**
 * Translates a VirtualService of any served version (their schemas are one). Not in force, with a reason: what the
 * schema or Istio's own rules refuse. One without the gateway `mesh`, or all of whose rules are for other gateways, is no
 * VirtualService for traffic inside the mesh. One without hosts is there for others to delegate to.
 */
export function translateVirtualService(given: KubeObject, clusterDomain: string): Translation<VirtualService> {
  const ref = refOf('VirtualService', given)
  return attempt(ref, () => {
    const object = withoutNulls(given)
    demandValid(new Schema(asWished(object)))
    const spec = (object.spec ?? {}) as VirtualServiceSpec
    const problems = unhonoured(spec, VIRTUAL_SERVICE_FIELDS, 'spec')
    const { namespace } = ref
    const reading: Reading = {
      namespace,
      resolve: (host) => (ipWords(host) === null ? resolveHost(host, namespace, clusterDomain) : host.toLowerCase()),
      report: (field, reason) => problems.push({ field, reason }),
    }
    const gateways = spec.gateways?.length ? spec.gateways : [MESH_GATEWAY]
    const others = gateways.filter((name) => name !== MESH_GATEWAY)
    if (others.length > 0) reading.report('spec.gateways', 'gateways other than mesh are not served')
    if (!spec.hosts?.length) demandSoundDelegate(spec)
    const rules = gateways.includes(MESH_GATEWAY) ? rulesOf(spec, reading) : null
    const exportTo = resolveExportTo(spec.exportTo, namespace)
    return {
      rejected: false,
      problems: problems.map((problem) => ({ object: ref, ...problem })),
      value: rules === null ? null : { ref, createdMs: createdMs(object), exportTo, ...rules },
    }
  })
}

/** Istio: it stands in the place of a rule for HTTP, and what its rules are for is said where they are delegated to. */
function demandSoundDelegate(spec: VirtualServiceSpec): void {
  for (const name of ['gateways', 'tls', 'tcp'] as const) {
    if (spec[name]?.length) throw new Rejected(`spec.${name}`, 'a VirtualService without hosts has http rules alone')
  }
}

/** What is for traffic inside the mesh; null where nothing is. */
function rulesOf(spec: VirtualServiceSpec, reading: Reading): Rules | null {
  const given = spec.hosts ?? []
  const { http = [], tls = [], tcp = [] } = spec
  if (http.length + tls.length + tcp.length === 0) throw new Rejected('spec', 'has no rule for http, tls or tcp')
  const hosts = hostsOf(given, reading)
  const known = [...hosts, ...given.map((host) => host.toLowerCase())]
  const rules = {
    hosts,
    http: httpRules(http, reading, given.length === 0),
    tls: tlsRules(tls, known, reading),
    tcp: tcpRules(tcp, reading),
  }
  return rules.http.length + rules.tls.length + rules.tcp.length === 0 ? null : rules
}

function hostsOf(given: readonly string[], { resolve }: Reading): readonly string[] {
  const hosts = given.map((host, index) => {
    const path = `spec.hosts[${index}]`
    if (host === '*') throw new Rejected(path, 'a wildcard of all hosts is not for the gateway mesh')
    demandDomainOrIp(host, path)
    return resolve(host)
  })
  // as they are written, as Istio compares them: a Service may be named short and in full
  const written = given.map((host) => host.toLowerCase())
  written.forEach((host, index) => {
    const other = written.slice(0, index).find((one) => overlap(one, host))
    if (other !== undefined) throw new Rejected(`spec.hosts[${index}]`, `stands for the same hosts as ${other}`)
  })
  return hosts
}

/** Whether there is a host that both stand for. */
function overlap(one: string, other: string): boolean {
  if (one === other) return true
  const isUnder = (wild: string, host: string): boolean => wild.startsWith('*') && host.endsWith(wild.slice(1))
  return isUnder(one, other) || isUnder(other, one)
}
