// What stands before a pod, for people: a block for each of its ports, alike ones together. Pure.

import type {
  Authorizations,
  KeySetState,
  PortAuthorizations,
  ToldPolicy,
  ToldTokens,
} from '../model/explain/authorizations.ts'
import { printable } from './status-text.ts'

/** Renders all of it; ends with a newline. */
export function authorizationsText(told: Authorizations): string {
  const { pod, node, identity, unenforced, snapshot } = told
  const alike = Map.groupBy(told.ports, ({ port: _, behind: __, ...rest }) => JSON.stringify(rest))
  const lines = [
    `pod ${pod}, on node ${node}, ${unenforced === null ? 'captured' : `NOT CAPTURED: ${unenforced}`}`,
    `  identity ${identity ?? 'none'}`,
    ...(unenforced === null ? [] : ['NOTHING OF WHAT FOLLOWS IS ENFORCED before it']),
    ...[...alike.values()].flatMap(portLines),
    `(snapshot ${snapshot} of the node’s agent)`,
  ]
  return lines.map((line) => `${printable(line)}\n`).join('')
}

/** Of ports that have the same before them. */
function portLines(ports: readonly PortAuthorizations[]): string[] {
  const [first] = ports
  if (first === undefined) return []
  const { unenforced, peerAuthentication, policies, otherwise, tokens } = first
  const { mode, by } = peerAuthentication
  const detail = [
    ...ports.flatMap(({ port, behind }) => behind.map((at) => `${ports.length > 1 ? `${portText(port)}: ` : ''}${at}`)),
    ...(unenforced === null ? [] : [`NOT ENFORCED: ${unenforced}`]),
    `PeerAuthentication ${mode}${by === null ? ', the default' : ` by ${by}`}: ${MODES[mode]}`,
    ...tokens.flatMap(tokenLines),
    ...policies.flatMap(policyLines),
    ...(policies.length === 0
      ? ['no policy: every call is allowed']
      : [`a call that no rule matches is ${otherwise === 'denied' ? 'denied: there is an ALLOW policy' : 'allowed'}`]),
  ]
  return [headOf(ports), ...detail.map((line) => `  ${line}`)]
}

const MODES: Readonly<Record<PortAuthorizations['peerAuthentication']['mode'], string>> = {
  STRICT: 'TLS of the mesh alone',
  PERMISSIVE: 'plaintext too, of whose caller nothing is known',
  DISABLE: 'plaintext, of whose caller nothing is known',
}

function headOf(ports: readonly PortAuthorizations[]): string {
  const named = ports.flatMap(({ port }) => (port === null ? [] : [port]))
  const isWhole = ports.some(({ port }) => port === null)
  if (named.length === 0) return 'any other port'
  return `port ${named.join(', ')}${isWhole ? ' and any other' : ''}`
}

function portText(port: number | null): string {
  return port === null ? 'any other' : String(port)
}

function policyLines({ policy, action, dryRun, why, provider, isProviderKnown, rules }: ToldPolicy): string[] {
  const asks = provider === null ? '' : `, asks ${provider}${isProviderKnown ? '' : ' (WHICH THERE IS NOT: denied)'}`
  return [
    `${action}${dryRun ? ' (dry run: told, not enforced)' : ''} ${policy}, ${why}${asks}`,
    ...(rules.length === 0 ? ['  no rules: it matches nothing'] : []),
    ...rules.map(({ rule, text, note }) => `  ${rule}: ${text}${note === null ? '' : ` (${note})`}`),
  ]
}

function tokenLines({ by, why, issuer, audiences, places, keys, state, required }: ToldTokens): string[] {
  return [
    `RequestAuthentication ${by}, ${why}`,
    `  tokens of ${issuer}${audiences.length === 0 ? '' : ` for ${audiences.join(', ')}`}, at ${places.join(', ')}`,
    `  keys from ${keys}: ${stateText(state)}`,
    `  a request without a token ${required ? 'is refused (401)' : 'goes on, and has no request principal'}`,
  ]
}

function stateText(state: KeySetState | null): string {
  if (state === null) return 'not known'
  const { keys, fetchedMs, failure } = state
  const had = keys === 0 ? 'NONE ARE HAD, no token is good by it' : keys === 1 ? '1 key' : `${keys} keys`
  const since = fetchedMs === null ? '' : `, fetched ${new Date(fetchedMs).toISOString()}`
  return `${had}${since}${failure === null ? '' : `, amiss: ${failure}`}`
}
