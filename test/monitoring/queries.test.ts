// Every query of the rules and of the dashboard names series and labels that there are; document, rules and dashboard agree.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { stringify } from 'yaml'
import { renderControllerSeries } from '../../agent/telemetry/controller-series.ts'
import { renderNodeSeries } from '../../agent/telemetry/node-series.ts'
import { SERIES } from '../../agent/telemetry/series.ts'
import { readExposition } from '../../lab/demo/exposition.ts'
import { PROJECT } from '../../lab/state.ts'
import { ran } from '../lab/lab.ts'
import { DASHBOARD_FILE, readQueries, readRules } from './rules.ts'

/** What targets and federation give each series. */
const OF_TARGETS = ['job', 'instance', 'node', 'cluster']
/** Series that are not the mesh's: Prometheus' own, and kube-state-metrics'. */
const OF_OTHERS: Readonly<Record<string, readonly string[]>> = {
  up: ['pod'],
  kube_daemonset_status_desired_number_scheduled: ['daemonset', 'namespace'],
  kube_daemonset_status_number_ready: ['daemonset', 'namespace'],
}

/** One of everything that a node may have to say, so that every series of it is rendered. */
const NODE_FACTS = {
  ...{ snapshotVersion: 1, capturedPods: 1, uncaptured: new Map([['hostNetwork', 1]]), kernel: { lost: 1 } },
  problems: [{ object: { kind: 'VirtualService', namespace: 'a', name: 'b' }, field: 'spec', reason: 'r' }],
  traffic: [
    {
      ...{ namespace: 'a', pod: 'b', direction: 'inbound', passage: 'proxy', opened: 1, closed: 1 },
      ...{ sentBytes: 1, receivedBytes: 1, retransmits: 1, srttUs: 1 },
    },
  ],
  ...{ older: [{ namespace: 'a', pod: 'b', count: 1 }], olderClosed: 1 },
  certificates: [{ uri: 'spiffe://a', notAfterMs: 1, failure: 'f' }],
  lacks: ['l'],
}
const CONTROLLER_FACTS = {
  ...{ leads: true, writes: { statuses: 1, events: 1 }, failures: 1, pending: 1 },
  warnings: [{ kind: 'VirtualService', condition: 'Conflicted', count: 1 }],
  signing: { signed: 1, denied: 1, failures: 1, pending: 1, notAfterSeconds: 1 },
}

/** Labels by the name of a series, as the code of agents and controllers renders them. */
async function knownSeries(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const rendered = `${await renderNodeSeries(NODE_FACTS)}\n${await renderControllerSeries(CONTROLLER_FACTS)}`
  const known = new Map<string, ReadonlySet<string>>(
    readExposition(rendered).map(({ name, labels }) => [name, new Set([...Object.keys(labels), ...OF_TARGETS])]),
  )
  for (const [name, { kind, labels }] of Object.entries(SERIES)) {
    const all = new Set([...labels, ...OF_TARGETS])
    if (kind !== 'histogram') known.set(name, all)
    else for (const part of ['bucket', 'sum', 'count']) known.set(`${name}_${part}`, new Set([...all, 'le']))
  }
  for (const [name, labels] of Object.entries(OF_OTHERS)) known.set(name, new Set([...labels, ...OF_TARGETS]))
  for (const { record, expr } of readRules()) if (record !== undefined) known.set(record, new Set(groupedBy(expr)))
  return known
}

/** The labels that an expression groups and joins by. */
function groupedBy(expr: string): string[] {
  const lists = [...expr.matchAll(/\b(?:by|on|without)\s*\(([^)]*)\)/g)].map(([, list = '']) => list)
  return lists.flatMap((list) => list.split(',').map((label) => label.trim()))
}

/** The series that an expression selects, with the labels that it selects them by. */
function selectorsOf(expr: string): { readonly name: string; readonly labels: readonly string[] }[] {
  const bare = expr.replace(/\b(by|on|without)\s*\([^)]*\)/g, '')
  const labelsIn = (matchers: string): string[] =>
    [...matchers.matchAll(/(\w+)\s*[=!]~?[=~]?\s*"/g)].map(([, name = '']) => name)
  const named = [...bare.matchAll(/\b((?:weft|istio|kube|destination_service:)[\w:]*|up)\b(?!")(?:\{([^}]*)\})?/g)]
    .filter(({ index }) => !isQuoted(bare, index))
    .map(([, name = '', matchers = '']) => ({ name, labels: labelsIn(matchers) }))
  const byPattern = [...bare.matchAll(/\{__name__=~"([^"]*)",([^}]*)\}/g)].flatMap(([, names = '', matchers = '']) =>
    names.split('|').map((name) => ({ name, labels: labelsIn(matchers) })),
  )
  return [...named, ...byPattern]
}

const isQuoted = (text: string, at: number): boolean => (text.slice(0, at).match(/"/g)?.length ?? 0) % 2 === 1

const queries = [
  ...readQueries().map(({ panel, expr }) => ({ at: `panel ${panel}`, expr })),
  ...readRules().map(({ alert, record, expr }) => ({ at: alert ?? record ?? '', expr })),
]

test('every series and every label that is asked for is one that is rendered', async () => {
  const known = await knownSeries()
  const unknown = queries.flatMap(({ at, expr }) => {
    const selected = selectorsOf(expr)
    const grouped = groupedBy(expr).filter(
      (label) => !selected.some(({ name }) => known.get(name)?.has(label) === true),
    )
    const amiss = selected.flatMap(({ name, labels }) => {
      const has = known.get(name)
      return has === undefined ? [name] : labels.filter((label) => !has.has(label)).map((label) => `${name}{${label}}`)
    })
    const none = selected.length === 0 ? ['no series at all'] : []
    return [...none, ...amiss, ...grouped.filter((label) => label !== 'le')].map((what) => `${at}: ${what}`)
  })
  assert.deepEqual(unknown, [])
})

test('selectors and groupings are found, words within quotes are not', () => {
  const expr = 'sum by (node) (rate(weft_a{x="weft_b",y!~"c"}[5m])) / on (cluster) up{job="weft-agent"}'
  assert.deepEqual(selectorsOf(expr), [
    { name: 'weft_a', labels: ['x', 'y'] },
    { name: 'up', labels: ['job'] },
  ])
  assert.deepEqual(groupedBy(expr), ['node', 'cluster'])
})

test('promtool reads every query of the dashboard', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-queries-test-'))
  const file = join(folder, 'queries.yaml')
  const rules = readQueries().map(({ expr }, index) => ({ record: `query:${String(index)}`, expr }))
  writeFileSync(file, stringify({ groups: [{ name: 'dashboard', rules }] }))
  const { code, stdout, stderr } = await ran('promtool', ['check', 'rules', file])
  rmSync(folder, { recursive: true })
  assert.equal(code, 0, stdout + stderr)
})

interface Panel {
  readonly id: number
  readonly title: string
  readonly description?: string
  readonly type: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly datasource: { readonly uid: string } }[]
}

test('panels have a place of their own, a sentence each, and the data source that is chosen', () => {
  const { panels } = JSON.parse(readFileSync(DASHBOARD_FILE, 'utf8')) as { panels: Panel[] }
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length)
  const taken = new Map<string, string>()
  for (const { title, type, description, gridPos, targets = [] } of panels) {
    if (type !== 'row') assert.match(description ?? '', /\.$/, title)
    for (const { datasource } of targets) assert.equal(datasource.uid, '${datasource}', title)
    assert.ok(gridPos.x + gridPos.w <= 24, title)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        const place = `${String(x)},${String(y)}`
        assert.equal(taken.get(place), undefined, `${title} lies on ${taken.get(place) ?? ''}`)
        taken.set(place, title)
      }
    }
  }
})

test('the document has a row for each alert: its severity, and where to read on', () => {
  const text = readFileSync(join(PROJECT, 'docs/monitoring.md'), 'utf8')
  const rows = [...text.matchAll(/^\| `(\w+)`\s*\| (\w+)\s*\|.*\(([^)]+)\)\s*\|$/gm)].map(([, ...cells]) => cells)
  const alerts = readRules().flatMap(({ alert, labels, annotations }) =>
    alert === undefined ? [] : [[alert, labels?.['severity'], annotations?.['runbook']?.replace('docs/', '')]],
  )
  assert.deepEqual(rows, alerts)
})
