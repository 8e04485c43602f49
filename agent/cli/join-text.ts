// A plan to join or to leave, and how it ended, for people. Pure.

import { nameOf } from '../model/analysis/world.ts'
import type { Fate } from '../model/joining/fates.ts'
import { counted, isAboutStrict, type Plan } from '../model/joining/plan.ts'
import { type Guard, type ModeGroup, saysStrict } from '../model/joining/policies.ts'
import type { Deed } from '../model/joining/scene.ts'
import type { Outcome } from './join-wait.ts'
import { printable, table } from './status-text.ts'

/** Names that are told of a list; of the others their number. */
const NAMED_MOST = 6
const NOTHING = '-'

/** Renders a plan; ends with a newline. `dryRun`: nothing of it is done. */
export function planText(plan: Plan, dryRun: boolean): string {
  const sections: readonly [string, readonly string[]][] = [
    ['Needs care', plan.cares],
    ['Protocols', protocolLines(plan)],
    ['Exclusions', exclusionLines(plan)],
    ['Policies', policyLines(plan)],
    ['To know', plan.pods.some(({ kind }) => kind === 'changes' || kind === 'waits') ? knowLines(plan) : []],
  ]
  const shown = sections.flatMap(([title, lines]) => (lines.length === 0 ? [] : [section(title, lines)]))
  const pods = plan.pods.length === 0 ? [] : [podTable(plan)]
  return `${[headText(plan, dryRun), ...pods, `${summary(plan)}`, ...shown].join('\n\n')}\n`
}

/** Renders how it ended; ends with a newline. */
export function outcomeText(deed: Deed, { complete, done, gone, missing, tookMs }: Outcome): string {
  const word = deed === 'join' ? 'captured' : 'released'
  const went = gone === 0 ? '' : `, ${counted(gone, 'pod')} ended meanwhile`
  const sum = `\n${done} of ${done + missing.length} pods ${word} after ${(tookMs / 1000).toFixed(1)} s${went}\n`
  if (complete) return sum
  return `${sum}${missing.map(({ name, reason }) => `  ${printable(name)}: ${printable(reason)}\n`).join('')}`
}

function section(title: string, lines: readonly string[]): string {
  return [`${title}:`, ...lines.map((line) => `  ${printable(line)}`)].join('\n')
}

function headText({ deed, namespace, change }: Plan, dryRun: boolean): string {
  const { annotation, label, notes } = change
  const will = (verb: string): string => (dryRun ? `would be ${verb}` : `is ${verb}`)
  const deeds = [
    ...(annotation === null ? [] : [annotation.to === null ? will('taken away') : will('written')]),
    ...(label === null
      ? []
      : [annotation === null ? `the label of that name ${will('taken away')}` : 'the label of that name, too']),
  ]
  const what = deed === 'join' ? 'joins the mesh' : 'leaves the mesh'
  const done = deeds.length === 0 ? 'nothing is to be written' : `weft.dev/mesh=enabled ${deeds.join(', ')}`
  const head = `Namespace ${namespace} ${what}${dryRun ? ' (dry run)' : ''}: ${done}`
  return [head, ...notes.map((note) => `  ${printable(note)}`)].join('\n')
}

function podTable({ deed, pods }: Plan): string {
  const order = (one: Fate, other: Fate): number => (one.node ?? '~').localeCompare(other.node ?? '~', 'en')
  const rows = [...pods].sort(order).map(({ node, name, kind, reason, captured }) => {
    return [node ?? NOTHING, name, becomes(deed, { kind, captured }), reason ?? NOTHING]
  })
  return table([['NODE', 'POD', 'BECOMES', 'REASON'], ...rows])
}

function becomes(deed: Deed, { kind, captured }: Pick<Fate, 'kind' | 'captured'>): string {
  switch (kind) {
    case 'changes':
      return deed === 'leave' ? 'released' : captured ? 'captured (is so)' : 'captured'
    case 'waits':
      return 'captured later'
    case 'cannot':
      return 'not captured'
    case 'stays':
      return deed === 'leave' ? 'stays in the mesh' : 'stays out'
    case 'apart':
      return NOTHING
  }
}

/** `3 of 5 pods are captured: 2 on node-1, 1 on node-2`. */
function summary({ deed, pods }: Plan): string {
  const changing = pods.filter(({ kind }) => kind === 'changes')
  const byNode = [...Map.groupBy(changing, ({ node }) => node ?? NOTHING)].sort()
  const places = byNode.map(([node, own]) => `${own.length} on ${node}`).join(', ')
  const word = deed === 'join' ? 'captured' : 'released'
  const counts = (['waits', 'cannot', 'stays'] as const).flatMap((kind) => {
    const count = pods.filter((fate) => fate.kind === kind).length
    return count === 0 ? [] : [`${count} ${becomes(deed, { kind, captured: false })}`]
  })
  return [`${changing.length} of ${counted(pods.length, 'pod')} ${word}${places && `: ${places}`}`, ...counts].join(
    '; ',
  )
}

function protocolLines({ ports: { hints, undeclared } }: Plan): readonly string[] {
  const lines = hints
    .filter(({ declares }) => declares === 'sniff')
    .map(({ service, port, protocol, speaks, by }) => {
      const cost =
        speaks === 'server'
          ? 'the server speaks first: each new connection waits --sniff-ms (100 ms) for bytes of its caller'
          : 'no HTTP: found out from the first bytes'
      return `Service ${service} port ${port} looks like ${protocol} (${by}), ${cost}. Declare appProtocol: tcp, or name it tcp-${protocol}`
    })
  if (undeclared === 0) return lines
  const rest = `${counted(undeclared, 'other port')} of Services declare${undeclared === 1 ? 's' : ''} no protocol: first bytes tell`
  return [...lines, lines.length === 0 ? rest.replace('other port', 'port') : rest]
}

function exclusionLines({ exclusions }: Plan): readonly string[] {
  return exclusions.map(({ excludeInboundPorts, excludeOutboundPorts, excludeOutboundCidrs, pods }) => {
    const parts = [
      ...(excludeInboundPorts.length === 0 ? [] : [`in at ports ${excludeInboundPorts.join(', ')}`]),
      ...(excludeOutboundPorts.length === 0 ? [] : [`out to ports ${excludeOutboundPorts.join(', ')}`]),
      ...(excludeOutboundCidrs.length === 0 ? [] : [`out to ${excludeOutboundCidrs.join(', ')}`]),
    ]
    return `${named(pods)}: past the mesh ${parts.join('; ')}`
  })
}

function policyLines(plan: Plan): readonly string[] {
  const { deed, modes, guards, routes, doors, findings } = plan
  const holds = deed === 'join' ? 'holds for' : 'no longer holds for'
  return [
    ...modes.filter((group) => deed === 'join' || saysStrict(group)).map((group) => modeLine(deed, group)),
    ...guards.map((guard) => `${guardText(guard)}: ${holds} ${counted(guard.pods, 'pod')}`),
    ...(routes.length === 0 ? [] : [`${named(routes.map(nameOf))}: ${holds} what these pods call`]),
    ...doors.map(({ service, by, refused }) => {
      if (deed === 'leave') return `Service ${service} (${by}) has callers outside of the cluster`
      const how = refused ? 'STRICT refuses them' : 'they are taken in plaintext, as they come'
      return `Service ${service} (${by}) has callers outside of the cluster: ${how}`
    }),
    ...findings
      .filter(({ severity }) => severity !== 'error')
      .map(({ code, object, message }) => `${code} ${nameOf(object)}: ${message}`),
  ]
}

function modeLine(deed: Deed, { mode, ports, by, pods }: ModeGroup): string {
  const other = Object.entries(ports).map((each) => each.join(' '))
  const shown = `${mode}${other.length === 0 ? '' : ` (${other.join(', ')})`}`
  const source = by === null ? 'no PeerAuthentication' : nameOf(by)
  return deed === 'join'
    ? `${shown} (${source}): ${named(pods)}`
    : `${shown} (${source}) no longer holds for ${named(pods)}: plaintext is taken from anybody`
}

function guardText({ ref, action, dryRun }: Guard): string {
  return action === null ? nameOf(ref) : `${nameOf(ref)} (${action}${dryRun ? ', dry run' : ''})`
}

function knowLines(plan: Plan): readonly string[] {
  const { deed, failClosed, outside, controller } = plan
  const unknown =
    controller === null ? ['whether a controller leads may not be read: without one no pod gets a certificate'] : []
  if (deed === 'leave') {
    return [
      'no pod is started anew; connections that the mesh carries go on, new ones go direct',
      'callers that are in the mesh call these pods in plaintext from now on, and these pods call so, without identity',
      ...(failClosed.length === 0
        ? []
        : [
            `${named(failClosed)} no longer fail${failClosed.length === 1 ? 's' : ''} closed: without an agent they are reached all the same`,
          ]),
    ]
  }
  return [
    'no pod is started anew; connections that are open go on past the mesh, new ones go through it',
    ...(isAboutStrict(plan)
      ? [
          `STRICT refuses plaintext: ${counted(outside, 'pod')} of the cluster ${outside === 1 ? 'is' : 'are'} outside of the mesh, and which pods outside call these is not known`,
          'plaintext that is older than the capture is reset after --strict-grace-seconds (300)',
        ]
      : []),
    ...(failClosed.length === 0
      ? []
      : [
          `fail-closed: ${named(failClosed)} refuse${failClosed.length === 1 ? 's' : ''} new connections while no agent runs, and for some 50 ms now`,
        ]),
    ...unknown,
  ]
}

function named(names: readonly string[]): string {
  const first = names.slice(0, NAMED_MOST).join(', ')
  return names.length <= NAMED_MOST ? first : `${first} and ${names.length - NAMED_MOST} more`
}
