// Rules of Services and EndpointSlices. Pure. Source: Kubernetes API reference 1.32.
import { isIPv4, isIPv6 } from 'node:net'
import { isRecord } from '../object.ts'
import { SUBDOMAIN_TEXT, isSubdomain, labelFaults } from './metadata-rules.ts'
import type { KubeObject } from '../object.ts'
import type { Fault } from '../status.ts'

const ADDRESS_TEXT = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'

/** What is wrong with a port number that must be there. */
export function portFaults(port: unknown, field: string): Fault[] {
  if (port === undefined || port === null) return [{ kind: 'required', field }]
  if (Number.isInteger(port) && Number(port) >= 1 && Number(port) <= 65535) return []
  return [{ kind: 'invalid', field, shown: port, text: 'must be between 1 and 65535, inclusive' }]
}

/** What is wrong with a Service, its cluster address and node ports aside (cluster-address.ts). */
export function serviceFaults({ spec }: KubeObject): Fault[] {
  const faults: Fault[] = []
  const types = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort']
  if (!types.includes(spec.type)) {
    const text = `supported values: ${types.map((type) => JSON.stringify(type)).join(', ')}`
    faults.push({ kind: 'unsupported', field: 'spec.type', shown: spec.type, text })
  }
  const ports: unknown[] = Array.isArray(spec.ports) ? spec.ports : []
  if (spec.type === 'ExternalName') {
    if (!spec.externalName) faults.push({ kind: 'required', field: 'spec.externalName' })
    else if (!isSubdomain(spec.externalName)) {
      faults.push({ kind: 'invalid', field: 'spec.externalName', shown: spec.externalName, text: SUBDOMAIN_TEXT })
    }
  } else if (ports.length === 0 && spec.clusterIP !== 'None') faults.push({ kind: 'required', field: 'spec.ports' })
  for (const [at, address] of (Array.isArray(spec.externalIPs) ? spec.externalIPs : []).entries()) {
    if (!isIPv4(address) && !isIPv6(address)) {
      faults.push({ kind: 'invalid', field: `spec.externalIPs[${at}]`, shown: address, text: ADDRESS_TEXT })
    }
  }
  const names = new Set<unknown>()
  for (const [at, port] of ports.entries()) {
    const path = `spec.ports[${at}]`
    if (!isRecord(port)) {
      faults.push({ kind: 'required', field: path })
      continue
    }
    faults.push(...portFaults(port['port'], `${path}.port`))
    if (typeof port['targetPort'] === 'number') faults.push(...portFaults(port['targetPort'], `${path}.targetPort`))
    const name = port['name'] ?? ''
    if (name === '' && ports.length > 1) faults.push({ kind: 'required', field: `${path}.name` })
    else if (names.has(name)) faults.push({ kind: 'duplicate', field: `${path}.name`, shown: name })
    names.add(name)
  }
  return [...faults, ...labelFaults(spec.selector, 'spec.selector')]
}

/** What is wrong with an EndpointSlice: nodes make rules and names of it as it is. */
export function sliceFaults(slice: KubeObject, previous: KubeObject | null): Fault[] {
  const types = ['IPv4', 'IPv6', 'FQDN']
  const { addressType } = slice
  if (addressType === undefined) return [{ kind: 'required', field: 'addressType' }]
  if (previous && previous['addressType'] !== addressType) {
    return [{ kind: 'immutable', field: 'addressType', shown: addressType }]
  }
  if (types.includes(addressType)) return [...sliceAddressFaults(slice), ...slicePortFaults(slice)]
  const text = `supported values: ${types.map((type) => JSON.stringify(type)).join(', ')}`
  return [{ kind: 'unsupported', field: 'addressType', shown: addressType, text }]
}

const IS_ADDRESS: Readonly<Record<string, (address: unknown) => boolean>> = {
  IPv4: (address) => isIPv4(address as string),
  IPv6: (address) => isIPv6(address as string),
  FQDN: isSubdomain,
}

function sliceAddressFaults(slice: KubeObject): Fault[] {
  const { addressType } = slice
  const endpoints: unknown = slice['endpoints'] ?? []
  if (!Array.isArray(endpoints))
    return [{ kind: 'invalid', field: 'endpoints', shown: endpoints, text: 'must be a list' }]
  return endpoints.flatMap((endpoint, at): Fault[] => {
    const field = `endpoints[${at}].addresses`
    const addresses: unknown = isRecord(endpoint) ? endpoint['addresses'] : undefined
    if (!Array.isArray(addresses) || addresses.length === 0) return [{ kind: 'required', field }]
    const wrong = addresses.filter((address) => !IS_ADDRESS[addressType]?.(address))
    return wrong.map((shown) => ({ kind: 'invalid', field, shown, text: `must be an address of type ${addressType}` }))
  })
}

function slicePortFaults(slice: KubeObject): Fault[] {
  const ports: unknown = slice['ports'] ?? []
  if (!Array.isArray(ports)) return [{ kind: 'invalid', field: 'ports', shown: ports, text: 'must be a list' }]
  return ports.flatMap((each, at) => {
    if (!isRecord(each)) return [{ kind: 'required' as const, field: `ports[${at}]` }]
    // A port without a number stands for all of them.
    return each['port'] === undefined ? [] : portFaults(each['port'], `ports[${at}].port`)
  })
}
