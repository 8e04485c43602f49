// What weft analyze found, for people: by object, each finding on a line of its own as compilers write it. Pure.

import { SEVERITIES } from '../model/analysis/codes.ts'
import { nameOf } from '../model/analysis/world.ts'
import type { Located } from '../kube/offline.ts'
import { printable } from './status-text.ts'

/** All that was found, and of how many objects that bear on the mesh. */
export interface Report {
  readonly findings: readonly Located[]
  readonly objects: number
}

/** Renders all of it; ends with a newline. */
export function analysisText({ findings, objects }: Report): string {
  const looked = counted(objects, 'object')
  if (findings.length === 0) return `no findings in ${looked}\n`
  const byObject = Map.groupBy(findings, ({ object }) => nameOf(object))
  const parts = [...byObject].map(([name, own]) => [printable(name), ...own.map(findingText)].join('\n  '))
  const counts = SEVERITIES.flatMap((severity) => {
    const count = findings.filter((finding) => finding.severity === severity).length
    return count === 0 ? [] : [severity === 'info' ? `${count} info` : counted(count, severity)]
  })
  return `${[...parts, `${counts.join(', ')} in ${byObject.size} of ${looked}`].join('\n\n')}\n`
}

/** As JSON: an array, one object a finding. Its fields and the codes stay as they are. */
export function analysisJson({ findings }: Report): string {
  const all = findings.map(({ code, severity, object, field, message, file, line }) => {
    return { code, severity, ...object, field, message, file, line }
  })
  return `${JSON.stringify(all, null, 2)}\n`
}

/** `routes.yaml:12: error WEFT0202: spec.http[0].route[0].destination.host: …` */
function findingText({ code, severity, field, message, file, line }: Located): string {
  const place = file === null ? '' : `${file}:${line ?? 1}: `
  return printable(`${place}${severity} ${code}: ${field === '' ? '' : `${field}: `}${message}`)
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
