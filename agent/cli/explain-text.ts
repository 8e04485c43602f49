// An explanation for people: what happens, step by step, each with what led to it. Pure.

import type { ExplainedForward, ExplainedShare, Explanation } from '../model/explain/explanation.ts'
import type { Fault } from '../model/policy.ts'
import { verdictLines } from './verdict-text.ts'

const INDENT = '  '

/** Renders all of it; ends with a newline. */
export function explanationText(explanation: Explanation): string {
  const { caller, dialled, node, snapshot } = explanation
  const isCaptured = caller.isCaptured ? 'captured' : 'not captured: its traffic passes the mesh by'
  const { inForce, others, rules, outcome } = explanation
  const told = outcomeLines(explanation)
  const lines = [
    ...step([`caller ${caller.pod}, on node ${node}, ${isCaptured}`, `identity ${caller.identity ?? 'none'}`]),
    ...step([
      `dials ${dialled.address}: ${dialled.stands}`,
      ...(dialled.protocol === null ? [] : [`protocol ${dialled.protocol}`]),
    ]),
    ...step([
      inForce === null ? 'no VirtualService is in force' : `${inForce} is in force`,
      ...others.map(({ object, why }) => `not ${object}: ${why}`),
      ...rules.flatMap(ruleLines),
    ]),
    ...(outcome.kind === 'forward' ? told : step(told)), // each destination is a step of its own
    `(snapshot ${snapshot} of the node’s agent)`,
  ]
  return lines.map((line) => `${printable(line)}\n`).join('')
}

/** What follows from a line stands beneath it. */
function step([first = '', ...rest]: readonly string[]): string[] {
  return [first, ...rest.map((line) => INDENT + line)]
}

function ruleLines({ object, field, name, verdict, failed }: Explanation['rules'][number]): string[] {
  const said = {
    decides: 'decides',
    delegates: 'matches, and delegates',
    failed: 'does not match',
    behind: 'is behind it',
  }
  const called = name === '' ? '' : ` (${name})`
  const why = failed.map(({ field: at, why: reason }) => `${at} ${reason}`).join('; ')
  return [`${object} ${field}${called} ${said[verdict]}${why === '' ? '' : `: ${why}`}`]
}

function outcomeLines({ outcome }: Explanation): string[] {
  switch (outcome.kind) {
    case 'none':
      return [`goes nowhere: ${outcome.code}`, outcome.why]
    case 'answer':
      return [
        ...injectedLines(outcome),
        `is answered here: ${outcome.status} (${outcome.how})`,
        ...outcome.fields.map(([name, value]) => `${name}: ${value}`),
      ]
    case 'forward':
      return forwardLines(outcome)
  }
}

function forwardLines({ shares, mirrors, delay, abort }: ExplainedForward): string[] {
  return [
    ...injectedLines({ delay, abort }),
    ...shares.flatMap(shareLines),
    ...mirrors.map(({ percent, destination }) => `${percent} % are copied to ${destination}`),
  ]
}

function injectedLines({ delay, abort }: Fault): string[] {
  const grpc = abort === null || abort.grpcStatus === null ? '' : `, gRPC calls with grpc-status ${abort.grpcStatus}`
  return [
    ...(delay === null ? [] : [`${delay.percent} % wait ${delay.ms} ms (injected)`]),
    ...(abort === null ? [] : [`${abort.percent} % are answered ${abort.status}${grpc} (injected)`]),
  ]
}

function shareLines(share: ExplainedShare): string[] {
  const { percent, destination, isKnown, endpoints, retries, timeoutMs, limits, outliers, rules } = share
  const head = `${percent === 100 ? 'goes' : `${Number(percent.toFixed(1))} % go`} to ${destination}`
  if (!isKnown) return [`${head}, which is not known: 503`]
  const detail = [
    ...(share.target === null ? [] : [`path sent: ${share.target}`]),
    ...(share.authority === null ? [] : [`host sent: ${share.authority}`]),
    ...(rules.length === 0 ? [] : [`DestinationRule ${rules.join(', ')}`]),
    `balancer ${share.balancer}`,
    timeoutMs === null || timeoutMs === 0 ? 'no timeout' : `timeout ${timeoutMs} ms`,
    retries === null ? 'no retries' : retryText(retries),
    ...changeLines(share),
    ...Object.entries(limits).map(
      ([name, limit]) => `${name} ${typeof limit === 'object' ? JSON.stringify(limit) : limit}`,
    ),
    ...(outliers === null
      ? []
      : [`ejects after ${outliers.consecutive5xx} failures in a row, for ${outliers.baseEjectionMs} ms and more`]),
    ...(endpoints.length === 0 ? ['no endpoint serves: 503 UH'] : []),
    ...endpoints.map(endpointText),
    ...share.verdicts.flatMap(verdictLines),
    ...(share.unjudged === 0 ? [] : [`${share.unjudged} more pods that policies are for were not asked about`]),
  ]
  return [head, ...detail.map((line) => INDENT + line)]
}

function endpointText({
  address,
  pod,
  node,
  locality,
  percent,
  state,
  link,
}: ExplainedShare['endpoints'][number]): string {
  const at = [pod, node === null ? null : `on ${node}`, locality === null ? null : `in ${locality}`]
  const where = at.filter((one) => one !== null).join(' ')
  return `endpoint ${address}${where === '' ? '' : ` ${where}`}: ${state}, ${Math.round(percent)} %, reached ${link}`
}

function retryText({ attempts, perTryMs, on }: NonNullable<ExplainedShare['retries']>): string {
  return `${attempts} retries on ${on.join(', ')}${perTryMs === null ? '' : `, ${perTryMs} ms a try`}`
}

function changeLines({ changes }: ExplainedShare): string[] {
  if (changes === null) return []
  return (['request', 'response'] as const).flatMap((end) =>
    changes[end].flatMap(({ remove, set, add }) => [
      ...remove.map((name) => `${end} header ${name} is removed`),
      ...set.map(([name, value]) => `${end} header ${name} is set: ${value}`),
      ...add.map(([name, value]) => `${end} header ${name} is added: ${value}`),
    ]),
  )
}

/** Names and values come from objects of others: nothing in them may steer the terminal. */
function printable(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ')
}
