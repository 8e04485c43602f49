// What a validator demands of one field beyond its type, found by giving it values that are far off: it names the bound that each breaks.

interface Violation {
  readonly instancePath: string
  readonly keyword: string
  readonly params: Readonly<Record<string, unknown>>
}

/** Judges a spec; gives all that is wrong with it. */
export type Asked = (spec: unknown) => readonly Violation[]

/** More than any bound of a text, a list or a map of these kinds (4096). */
const MANY = 5000

/** Values of each type that are far off, in every direction. Null is nothing that validators of this package object to. */
const FAR: Readonly<Record<string, readonly unknown[]>> = {
  string: ['', 'a'.repeat(MANY), '\u0000 \u0000'],
  number: [-1e30, 1e30, 0.5],
  array: [[], Array.from({ length: MANY }, () => null)],
  object: [{}, Object.fromEntries(Array.from({ length: MANY }, (_, at) => [`k${at}`, null]))],
  boolean: [],
}

const LIMITS = [
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
]
/** Formats that Kubernetes checks or that tell a reader the range; others say nothing to it. */
const FORMATS = new Set(['int32', 'int64', 'byte', 'date-time'])

/** Bounds of the field at a path beneath spec (0: an entry of a list). */
export function boundsOf(type: string, path: readonly (string | number)[], validate: Asked): Record<string, unknown> {
  const at = `/spec/${path.join('/')}`
  const violations = (FAR[type] ?? []).flatMap((value) => {
    return validate(within(path, value)).filter(({ instancePath }) => instancePath === at)
  })
  const bounds: Record<string, unknown> = {}
  for (const { keyword, params } of violations) {
    if (LIMITS.includes(keyword)) bounds[keyword] = params.limit
    else if (keyword === 'pattern') bounds.pattern = params.pattern
    else if (keyword === 'format' && FORMATS.has(String(params.format))) bounds.format = params.format
    else if (keyword === 'type' && params.type === 'integer') bounds.type = 'integer'
  }
  return bounds
}

/** A value with all that is around it on its path, and nothing else. */
function within(path: readonly (string | number)[], value: unknown): unknown {
  return path.reduceRight<unknown>((inner, step) => (typeof step === 'number' ? [inner] : { [step]: inner }), value)
}
