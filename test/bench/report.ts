// The tables of a benchmark, and what is said of its targets. Pure.

import type { Outcome } from './work.ts'

/** An outcome as text. */
export function table({ title, head, rows }: Pick<Outcome, 'title' | 'head' | 'rows'>): string {
  const isText = (column: number): boolean => rows.some((row) => /^[a-z]/.test(row[column] ?? '')) || column === 0
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((line) => line[column]?.length ?? 0)))
  const lines = [head, ...rows].map((line) =>
    line
      .map((cell, at) => (isText(at) ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
  return [title, ...lines].join('\n')
}

/** The targets of all, and whether they are met. */
export function targets(outcomes: readonly Outcome[]): string {
  const rows = outcomes.flatMap(({ verdicts }) => verdicts.map(({ target, measured, met }) => [target, measured, met]))
  return table({ title: 'Targets', head: ['target', 'measured', 'met'], rows })
}
