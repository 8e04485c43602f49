// Environment variables that tell a pod the services of its namespace, as the kubelet gives them (service links). Pure.
import type { V1Service } from '@kubernetes/client-node'

const wordOf = (name: string): string => name.toUpperCase().replaceAll('-', '_')

/** Variables for the API server, which every pod gets, and with `all` for the services of one namespace (enableServiceLinks). */
export function serviceLinks(services: Iterable<V1Service>, namespace: string, all = true): Record<string, string> {
  const env: Record<string, string> = {}
  for (const service of services) {
    const { name = '', namespace: own } = service.metadata ?? {}
    const isApi = own === 'default' && name === 'kubernetes'
    const address = service.spec?.clusterIP
    if ((!(all && own === namespace) && !isApi) || !address || address === 'None') continue
    const ports = service.spec?.ports ?? []
    const [first] = ports
    if (!first) continue
    const word = wordOf(name)
    env[`${word}_SERVICE_HOST`] = address
    env[`${word}_SERVICE_PORT`] = String(first.port)
    for (const port of ports) {
      const protocol = (port.protocol ?? 'TCP').toLowerCase()
      const url = `${protocol}://${address}:${String(port.port)}`
      if (port.name) env[`${word}_SERVICE_PORT_${wordOf(port.name)}`] = String(port.port)
      env[`${word}_PORT`] ??= url
      const stem = `${word}_PORT_${String(port.port)}_${protocol.toUpperCase()}`
      Object.assign(env, {
        [stem]: url,
        [`${stem}_PROTO`]: protocol,
        [`${stem}_PORT`]: String(port.port),
        [`${stem}_ADDR`]: address,
      })
    }
  }
  return env
}
