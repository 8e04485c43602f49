// Rules for connections: TLS that is not ended, and whatever else is no HTTP.

import type { FlowMatch, FlowRule } from '../../model/policy.ts'
import type { GivenFlowMatch, GivenFlowRule } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { cidr, demandDomainOrIp, dnsLabel, labels, matchedPort, type Reading } from './checked.ts'
import { destinations, entriesForMesh } from './destinations.ts'

/** Rules of `tcp` that are for traffic inside the mesh. */
export function tcpRules(rules: readonly GivenFlowRule[], reading: Reading): FlowRule[] {
  return rules.flatMap((rule, index) => flowRule(rule, `spec.tcp[${index}]`, reading, () => null))
}

/** Rules of `tls` that are for traffic inside the mesh. Each of their server names is one that `hosts` cover. */
export function tlsRules(rules: readonly GivenFlowRule[], hosts: readonly string[], reading: Reading): FlowRule[] {
  return rules.flatMap((rule, index) => {
    const path = `spec.tls[${index}]`
    if (!rule.match?.length) throw new Rejected(`${path}.match`, 'a rule for TLS needs a match')
    return flowRule(rule, path, reading, (match, at) => serverNames(match, at, hosts))
  })
}

type NamesOf = (match: GivenFlowMatch, path: string) => FlowMatch['serverNames']

function flowRule(rule: GivenFlowRule, path: string, reading: Reading, namesOf: NamesOf): FlowRule[] {
  const entries = entriesForMesh(rule.match, path)
  if (entries === null) return []
  const matches = entries.map(({ match, path: at }) => flowMatch(match, at, namesOf))
  return [{ matches, destinations: destinations(rule.route, `${path}.route`, reading) }]
}

function flowMatch(match: GivenFlowMatch, path: string, namesOf: NamesOf): FlowMatch {
  const { destinationSubnets = [], sourceSubnet } = match
  return {
    serverNames: namesOf(match, path),
    destinationSubnets: destinationSubnets.map((text, index) => cidr(text, `${path}.destinationSubnets[${index}]`)),
    sourceSubnets: sourceSubnet ? [cidr(sourceSubnet, `${path}.sourceSubnet`)] : [],
    port: matchedPort(match.port, `${path}.port`),
    sourceLabels: labels(match.sourceLabels, `${path}.sourceLabels`),
    sourceNamespace: match.sourceNamespace ? dnsLabel(match.sourceNamespace, `${path}.sourceNamespace`) : null,
  }
}

function serverNames({ sniHosts = [] }: GivenFlowMatch, path: string, hosts: readonly string[]): readonly string[] {
  if (sniHosts.length === 0) throw new Rejected(`${path}.sniHosts`, 'must have a server name')
  return sniHosts.map((text, index) => {
    const at = `${path}.sniHosts[${index}]`
    demandDomainOrIp(text, at)
    const name = text.toLowerCase()
    if (hosts.some((host) => isCovered(name, host))) return name
    throw new Rejected(at, `'${text}' is covered by none of the hosts`)
  })
}

/** Whether every name that one pattern stands for is one of another's. */
function isCovered(name: string, by: string): boolean {
  return by.startsWith('*') ? name.endsWith(by.slice(1)) : name === by
}
