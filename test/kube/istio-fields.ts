// Writes docs/istio-fields.md of the tables that translations go by; `--check` says whether it is as it would be written.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { format, resolveConfig } from 'prettier'
import { Limited, Reported, type Shape } from '../../agent/kube/honoured.ts'
import { DESTINATION_RULE_FIELDS, VIRTUAL_SERVICE_FIELDS } from '../../agent/kube/istio/fields.ts'
import { AUTHORIZATION_POLICY_FIELDS, REQUEST_AUTHENTICATION_FIELDS } from '../../agent/kube/istio/security-fields.ts'

/** Every kind that the page is about, and its table. */
export const KINDS = {
  VirtualService: VIRTUAL_SERVICE_FIELDS,
  DestinationRule: DESTINATION_RULE_FIELDS,
  AuthorizationPolicy: AUTHORIZATION_POLICY_FIELDS,
  RequestAuthentication: REQUEST_AUTHENTICATION_FIELDS,
} as const

export const PAGE = join(import.meta.dirname, '../../docs/istio-fields.md')

type Leaf = true | Limited | Reported

/** Fields by their path beneath `spec`, down to those that are no object: `http[].match[].headers.*.exact`. */
export function leavesOf(shape: Shape, path = ''): (readonly [path: string, leaf: Leaf])[] {
  return innerOf(shape, path)?.flatMap(([at, inner]) => leavesOf(inner, at)) ?? [[path, shape as Leaf]]
}

/** What a shape is made of, with paths; null for a leaf. */
function innerOf(shape: Shape, path: string): (readonly [path: string, inner: Shape])[] | null {
  if (shape === true || shape instanceof Limited || shape instanceof Reported) return null
  if (Array.isArray(shape)) return [[`${path}[]`, shape[0] as Shape]]
  return Object.entries(shape).map(([name, inner]) => [path === '' ? name : `${path}.${name}`, inner])
}

interface Row {
  readonly path: string
  readonly verdict: string
  readonly remark: string
}

/** The rows of the page about a kind. */
export function tableOf(kind: keyof typeof KINDS): readonly Row[] {
  return rowsOf(KINDS[kind], '', new Map())
}

/** Shapes that stand in several places are written out once. */
function rowsOf(shape: Shape, path: string, seen: Map<Shape, string>): Row[] {
  if (shape instanceof Reported) return [{ path, verdict: 'reported', remark: shape.reason }]
  if (shape instanceof Limited) return [{ path, verdict: 'honoured', remark: shape.remark }]
  if (shape === true) return [{ path, verdict: 'honoured', remark: '' }]
  const before = seen.get(shape)
  if (before !== undefined) return [{ path, verdict: '', remark: `as \`${before}\`` }]
  if (path !== '' && !Array.isArray(shape)) seen.set(shape, path)
  return (innerOf(shape, path) ?? []).flatMap(([at, inner]) => rowsOf(inner, at, seen))
}

const HEAD = `# Istio's fields, one by one

What becomes of each field of VirtualService and DestinationRule, on the caller's side, and of AuthorizationPolicy and
RequestAuthentication, on the callee's. An object is in force without the fields that are _reported_: its status, the log, \`/snapshot\` and \`weft_config_problem\` name each by its path, with the reason, as they do with fields
that have no effect beside others. An object that the CRD or Istio's own rules refuse is not in force, and its last sound version stays. Fields
that are in no table are reported, too, but in a rule of an AuthorizationPolicy: there they may narrow what it matches, and the object is
refused. Of the two that guard something an object that never was sound opens nothing for it: a rule of an ALLOW that cannot be meant
allows nothing, one of a DENY or CUSTOM matches whatever the rest of it does, and no token is good by such a rule of a
RequestAuthentication. Paths begin at \`spec\`, \`[]\` is each entry of a list, \`*\` any name.

This page is written by \`node test/kube/istio-fields.ts\`, of the tables that translations go by (\`agent/kube/istio/fields.ts\`,
\`agent/kube/istio/security-fields.ts\`).
`

/** The whole page as it is to be. */
export async function page(): Promise<string> {
  const parts = (Object.keys(KINDS) as (keyof typeof KINDS)[]).map((kind) => {
    const lines = tableOf(kind).map(({ path, verdict, remark }) => `| \`${path}\` | ${verdict} | ${remark} |`)
    return `\n## ${kind}\n\n| field | | |\n| --- | --- | --- |\n${lines.join('\n')}\n`
  })
  return format(`${HEAD}${parts.join('')}`, { ...(await resolveConfig(PAGE)), parser: 'markdown' })
}

if (import.meta.main) {
  const wanted = await page()
  if (!process.argv.includes('--check')) writeFileSync(PAGE, wanted)
  else if (readFileSync(PAGE, 'utf8') !== wanted) {
    console.error('docs/istio-fields.md is not of the tables: node test/kube/istio-fields.ts')
    process.exitCode = 1
  }
}
