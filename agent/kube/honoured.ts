// Which fields of a policy Weft honours: a table a kind, so that none is dropped in silence.

/** A field that is not honoured, with all beneath it, and why. */
export class Reported {
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}

/** A field that is honoured, but for what the remark says: that is told where it is given. */
export class Limited {
  readonly remark: string
  constructor(remark: string) {
    this.remark = remark
  }
}

/**
 * What becomes of a field: `true` and Limited for a whole subtree, an object for the fields named in it (`*` stands for
 * any name), an array of one shape for lists.
 */
export type Shape = true | Limited | Reported | readonly [Shape] | { readonly [field: string]: Shape }

/** A field that is not honoured, by its path, and why. */
export interface Lack {
  readonly field: string
  readonly reason: string
}

/** The fields in `value` that are not honoured, in the object's order: `spec.http[0].match[0].statPrefix`. */
export function unhonoured(value: unknown, shape: Shape, path: string): Lack[] {
  if (shape === true || shape instanceof Limited || value === null || value === undefined) return []
  if (shape instanceof Reported) return [{ field: path, reason: shape.reason }]
  if (Array.isArray(value)) {
    if (!Array.isArray(shape)) return [unknown(path)]
    return value.flatMap((entry, index) => unhonoured(entry, shape[0] as Shape, `${path}[${index}]`))
  }
  if (typeof value !== 'object') return []
  const fields = shape as { readonly [field: string]: Shape }
  return Object.entries(value).flatMap(([name, inner]) => {
    const known = Object.hasOwn(fields, name) ? fields[name] : fields['*']
    return known === undefined ? [unknown(`${path}.${name}`)] : unhonoured(inner, known, `${path}.${name}`)
  })
}

function unknown(field: string): Lack {
  return { field, reason: 'this field is not honoured' }
}
