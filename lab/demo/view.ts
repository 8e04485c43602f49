// The demo's picture of the shop as lines of text. Pure: a scene in, lines out, never wider or longer than the terminal.
import type { Edge } from './edges.ts'

/** What the customer saw lately, for one kind of user. */
export interface Answers {
  readonly who: string
  readonly v1: number
  readonly v2: number
  readonly failed: number
}

export interface Scene {
  readonly title: string
  readonly route: string
  readonly edges: readonly Edge[]
  readonly answers: readonly Answers[]
  /** Newest last; `at` is a time of day. */
  readonly events: readonly { readonly at: string; readonly text: string }[]
  /** What to press, and what it does. */
  readonly keys: readonly (readonly [string, string])[]
}

export interface Screen {
  readonly columns: number
  readonly rows: number
  readonly color: boolean
}

type Tone = 'plain' | 'bold' | 'dim' | 'cyan' | 'magenta' | 'red' | 'green'
type Piece = readonly [text: string, tone: Tone]

const codes: Record<Tone, string> = {
  plain: '0',
  bold: '1',
  dim: '2',
  cyan: '36',
  magenta: '35',
  red: '31',
  green: '32',
}

const smallest = { columns: 20, rows: 4 }
const barColumns = { least: 10, most: 40 }

/** The scene as at most `rows` lines of at most `columns` characters each (escape codes not counted). */
export function render(scene: Scene, screen: Screen): string[] {
  const columns = Math.max(screen.columns, smallest.columns)
  const rows = Math.max(screen.rows, smallest.rows)
  const head: Piece[][] = [[[scene.title, 'bold'] as const, [`  route: ${scene.route}`, 'cyan'] as const], []]
  const edges = [edgeHeader, ...scene.edges.map(edgeLine), []]
  const answers: Piece[][] = [
    [['who answered the customer, last seconds', 'dim']],
    ...scene.answers.map((each) => answerLine(each, columns)),
    [],
  ]
  const foot: Piece[][] = [[], keyLine(scene.keys)]
  const left = rows - head.length - edges.length - answers.length - foot.length - 1
  const shown = left > 0 ? scene.events.slice(-left) : []
  const events: Piece[][] = left > 0 ? [[['what happened', 'dim']], ...shown.map(eventLine)] : []
  const lines = [...head, ...edges, ...answers, ...events].slice(0, rows - foot.length)
  return [...lines, ...foot].map((pieces) => painted(pieces, columns, screen.color))
}

/** One line a moment, for where there is no terminal to draw on. */
export function renderLine(scene: Scene): string {
  const edges = scene.edges.map(({ caller, callee, version, perSecond }) => {
    return `${caller}→${callee}${version && ` ${version}`} ${perSecond.toFixed(1)}/s`
  })
  const answers = scene.answers.map(({ who, ...counts }) => `${who}: ${shares(counts)}`)
  return [`route ${scene.route}`, ...answers, ...edges].join(' | ')
}

const edgeHeader: Piece[] = [
  ['who calls whom'.padEnd(36) + 'calls/s'.padStart(9) + 'fine'.padStart(9), 'dim'],
  ['     p50', 'dim'],
]

function edgeLine({ caller, callee, version, perSecond, fine, medianMs }: Edge): Piece[] {
  const to = version === '' ? callee : `${callee} ${version}`
  const took = medianMs === null ? '–' : `${medianMs < 10 ? medianMs.toFixed(1) : Math.round(medianMs)} ms`
  return [
    [`  ${caller}`.padEnd(16), 'plain'],
    [` → ${to}`.padEnd(20), versionTone(version)],
    [perSecond.toFixed(1).padStart(9), 'plain'],
    [`${(fine * 100).toFixed(1)} %`.padStart(9), fine < 1 ? 'red' : 'green'],
    [took.padStart(9), 'plain'],
  ]
}

const versionTone = (version: string): Tone => (version === 'v2' ? 'magenta' : version === '' ? 'red' : 'cyan')

function answerLine({ who, v1, v2, failed }: Answers, columns: number): Piece[] {
  const name: Piece = [`  ${who}`.padEnd(12), 'plain']
  const total = v1 + v2 + failed
  if (total === 0) return [name, ['no answers yet', 'dim']]
  const width = Math.min(barColumns.most, Math.max(barColumns.least, columns - 46))
  const first = Math.round((v1 / total) * width)
  const second = Math.min(width - first, Math.round((v2 / total) * width))
  return [
    name,
    ['█'.repeat(first), 'cyan'],
    ['▓'.repeat(second), 'magenta'],
    ['░'.repeat(width - first - second), 'red'],
    [`  ${shares({ v1, v2, failed })}`, 'plain'],
  ]
}

function shares({ v1, v2, failed }: { v1: number; v2: number; failed: number }): string {
  const total = v1 + v2 + failed
  if (total === 0) return 'no answers'
  const parts = Object.entries({ v1, v2, failed }).filter(([, count]) => count > 0)
  return parts.map(([name, count]) => `${name} ${((count / total) * 100).toFixed(0)} %`).join(', ')
}

const eventLine = ({ at, text }: Scene['events'][number]): Piece[] => [
  [`  ${at}  `, 'dim'],
  [text, 'plain'],
]

const keyLine = (keys: Scene['keys']): Piece[] =>
  keys.flatMap(([key, does]): Piece[] => [
    [`${key} `, 'bold'],
    [`${does}  `, 'dim'],
  ])

/** Pieces side by side, cut at the edge of the screen. Control characters, which could move the cursor, are shown as dots. */
function painted(pieces: readonly Piece[], columns: number, color: boolean): string {
  let room = columns
  let line = ''
  for (const [text, tone] of pieces) {
    const chars = [...text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '·')].slice(0, room)
    room -= chars.length
    if (chars.length > 0)
      line += color && tone !== 'plain' ? `\u001b[${codes[tone]}m${chars.join('')}\u001b[0m` : chars.join('')
  }
  return line
}
