// The status of the mesh for people: a table of agents, a table of pods, one line that sums it up. Pure.

import type { MeshPod, MeshStatus, NodeStatus } from './mesh-status.ts'

const NOTHING = '-'
const GAP = '   '

/** Renders all of it; ends with a newline. */
export function statusText(status: MeshStatus): string {
  const { agents, pods } = status
  const parts = [table([['NODE', 'AGENT', 'VERSION', 'STATE', 'REASON'], ...agents.map(agentRow)])]
  if (pods.length > 0) {
    const head = ['NAMESPACE', 'POD', 'NODE', 'STATE', 'MODE', 'CERTIFICATE', 'ON-LOSS', 'OLDER', 'REASON']
    parts.push(table([head, ...pods.map(podRow)]))
  }
  return `${[...parts, summary(status)].join('\n\n')}\n`
}

function agentRow({ node, agent, version, state, reasons }: NodeStatus): string[] {
  return [node, agent ?? NOTHING, version ?? NOTHING, state, reasons.join('; ') || NOTHING]
}

function podRow(pod: MeshPod): string[] {
  const { namespace, name, node, state, onLoss, olderConnections } = pod
  const reason = pod.reason ?? (hasStartWindow(pod) ? 'start window' : null)
  const older = olderConnections === null ? NOTHING : String(olderConnections)
  const shown = [state, modeText(pod), certificateText(pod), onLoss ?? NOTHING, older, reason ?? NOTHING]
  return [namespace, name, node ?? NOTHING, ...shown]
}

/** `STRICT`, or with other modes at some ports: `PERMISSIVE (8080 STRICT)`. */
function modeText({ modes }: MeshPod): string {
  if (modes === null) return NOTHING
  const others = Object.entries(modes.ports).filter(([, mode]) => mode !== modes.others)
  return others.length === 0 ? modes.others : `${modes.others} (${others.map((each) => each.join(' ')).join(', ')})`
}

/** Until when there is one, to the minute. */
function certificateText({ certificate }: MeshPod): string {
  const { notAfter = null } = certificate ?? {}
  return notAfter === null ? NOTHING : `until ${notAfter.slice(0, 16)}Z`
}

/** Whether it is to refuse plaintext somewhere. */
function isStrict({ modes }: MeshPod): boolean {
  return modes?.others === 'STRICT' || Object.values(modes?.ports ?? {}).includes('STRICT')
}

/** Whether it is to refuse plaintext, and ran before its capture did so. */
function hasStartWindow(pod: MeshPod): boolean {
  return isStrict(pod) && pod.state === 'captured' && pod.fromStart === false
}

/** Whether it is to refuse plaintext somewhere, and nobody sees to that. */
function isUnguarded(pod: MeshPod): boolean {
  const { state } = pod
  return isStrict(pod) && (state === 'uncaptured' || state === 'pending')
}

/** `2 of 2 agents ready, 5 of 6 joined pods captured`, and what else is worth a look. */
function summary({ agents, pods }: MeshStatus): string {
  const ready = agents.filter(({ state }) => state === 'ready').length
  const leaving = pods.filter(({ state }) => state === 'leaving').length
  const captured = pods.filter(({ state }) => state === 'captured').length
  const unguarded = pods.filter(isUnguarded).length
  const early = pods.filter(hasStartWindow)
  const older = pods.reduce((sum, pod) => sum + (pod.olderConnections ?? 0), 0)
  return [
    `${ready} of ${agents.length} agents ready`,
    `${captured} of ${pods.length - leaving} joined pods captured`,
    ...(leaving > 0 ? [`${leaving} leaving`] : []),
    ...(unguarded > 0 ? [`${unguarded} under STRICT ${unguarded === 1 ? 'is' : 'are'} not captured`] : []),
    ...(early.length > 0 ? [startWindowText(early, agents)] : []),
    ...(older > 0 ? [`${older} open connections are older than the capture and bypass the proxy`] : []),
  ].join(', ')
}

/** `2 under STRICT ran before they were captured (start window; node-1: CNI is off)`. */
function startWindowText(pods: readonly MeshPod[], agents: readonly NodeStatus[]): string {
  const nodes = new Set(pods.map(({ node }) => node))
  const reasons = agents.flatMap(({ node, startWindow = null }) =>
    startWindow !== null && nodes.has(node) ? [`${node}: ${startWindow}`] : [],
  )
  const what = ['start window', ...reasons].join('; ')
  return printable(
    `${pods.length} under STRICT ran before ${pods.length === 1 ? 'it was' : 'they were'} captured (${what})`,
  )
}

/** Columns padded to their longest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const shown = rows.map((row) => row.map(printable))
  const widths = (shown[0] ?? []).map((_, column) => Math.max(...shown.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]): string => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(GAP)
  return shown.map((row) => line(row).trimEnd()).join('\n')
}

/** Reasons come from other machines: nothing in them may steer the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ')
}
