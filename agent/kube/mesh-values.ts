// Single values of the mesh's settings. Each check gives what a value means, or throws Rejected with the path of its field.

import { Rejected } from './translate.ts'

export function mappingOf(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new Rejected(path, 'must be a mapping of fields')
}

export function listOf<T>(value: unknown, path: string, entryOf: (entry: unknown, path: string) => T): readonly T[] {
  if (!Array.isArray(value)) throw new Rejected(path, 'must be a list')
  return value.map((entry, index) => entryOf(entry, `${path}[${index}]`))
}

export function textOf(value: unknown, path: string): string {
  if (typeof value === 'string') return value
  throw new Rejected(path, 'must be text')
}

export function truthOf(value: unknown, path: string): boolean {
  if (typeof value === 'boolean') return value
  throw new Rejected(path, 'must be true or false')
}

/** A whole number within bounds, both of them among it. */
export function numberOf(value: unknown, path: string, [least, most]: readonly [number, number]): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
  throw new Rejected(path, `must be a whole number from ${least} to ${most}`)
}

export function oneOf<T extends string>(choices: readonly T[], value: unknown, path: string): T {
  const found = choices.find((choice) => choice === value)
  if (found !== undefined) return found
  throw new Rejected(path, `must be ${choices.join(' or ')}`)
}
