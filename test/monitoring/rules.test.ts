// The chart's alerts by promtool: each fires when it should, with the words that it should, and not otherwise.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { stringify } from 'yaml'
import { ran } from '../lab/lab.ts'
import { type AlertCase, ALERT_CASES } from './alert-cases.ts'
import { readRules, type Rule, RULES_FILE } from './rules.ts'

/** After so many minutes a case is asked for its alert, unless it says another. */
const ASKED_AFTER_MINUTES = 20

const folder = mkdtempSync(join(tmpdir(), 'weft-rules-test-'))
after(() => rmSync(folder, { recursive: true }))

const alerts = readRules().filter((rule): rule is Rule & { alert: string } => rule.alert !== undefined)

/** An annotation's text as Prometheus makes it of its template: those that the chart uses, no others. */
function shown(template: string, { labels, value }: AlertCase): string {
  const text = template
    .replace(/\{\{\s*\$labels\.(\w+)\s*\}\}/g, (_, name: string) => labels[name] ?? '')
    .replace(/\{\{\s*\$value(?: \| \w+)?\s*\}\}/g, value)
  assert.doesNotMatch(text, /\{\{/)
  return text
}

function unitTests(rule: Rule & { alert: string }, alertCase: AlertCase): object[] {
  const { alert, labels = {}, annotations = {} } = rule
  const { fires, quiet, at = ASKED_AFTER_MINUTES } = alertCase
  const texts = Object.entries(annotations).map(([name, template]) => [name, shown(template, alertCase)])
  const expected = { exp_labels: { ...labels, ...alertCase.labels }, exp_annotations: Object.fromEntries(texts) }
  const unit = (input: AlertCase['fires'], expectations: object[]): object => ({
    interval: '1m',
    input_series: Object.entries(input).map(([series, values]) => ({ series, values })),
    alert_rule_test: [{ eval_time: `${String(at)}m`, alertname: alert, exp_alerts: expectations }],
  })
  return [unit(fires, [expected]), ...quiet.map((input) => unit(input, []))]
}

test('promtool takes the rules', async () => {
  const { code, stdout, stderr } = await ran('promtool', ['check', 'rules', RULES_FILE])
  assert.equal(code, 0, stdout + stderr)
})

test('each alert has a case, and each case an alert', () => {
  assert.deepEqual(Object.keys(ALERT_CASES).sort(), alerts.map(({ alert }) => alert).sort())
})

test('each alert says how bad it is, what it means, and where to read on', () => {
  for (const { alert, labels, annotations = {} } of alerts) {
    assert.match(labels?.['severity'] ?? '', /^(critical|warning|info)$/, alert)
    assert.deepEqual(Object.keys(annotations), ['summary', 'description', 'runbook'], alert)
    assert.match(annotations['runbook'] ?? '', /^docs\/[\w-]+\.md#[\w-]+$/, alert)
  }
})

for (const rule of alerts) {
  const alertCase = ALERT_CASES[rule.alert]
  if (alertCase === undefined) continue
  test(`${rule.alert} fires when it should, and not otherwise`, async () => {
    const file = join(folder, `${rule.alert}.yaml`)
    writeFileSync(
      file,
      stringify({ rule_files: [RULES_FILE], evaluation_interval: '1m', tests: unitTests(rule, alertCase) }),
    )
    const { code, stdout, stderr } = await ran('promtool', ['test', 'rules', file])
    assert.equal(code, 0, stdout + stderr)
  })
}
