// Cluster IPs and node ports of Services: chosen when a Service is written, free again when it goes.
// Source: Kubernetes documentation "Service: choosing your own IP address", "Service ClusterIP allocation".
import { invalid } from '../status.ts'
import type { Change } from '../changes.ts'
import type { KubeObject } from '../object.ts'

export const SERVICE_CIDR = '10.96.0.0/16'
const FIRST = 0x0a600000
const SIZE = 1 << 16
/** Left to Services that ask for them by address: the API's own (10.96.0.1) and cluster DNS (10.96.0.10) are below. */
const RESERVED = 64
const NODE_PORTS = { first: 30_000, last: 32_767 }
const SERVICES = { plural: 'services', group: '', kind: 'Service' }

export class ClusterAddresses {
  readonly #addresses = new Set<number>()
  readonly #ports = new Set<number>()
  #nextAddress = RESERVED
  #nextPort = NODE_PORTS.first

  /**
   * Fills in clusterIP(s) and nodePorts of a Service about to be written over `current`; keeps those it has.
   * Throws 422 when an asked one is taken, out of range, changed, or when none is left. Takes nothing yet: `record` does.
   */
  assign(service: KubeObject, current: KubeObject | undefined): void {
    const { spec } = service
    if (spec.type === 'ExternalName') {
      delete spec.clusterIP
      delete spec.clusterIPs
      return
    }
    const before: string | undefined = current?.spec.clusterIP
    spec.clusterIP ||= spec.clusterIPs?.[0] || before || this.#freeAddress(service)
    if (spec.clusterIP !== before) this.#checkAddress(service, before)
    spec.clusterIPs = [spec.clusterIP]
    this.#assignPorts(service, current)
  }

  record(service: KubeObject, previous: KubeObject | null, kind: Change['type']): void {
    if (previous) this.#mark(previous, (set, value) => set.delete(value))
    if (kind !== 'DELETED') this.#mark(service, (set, value) => set.add(value))
  }

  #mark({ spec }: KubeObject, change: (set: Set<number>, value: number) => void): void {
    const address = addressOf(spec.clusterIP)
    if (address !== undefined) change(this.#addresses, address)
    for (const { nodePort } of spec.ports ?? []) if (nodePort) change(this.#ports, nodePort)
  }

  #freeAddress(service: KubeObject): string {
    for (let tries = 0; tries < SIZE; tries++) {
      const at = this.#nextAddress
      this.#nextAddress = at + 1 < SIZE - 1 ? at + 1 : RESERVED
      if (!this.#addresses.has(FIRST + at)) return textOf(FIRST + at)
    }
    throw fault(service, 'clusterIP', null, 'the range of cluster IPs is exhausted')
  }

  #checkAddress(service: KubeObject, before: string | undefined): void {
    const wanted: string = service.spec.clusterIP
    if (before !== undefined) throw fault(service, 'clusterIPs[0]', [wanted], 'may not change once set')
    if (wanted === 'None') return
    const address = addressOf(wanted)
    if (address === undefined || address <= FIRST || address >= FIRST + SIZE - 1) {
      const text = `failed to allocate IP ${wanted}: the provided IP is not in the valid range ${SERVICE_CIDR}`
      throw fault(service, 'clusterIPs', [wanted], text)
    }
    if (this.#addresses.has(address)) {
      const text = `failed to allocate IP ${wanted}: provided IP is already allocated`
      throw fault(service, 'clusterIPs', [wanted], text)
    }
  }

  #assignPorts(service: KubeObject, current: KubeObject | undefined): void {
    const ports: Record<string, any>[] = service.spec.ports ?? []
    const old: Record<string, any>[] = current?.spec.ports ?? []
    if (service.spec.type !== 'NodePort' && service.spec.type !== 'LoadBalancer') {
      for (const port of ports) delete port['nodePort']
      return
    }
    const own = new Set(old.map(({ nodePort }) => nodePort))
    const chosen = new Set<number>(ports.map(({ nodePort }) => nodePort).filter(Boolean))
    for (const [at, port] of ports.entries()) {
      if (!port['nodePort']) {
        const same = old.find((each) => each['port'] === port['port'] && each['protocol'] === port['protocol'])
        port['nodePort'] = same && !chosen.has(same['nodePort']) ? same['nodePort'] : this.#freePort(service, chosen)
        chosen.add(port['nodePort'])
      } else this.#checkPort(service, at, own)
    }
  }

  #checkPort(service: KubeObject, at: number, own: ReadonlySet<number>): void {
    const { nodePort } = service.spec.ports[at]
    const field = `ports[${at}].nodePort`
    if (!(nodePort >= NODE_PORTS.first && nodePort <= NODE_PORTS.last)) {
      const text = `provided port is not in the valid range. The range of valid ports is 30000-32767`
      throw fault(service, field, nodePort, text)
    }
    if (this.#ports.has(nodePort) && !own.has(nodePort)) {
      throw fault(service, field, nodePort, 'provided port is already allocated')
    }
  }

  #freePort(service: KubeObject, chosen: ReadonlySet<number>): number {
    for (let tries = NODE_PORTS.first; tries <= NODE_PORTS.last; tries++) {
      const port = this.#nextPort
      this.#nextPort = port < NODE_PORTS.last ? port + 1 : NODE_PORTS.first
      if (!this.#ports.has(port) && !chosen.has(port)) return port
    }
    throw fault(service, 'ports', null, 'the range of node ports is exhausted')
  }
}

function fault(service: KubeObject, field: string, shown: unknown, text: string): Error {
  return invalid(SERVICES, service.metadata.name, [{ kind: 'invalid', field: `spec.${field}`, shown, text }])
}

function addressOf(text: unknown): number | undefined {
  const match = typeof text === 'string' ? /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text) : null
  const parts = match?.slice(1).map(Number)
  if (!parts || parts.some((part) => part > 255)) return undefined
  return parts.reduce((sum, part) => sum * 256 + part, 0)
}

function textOf(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')
}
