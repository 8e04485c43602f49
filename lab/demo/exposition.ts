// Reads the Prometheus text format (version 0.0.4) as far as an agent's /metrics needs it.

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const sampleBound = 100_000
const line = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*$/
const label = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"[, ]*/gy

/** Every sample of an exposition. Comments are passed over; a line that is neither throws, with the line. */
export function readExposition(text: string): Sample[] {
  const samples: Sample[] = []
  for (const raw of text.split('\n')) {
    const trimmed = raw.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    if (samples.length >= sampleBound) throw new Error(`more than ${sampleBound} samples`)
    samples.push(readSample(trimmed))
  }
  return samples
}

function readSample(text: string): Sample {
  const [, name, inner = '', figure = ''] = line.exec(text) ?? []
  if (name === undefined) throw new Error(`not a sample: ${text.slice(0, 200)}`)
  const value = readFigure(figure)
  if (Number.isNaN(value) && figure !== 'NaN') throw new Error(`not a figure: ${text.slice(0, 200)}`)
  return { name, labels: readLabels(inner, text), value }
}

function readLabels(inner: string, text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  label.lastIndex = 0
  let read = 0
  for (let found = label.exec(inner); found; found = label.exec(inner)) {
    labels[found[1] ?? ''] = unescaped(found[2] ?? '')
    read = label.lastIndex
  }
  if (read !== inner.length) throw new Error(`not labels: ${text.slice(0, 200)}`)
  return labels
}

const unescaped = (value: string): string => value.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char))

function readFigure(text: string): number {
  if (/^[+-]?Inf$/.test(text)) return text.startsWith('-') ? -Infinity : Infinity
  return Number(text)
}
