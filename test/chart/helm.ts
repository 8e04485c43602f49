// What helm makes of the chart.

import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parseAllDocuments } from 'yaml'
import { findHelm, NO_HELM } from '../helm.ts'

export const CHART = join(import.meta.dirname, '../../charts/weft')
const RUN_TIMEOUT_MS = 60_000

/** Runs helm; gives what it said. Throws with its words where it fails. No cluster is asked, no file of a user read. */
export async function helm(args: readonly string[]): Promise<string> {
  const program = findHelm()
  if (program === null) throw new Error(NO_HELM)
  const nowhere = join(tmpdir(), 'weft-chart-test')
  const env = { ...process.env, HELM_CACHE_HOME: nowhere, HELM_CONFIG_HOME: nowhere, HELM_DATA_HOME: nowhere }
  const { stdout } = await promisify(execFile)(program, [...args], {
    env,
    timeout: RUN_TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
  })
  return stdout
}

// Objects of any kind: their shape is what the assertions are about.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Rendered = any

export interface Order {
  /** Values as JSON, laid over the chart's own. */
  readonly values?: object
  readonly namespace?: string
  readonly more?: readonly string[]
}

/** The objects that an installation would make, in helm's order, its hooks among them. */
export async function render({ values = {}, namespace = 'weft-system', more = [] }: Order = {}): Promise<Rendered[]> {
  const given = Object.entries(values).flatMap(([name, value]) => ['--set-json', `${name}=${JSON.stringify(value)}`])
  const text = await helm(['template', 'weft', CHART, '--namespace', namespace, ...given, ...more])
  return parseAllDocuments(text)
    .map((document) => document.toJS() as unknown)
    .filter((object) => object !== null)
}

/** The one object of this kind and name. Throws where there is none, or more than one. */
export function one(objects: readonly Rendered[], kind: string, name: string): Rendered {
  const all = objects.filter((object) => object.kind === kind && object.metadata.name === name)
  if (all.length !== 1) throw new Error(`${all.length} of ${kind} ${name}`)
  return all[0]
}
