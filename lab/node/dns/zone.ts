// The names of a cluster and their answers, as Kubernetes' DNS specification 1.1 has them. Pure.
import type { V1EndpointSlice, V1Service } from '@kubernetes/client-node'
import { slicesByService } from '../balance.ts'
import { CLASS_IN, RCODE, type Question, type Reply, type ResourceRecord, TYPE } from './wire.ts'

export const ZONE = 'cluster.local'
export const TTL_SECONDS = 5

/** All that can be asked for, by lower-case name. A name with an empty list exists but has no record of its own. */
export interface Zone {
  readonly records: ReadonlyMap<string, readonly ResourceRecord[]>
  /** Names in 10.244.0.0/16 and the service range, for PTR. */
  readonly reverse: ReadonlyMap<string, string>
}

/** Computes the zone from the cluster's services and endpoint slices. */
export function buildZone(services: Iterable<V1Service>, slices: Iterable<V1EndpointSlice>): Zone {
  const writer = new ZoneWriter()
  const byService = slicesByService(slices)
  for (const service of services) {
    const { name, namespace } = service.metadata ?? {}
    if (name === undefined || namespace === undefined) continue
    const full = `${name}.${namespace}.svc.${ZONE}`
    const own = byService.get(`${namespace}/${name}`) ?? []
    if (service.spec?.type === 'ExternalName') {
      writer.add(full, { name: full, ttlSeconds: TTL_SECONDS, type: 'CNAME', target: service.spec.externalName ?? '' })
    } else if (service.spec?.clusterIP === 'None') {
      addHeadless(writer, full, own, service.spec.publishNotReadyAddresses ?? false)
    } else if (service.spec?.clusterIP) {
      addClusterIp(writer, full, service.spec.clusterIP, service)
    }
  }
  return writer
}

class ZoneWriter implements Zone {
  readonly records = new Map<string, ResourceRecord[]>()
  readonly reverse = new Map<string, string>()

  /** Adds a record; the names between it and the zone's top come to exist with it (RFC 8020). */
  add(name: string, record: ResourceRecord): void {
    const lower = name.toLowerCase()
    const known = this.records.get(lower)
    if (known) known.push(record)
    else this.records.set(lower, [record])
    for (let dot = lower.indexOf('.'); dot >= 0; dot = lower.indexOf('.', dot + 1)) {
      const parent = lower.slice(dot + 1)
      if (!isIn(parent, ZONE)) return
      if (!this.records.has(parent)) this.records.set(parent, [])
    }
  }

  addAddress(name: string, address: string): void {
    this.add(name, { name, ttlSeconds: TTL_SECONDS, type: 'A', address })
  }

  addPort(full: string, port: { name?: string; protocol?: string }, number: number, target: string): void {
    if (!port.name) return
    const name = `_${port.name}._${(port.protocol ?? 'TCP').toLowerCase()}.${full}`
    this.add(name, { name, ttlSeconds: TTL_SECONDS, type: 'SRV', priority: 0, weight: 100, port: number, target })
  }
}

function addClusterIp(writer: ZoneWriter, full: string, address: string, service: V1Service): void {
  if (!address.includes('.')) return
  writer.addAddress(full, address)
  writer.reverse.set(address, full)
  for (const port of service.spec?.ports ?? []) writer.addPort(full, port, port.port, full)
}

function addHeadless(writer: ZoneWriter, full: string, slices: readonly V1EndpointSlice[], evenUnready: boolean): void {
  const seen = new Set<string>()
  for (const slice of slices) {
    for (const endpoint of slice.endpoints ?? []) {
      const address = endpoint.addresses[0]
      if (address === undefined || (endpoint.conditions?.ready === false && !evenUnready)) continue
      const own = `${endpoint.hostname ?? address.replaceAll('.', '-')}.${full}`
      if (!seen.has(address)) {
        seen.add(address)
        writer.addAddress(full, address)
        writer.addAddress(own, address)
        writer.reverse.set(address, own)
      }
      for (const port of slice.ports ?? []) {
        const known = writer.records.get(
          `_${port.name ?? ''}._${(port.protocol ?? 'TCP').toLowerCase()}.${full}`.toLowerCase(),
        )
        const isNew = !known?.some(
          (record) => record.type === 'SRV' && record.target === own && record.port === port.port,
        )
        if (port.port !== undefined && isNew) writer.addPort(full, port, port.port, own)
      }
    }
  }
}

const isIn = (name: string, zone: string): boolean => name === zone || name.endsWith(`.${zone}`)

/** Answers one question. `shuffle` decides the order of several addresses; `serial` is the zone's version. */
export function answer(zone: Zone, question: Question, serial: number, shuffle: <T>(of: readonly T[]) => T[]): Reply {
  const name = question.name.toLowerCase()
  if (question.class !== CLASS_IN) return refused()
  if (name.endsWith('.in-addr.arpa')) return answerReverse(zone, question, serial)
  if (!isIn(name, ZONE)) return refused()
  const found = zone.records.get(name) ?? podRecords(name)
  if (found === undefined) return negative(RCODE.NO_SUCH_NAME, ZONE, serial)
  const alias = found.find((record) => record.type === 'CNAME')
  if (alias?.type === 'CNAME')
    return positive([echo(alias, question), ...behindAlias(zone, alias.target, question.type)])
  const wanted = found.filter((record) => question.type === TYPE.ANY || TYPE[record.type] === question.type)
  if (wanted.length === 0) return negative(RCODE.OK, ZONE, serial)
  return positive(shuffle(wanted).map((record) => echo(record, question)))
}

/** What an alias within the cluster leads to; aliases of aliases are left to the client. */
function behindAlias(zone: Zone, target: string, type: number): ResourceRecord[] {
  const found = zone.records.get(target.toLowerCase()) ?? []
  return type === TYPE.CNAME ? [] : found.filter((record) => TYPE[record.type] === type)
}

/** 10-244-1-5.namespace.pod.cluster.local is an address by itself. */
function podRecords(name: string): ResourceRecord[] | undefined {
  const match = /^(\d+)-(\d+)-(\d+)-(\d+)\.[^.]+\.pod\.cluster\.local$/.exec(name)
  const octets = match?.slice(1).map(Number)
  if (!octets || octets.some((octet) => octet > 255)) return undefined
  return [{ name, ttlSeconds: TTL_SECONDS, type: 'A', address: octets.join('.') }]
}

function answerReverse(zone: Zone, question: Question, serial: number): Reply {
  const name = question.name.toLowerCase()
  const address = name.slice(0, -'.in-addr.arpa'.length).split('.').reverse().join('.')
  const target = zone.reverse.get(address)
  if (target === undefined)
    return /^10\.(96|244)\./.test(address) ? negative(RCODE.NO_SUCH_NAME, 'in-addr.arpa', serial) : refused()
  if (question.type !== TYPE.PTR) return negative(RCODE.OK, 'in-addr.arpa', serial)
  return positive([{ name: question.name, ttlSeconds: TTL_SECONDS, type: 'PTR', target }])
}

/** Resolvers that randomise the case of a question expect it back (draft-vixie-dnsext-dns0x20). */
const echo = (record: ResourceRecord, question: Question): ResourceRecord => ({ ...record, name: question.name })
const positive = (answers: ResourceRecord[]): Reply => ({
  rcode: RCODE.OK,
  authoritative: true,
  answers,
  authority: [],
})
const refused = (): Reply => ({ rcode: RCODE.REFUSED, authoritative: false, answers: [], authority: [] })

function negative(rcode: number, zone: string, serial: number): Reply {
  const authority: ResourceRecord[] = [
    {
      ...{ name: zone, ttlSeconds: TTL_SECONDS, type: 'SOA', serial, negativeTtlSeconds: TTL_SECONDS },
      ...{ primary: `ns.dns.${ZONE}`, mailbox: `hostmaster.${ZONE}` },
    },
  ]
  return { rcode, authoritative: true, answers: [], authority }
}
