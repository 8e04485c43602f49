// What a pod asks of its capture: what is to pass it by, what becomes of it without an agent, where it is probed.

import { familyOf, ipText, ipWords } from './address.ts'

/** Ports in one list of terms. */
export const TERM_PORTS_MAX = 64
/** CIDRs in one list of terms. */
export const TERM_CIDRS_MAX = 64

/** The terms of one pod's capture. Every list is sorted, each entry in it once. */
export interface CaptureTerms {
  /** Outgoing connections to these ports go direct. */
  readonly excludeOutboundPorts: readonly number[]
  /** Outgoing connections to these addresses go direct. Canonical, as parseCidr() gives them. */
  readonly excludeOutboundCidrs: readonly string[]
  /** Connections that come in at these ports go to the application directly. */
  readonly excludeInboundPorts: readonly number[]
  /** What new connections get while no agent runs: the direct way, or none. */
  readonly onLoss: 'open' | 'closed'
  /** Where the kubelet probes the pod: its connections reach the application directly. */
  readonly probePorts: readonly number[]
}

/** Of a pod that asks nothing. */
export const PLAIN_TERMS: CaptureTerms = {
  excludeOutboundPorts: [],
  excludeOutboundCidrs: [],
  excludeInboundPorts: [],
  onLoss: 'open',
  probePorts: [],
}

/**
 * What becomes of a pod without an agent. It stays open unless it says otherwise, or refuses plaintext at one port at
 * least: then nothing but an agent could keep that, and its own `open` is overruled.
 */
export function onLossOf(
  said: CaptureTerms['onLoss'] | null,
  isStrict: boolean,
): { readonly onLoss: CaptureTerms['onLoss']; readonly isOverruled: boolean } {
  return { onLoss: isStrict ? 'closed' : (said ?? 'open'), isOverruled: isStrict && said === 'open' }
}

/** A TCP port that can be dialled, from its decimal text; null for anything else. */
export function parsePort(text: string): number | null {
  if (!/^[1-9]\d{0,4}$/.test(text)) return null
  const port = Number(text)
  return port <= 0xffff ? port : null
}

/**
 * The one text of a CIDR: canonical address, host bits zero, IPv4 for a CIDR of IPv4-mapped addresses. A bare IP stands
 * for itself alone. Null for anything else.
 */
export function parseCidr(text: string): string | null {
  const [address = '', length, surplus] = text.split('/')
  const words = ipWords(address)
  if (words === null || surplus !== undefined) return null
  const offset = address.includes(':') ? 0 : 96
  const longest = 128 - offset
  if (length !== undefined && !/^(0|[1-9]\d{0,2})$/.test(length)) return null
  const given = length === undefined ? longest : Number(length)
  if (given > longest) return null
  const bits = given + offset
  const network = ipText(words.map((word, index) => word & maskOf(bits - 16 * index)))
  return network.includes('.') ? `${network}/${bits - 96}` : `${network}/${bits}`
}

/** The mask of a 16-bit word of which the first `bits` belong to the network. */
function maskOf(bits: number): number {
  return (0xffff << (16 - Math.min(16, Math.max(0, bits)))) & 0xffff
}

/** Whether a canonical CIDR covers a canonical IP of its family. */
export function covers(cidr: string, ip: string): boolean {
  const [network = '', length = ''] = cidr.split('/')
  if (familyOf(network) !== familyOf(ip)) return false
  return parseCidr(`${ip}/${length}`) === cidr
}
