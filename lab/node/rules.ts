// The kube-proxy stand-in's rules: one nft table, written whole, replaced in one transaction. Pure.
//
//   prerouting, output (nat) → services → svc-N → random or by caller → ep-N: dnat
//   postrouting (nat): what carries the mark leaves with the node's address (hairpin, node ports)
//   prerouting, output (filter): ports without a backend are refused
import { createHash } from 'node:crypto'
import type { Backend, Frontend, Protocol } from './balance.ts'

export const TABLE = 'weft-lab-services'
/** Packets to be sent on with the node's own address; the bit that kube-proxy uses. */
const MASQUERADE_MARK = '0x4000'

/** An nft script that puts the rules for all `frontends` in force and removes the former ones, all at once. */
export function nftRules(frontends: readonly Frontend[]): string {
  const served = frontends.filter((each) => each.backends.length > 0)
  const bare = frontends.filter((each) => each.backends.length === 0)
  const endpoints = new Map<string, { protocol: Protocol; backend: Backend }>()
  for (const { protocol, backends } of served) {
    for (const backend of backends) endpoints.set(endpointChain(protocol, backend), { protocol, backend })
  }
  return [
    `table ip ${TABLE} {}`,
    `delete table ip ${TABLE}`,
    `table ip ${TABLE} {`,
    ...[...endpoints].flatMap(([chain, { protocol, backend }]) => endpointRules(chain, protocol, backend)),
    ...served.flatMap(serviceRules),
    ...verdictMap('cluster', 'ipv4_addr . inet_proto . inet_service', served.flatMap(clusterElements)),
    ...verdictMap('node-ports', 'inet_proto . inet_service', served.flatMap(nodePortElements)),
    ...refusedSets(bare),
    ...FIXED_CHAINS,
    '}',
    '',
  ].join('\n')
}

const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12)
const endpointChain = (protocol: Protocol, { address, port }: Backend): string =>
  `ep-${protocol}-${address.replaceAll('.', '-')}-${String(port)}`
const serviceChain = (each: Frontend): string =>
  `svc-${shortHash(`${each.namespace}/${each.service}/${each.protocol}/${String(each.port)}`)}`

function endpointRules(chain: string, protocol: Protocol, { address, port }: Backend): string[] {
  return [
    ` chain ${chain} {`,
    // A pod that reaches itself through its service must see the answer come back by the node.
    `  ip saddr ${address} meta mark set meta mark or ${MASQUERADE_MARK}`,
    `  meta l4proto ${protocol} dnat to ${address}:${String(port)}`,
    ' }',
  ]
}

function serviceRules(each: Frontend): string[] {
  const chain = serviceChain(each)
  const ways = each.backends.map((backend, at) => `${String(at)} : goto ${endpointChain(each.protocol, backend)}`)
  const dice = each.sticky ? 'jhash ip saddr' : 'numgen random'
  const lines = [` chain ${chain} {`, `  ${dice} mod ${String(ways.length)} vmap { ${ways.join(', ')} }`, ' }']
  if (each.nodePort === null) return lines
  return [
    ...lines,
    ` chain ${chain}-node {`,
    `  meta mark set meta mark or ${MASQUERADE_MARK}`,
    `  goto ${chain}`,
    ' }',
  ]
}

const clusterElements = (each: Frontend): string[] =>
  each.addresses.map((address) => `${address} . ${each.protocol} . ${String(each.port)} : goto ${serviceChain(each)}`)

const nodePortElements = (each: Frontend): string[] =>
  each.nodePort === null ? [] : [`${each.protocol} . ${String(each.nodePort)} : goto ${serviceChain(each)}-node`]

function verdictMap(name: string, type: string, elements: readonly string[]): string[] {
  return [` map ${name} {`, `  type ${type} : verdict`, ...elementLines(elements), ' }']
}

function refusedSets(bare: readonly Frontend[]): string[] {
  const cluster = bare.flatMap((each) =>
    each.addresses.map((address) => `${address} . ${each.protocol} . ${String(each.port)}`),
  )
  const ports = bare.flatMap((each) => (each.nodePort === null ? [] : [`${each.protocol} . ${String(each.nodePort)}`]))
  return [
    ' set refused {',
    '  type ipv4_addr . inet_proto . inet_service',
    ...elementLines(cluster),
    ' }',
    ' set refused-node-ports {',
    '  type inet_proto . inet_service',
    ...elementLines(ports),
    ' }',
  ]
}

// Two Services may claim one external address and port; the first by name has it.
function elementLines(elements: readonly string[]): string[] {
  const first = new Map<string, string>()
  for (const element of elements) {
    const key = element.split(' : ')[0] ?? element
    if (!first.has(key)) first.set(key, element)
  }
  return first.size === 0 ? [] : [`  elements = { ${[...first.values()].join(', ')} }`]
}

const REFUSE = [
  '  ip daddr . meta l4proto . th dport @refused goto refuse',
  '  fib daddr type local meta l4proto . th dport @refused-node-ports goto refuse',
]

const FIXED_CHAINS = [
  ' chain services {',
  '  ip daddr . meta l4proto . th dport vmap @cluster',
  // Not on loopback addresses: Kubernetes leaves 127.0.0.1 to the node's own programs.
  '  ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @node-ports',
  ' }',
  ' chain refuse {',
  '  meta l4proto tcp reject with tcp reset',
  '  reject with icmp port-unreachable',
  ' }',
  ' chain nat-prerouting {',
  '  type nat hook prerouting priority dstnat; policy accept;',
  '  jump services',
  ' }',
  ' chain nat-output {',
  '  type nat hook output priority -100; policy accept;',
  '  jump services',
  ' }',
  ' chain nat-postrouting {',
  '  type nat hook postrouting priority srcnat; policy accept;',
  `  meta mark and ${MASQUERADE_MARK} == ${MASQUERADE_MARK} masquerade`,
  ' }',
  ' chain filter-prerouting {',
  '  type filter hook prerouting priority -110; policy accept;',
  ...REFUSE,
  ' }',
  ' chain filter-output {',
  '  type filter hook output priority -110; policy accept;',
  ...REFUSE,
  ' }',
]
