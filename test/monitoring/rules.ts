// The chart's rules and dashboard as tests read them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { PROJECT } from '../../lab/state.ts'

export const RULES_FILE = join(PROJECT, 'charts/weft/rules/weft.yaml')
export const DASHBOARD_FILE = join(PROJECT, 'charts/weft/dashboards/weft.json')

/** One rule of a Prometheus rules file: an alert or a recording. */
export interface Rule {
  readonly alert?: string
  readonly record?: string
  readonly expr: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

/** All rules, of all groups. */
export function rulesOf(text: string): Rule[] {
  const { groups } = parse(text) as { groups: { rules: Rule[] }[] }
  return groups.flatMap(({ rules }) => rules)
}

/** A query of the dashboard, with the title of its panel. */
export interface Query {
  readonly panel: string
  readonly expr: string
}

interface Panel {
  readonly title: string
  readonly type: string
  readonly targets?: readonly { readonly expr: string }[]
}

/** The dashboard's variables, what stands for them where a test asks Prometheus itself. */
const VARIABLES: Readonly<Record<string, string>> = {
  $__rate_interval: '1m',
  $__range: '5m',
  $cluster: '.*',
  $namespace: '.*',
  $reporter: 'destination',
}

/** The queries of all panels, variables replaced. Throws where one is left over. */
export function queriesOf(dashboard: string): Query[] {
  const { panels } = JSON.parse(dashboard) as { panels: Panel[] }
  return panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => {
      const replaced = Object.entries(VARIABLES).reduce((text, [name, value]) => text.replaceAll(name, value), expr)
      if (replaced.includes('$')) throw new Error(`${title}: a variable is not known: ${replaced}`)
      return { panel: title, expr: replaced }
    }),
  )
}

export const readRules = (): Rule[] => rulesOf(readFileSync(RULES_FILE, 'utf8'))
export const readQueries = (): Query[] => queriesOf(readFileSync(DASHBOARD_FILE, 'utf8'))
