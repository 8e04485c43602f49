// Finds the fields of a policy that Weft does not honour, so that none is dropped in silence.

/**
 * What is honoured of an object: `true` for a whole subtree, an object for the fields named in it (`*` stands for any
 * name), an array of one shape for lists.
 */
export type Shape = true | readonly [Shape] | { readonly [field: string]: Shape }

/** Paths of the fields in `value` that `shape` does not name, in the object's order: `spec.http[0].retries`. */
export function unhonoured(value: unknown, shape: Shape, path: string): string[] {
  if (shape === true || value === null || value === undefined) return []
  if (Array.isArray(value)) {
    if (!Array.isArray(shape)) return [path]
    return value.flatMap((entry, index) => unhonoured(entry, shape[0] as Shape, `${path}[${index}]`))
  }
  if (typeof value !== 'object') return []
  const fields = shape as { readonly [field: string]: Shape }
  return Object.entries(value).flatMap(([name, inner]) => {
    const known = Object.hasOwn(fields, name) ? fields[name] : fields['*']
    return known === undefined ? [`${path}.${name}`] : unhonoured(inner, known, `${path}.${name}`)
  })
}
