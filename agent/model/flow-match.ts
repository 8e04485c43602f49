// Matchers for connections that are carried as bytes, compiled once a snapshot.

import { familyOf, type IpFamily, ipWords, type SocketAddress } from './address.ts'
import type { FlowMatch } from './policy.ts'
import { parseCidr } from './terms.ts'
import type { Workload } from './workload.ts'

/** What a rule can see of a connection. */
export interface FlowFacts {
  /** Null where it is not proved who that is. */
  readonly caller: Workload | null
  readonly dialled: SocketAddress
  /** Where it was dialled from. */
  readonly peer: SocketAddress
  /** Whom its TLS asks for, as serverNameOf() gives it; null: nobody, or it has not begun with TLS. */
  readonly serverName: string | null
}

/** Judges a connection. */
export type FlowTest = (flow: FlowFacts) => boolean

/** Compiles one entry of a rule's `match` list: the conjunction of what it gives. Throws where a CIDR is malformed. */
export function flowTest(match: FlowMatch): FlowTest {
  const parts = flowConditionsOf(match)
  return (flow) => parts.every(({ test }) => test(flow))
}

/** What an entry demands, by field, in the order in which it is looked at. Throws where a CIDR is malformed. */
export function flowConditionsOf(match: FlowMatch): readonly { readonly field: string; readonly test: FlowTest }[] {
  const { serverNames, destinationSubnets, sourceSubnets, port, sourceLabels, sourceNamespace } = match
  const conditions: { field: string; test: FlowTest }[] = []
  const demand = (field: string, test: FlowTest): void => void conditions.push({ field, test })
  if (port !== null) demand('port', ({ dialled }) => dialled.port === port)
  if (sourceNamespace !== null) demand('sourceNamespace', ({ caller }) => caller?.namespace === sourceNamespace)
  const labels = Object.entries(sourceLabels)
  if (labels.length > 0) {
    demand(
      'sourceLabels',
      ({ caller }) => caller !== null && labels.every(([name, value]) => caller.labels[name] === value),
    )
  }
  if (serverNames !== null) {
    const test = namesTest(serverNames)
    demand('sniHosts', ({ serverName }) => serverName !== null && test(serverName))
  }
  if (destinationSubnets.length > 0) {
    const test = subnetsTest(destinationSubnets)
    demand('destinationSubnets', ({ dialled }) => test(dialled.ip))
  }
  if (sourceSubnets.length > 0) {
    const test = subnetsTest(sourceSubnets)
    demand('sourceSubnet', ({ peer }) => test(peer.ip))
  }
  return conditions
}

/** A star stands for one character or more: `*.example.com` covers `a.b.example.com`, and not `example.com` (Envoy). */
function namesTest(names: readonly string[]): (name: string) => boolean {
  const exact = new Set(names.filter((name) => !name.startsWith('*')))
  const suffixes = names.filter((name) => name.startsWith('*')).map((name) => name.slice(1))
  return (name) => exact.has(name) || suffixes.some((suffix) => name.length > suffix.length && name.endsWith(suffix))
}

function subnetsTest(cidrs: readonly string[]): (ip: string) => boolean {
  const networks = cidrs.map(networkOf)
  return (ip) => {
    const words = ipWords(ip)
    const family = familyOf(ip)
    return words !== null && networks.some((network) => network.family === family && contains(network, words))
  }
}

/** The words of a network, IPv4 as IPv4-mapped, and how many of their bits count. */
export interface Network {
  readonly family: IpFamily
  readonly words: readonly number[]
  readonly bits: number
}

/** Reads a CIDR, or an address alone. Throws where it is neither. */
export function networkOf(text: string): Network {
  const cidr = parseCidr(text)
  if (cidr === null) throw new Error(`${text} is no CIDR`)
  const [address = '', length = ''] = cidr.split('/')
  const family = familyOf(address)
  return { family, words: ipWords(address) ?? [], bits: Number(length) + (family === 4 ? V4_OFFSET : 0) }
}

/** Bits ahead of an IPv4 address in its IPv4-mapped form. */
const V4_OFFSET = 96

/** Whether the words of an IP of its family are in a network. */
export function contains({ words, bits }: Network, ip: readonly number[]): boolean {
  for (let index = 0; 16 * index < bits; index++) {
    const unused = Math.max(0, 16 * (index + 1) - bits)
    if ((words[index] as number) >> unused !== (ip[index] as number) >> unused) return false
  }
  return true
}

/** The longest name there is (RFC 1035 §2.3.4). */
const NAME_MOST = 253

/** A server name as a ClientHello has it, in the form that rules have: lower case, less its last dot. Null: it is none. */
export function serverNameOf(sent: string | null): string | null {
  if (sent === null) return null
  const name = (sent.endsWith('.') ? sent.slice(0, -1) : sent).toLowerCase()
  return name.length <= NAME_MOST && /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(name) ? name : null
}
