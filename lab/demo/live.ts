// The demo with a person: the shop's traffic on the terminal, routes at the press of a key.
import { emitKeypressEvents } from 'node:readline'
import type { Cluster } from './cluster.ts'
import type { Answer } from './customer.ts'
import { type Edge, edgesBetween, type Reading } from './edges.ts'
import { manifest, type Route, routes } from './routes.ts'
import { apply, join, namespace, stroll, tally, watchMetrics } from './shop.ts'
import { render, renderLine, type Scene } from './view.ts'

const callsPerSecond = 20
const windowMs = 5_000
const drawMs = { terminal: 500, lines: 5_000 }
const eventBound = 200
const unjoinedMs = 6_000

/** The shop from its door to its store room: the order of the lines on the screen. */
const callers = ['customer', 'front', 'catalog-v1', 'catalog-v2']

const terminal = {
  enter: '\u001b[?1049h\u001b[?25l',
  home: '\u001b[H',
  clearLine: '\u001b[K',
  clearBelow: '\u001b[J',
  leave: '\u001b[?25h\u001b[?1049l',
}

/** Everything the screen shows, and what it is made of. */
class Show {
  title = 'Weft: the shop on two nodes'
  route = 'none'
  readonly #events: { at: string; text: string }[] = []
  readonly #answers: { atMs: number; answer: Answer }[] = []
  readonly #readings = new Map<string, Reading[]>()
  /** What the next answer of a new route looks like, and since when we wait for it. */
  #awaited: { sign: (answer: Answer) => boolean; sinceMs: number; says: string } | null = null

  tell(text: string): void {
    this.#events.push({ at: new Date().toTimeString().slice(0, 8), text })
    if (this.#events.length > eventBound) this.#events.shift()
    if (!process.stdout.isTTY) console.log(text)
  }

  await(sign: (answer: Answer) => boolean, says: string): void {
    this.#awaited = { sign, says, sinceMs: performance.now() }
  }

  answered(answer: Answer): void {
    const atMs = performance.now()
    this.#answers.push({ atMs, answer })
    while ((this.#answers[0]?.atMs ?? atMs) < atMs - windowMs) this.#answers.shift()
    const awaited = this.#awaited
    if (awaited?.sign(answer)) {
      this.#awaited = null
      this.tell(`${awaited.says} ${Math.round(atMs - awaited.sinceMs)} ms after kubectl was done`)
    }
  }

  read(node: string, reading: Reading): void {
    const kept = [...(this.#readings.get(node) ?? []), reading]
    while (kept.length > 2 && reading.atMs - (kept[1]?.atMs ?? 0) >= windowMs) kept.shift()
    this.#readings.set(node, kept)
  }

  scene(): Scene {
    const recent = this.#answers.map(({ answer }) => answer)
    const of = (who: string, answers: readonly Answer[]) => ({ who, ...tally(answers) })
    return {
      title: this.title,
      route: this.route,
      edges: this.#edges(),
      answers: [
        of(
          'everyone',
          recent.filter(({ user }) => user === ''),
        ),
        of(
          'kai',
          recent.filter(({ user }) => user === 'kai'),
        ),
      ],
      events: this.#events,
      keys: [...Object.values(routes).map(({ key, name }) => [key, name] as const), ['q', 'quit']],
    }
  }

  /** Each agent reports the calls of its own pods, so that the nodes' edges can be put side by side: along the shop. */
  #edges(): Edge[] {
    const edges = [...this.#readings.values()].flatMap((kept) => {
      const [oldest, newest] = [kept[0], kept.at(-1)]
      return oldest && newest && oldest !== newest ? edgesBetween(oldest, newest, namespace) : []
    })
    return edges.sort((one, other) => callers.indexOf(one.caller) - callers.indexOf(other.caller))
  }
}

/** Brings the shop up and shows it until q or an interrupt. */
export async function live(cluster: Cluster, stopped: AbortSignal): Promise<void> {
  console.log('Starting a cluster of two nodes and a small shop in network namespaces …')
  await cluster.up(manifest, (line) => console.log(`  ${line}`))
  const show = new Show()
  const finished = Promise.race([aborted(stopped), quitKey((key) => void choose(cluster, show, key))])
  const stopDrawing = draw(show)
  try {
    const traffic = stroll(cluster, callsPerSecond, (answer) => show.answered(answer))
    const figures = cluster.nodes.map((node) => watchMetrics(cluster, node, (reading) => show.read(node, reading)))
    // These run until the cluster closes; when one ends before, the show is over and says why.
    const broken = Promise.race([traffic, ...figures]).then(() => {
      if (!stopped.aborted) throw new Error('the traffic or a reader of metrics ended before its time')
    })
    await Promise.race([finished, broken, story(cluster, show).then(() => finished)])
  } finally {
    stopDrawing()
  }
}

/** What happens by itself: a look at the shop without a mesh, then it joins. */
async function story(cluster: Cluster, show: Show): Promise<void> {
  show.tell(`kubeconfig: ${cluster.folder}/kubeconfig`)
  show.tell('the shop runs without a mesh: kube-proxy spreads over v1 and v2')
  await new Promise((resolve) => setTimeout(resolve, unjoinedMs))
  show.tell('kubectl annotate namespace shop weft.dev/mesh=enabled')
  const { pods, tookMs } = await join(cluster, true)
  show.title = 'Weft: the shop on two nodes, joined'
  show.tell(`${pods} pods are captured after ${(tookMs / 1000).toFixed(1)} s; press a number to route`)
}

/** How the first answer under a new route can be told from one before; all-v1 has no such sign. */
const signs: Record<string, readonly [string, (answer: Answer) => boolean]> = {
  canary: ['first v2 answer', ({ version }) => version === 'v2'],
  header: ['kai was answered by v2', ({ version, user }) => version === 'v2' && user === 'kai'],
  delay: ['first slow answer', ({ tookMs }) => tookMs >= 500],
  abort: ['first 418', ({ status }) => status === 418],
}

async function choose(cluster: Cluster, show: Show, key: string): Promise<void> {
  const route: Route | undefined = Object.values(routes).find((each) => each.key === key)
  if (!route) return
  try {
    show.tell(`kubectl apply: ${route.says}`)
    await apply(cluster, route)
    show.route = route.name
    const sign = signs[route.name]
    if (sign) show.await(sign[1], sign[0])
  } catch (error) {
    show.tell(error instanceof Error ? error.message.replaceAll('\n', ' ') : String(error))
  }
}

/** Draws at a steady pace; returns what ends it and gives the terminal back. */
function draw(show: Show): () => void {
  const { stdout } = process
  if (!stdout.isTTY) {
    const timer = setInterval(() => console.log(renderLine(show.scene())), drawMs.lines)
    return () => clearInterval(timer)
  }
  stdout.write(terminal.enter)
  const frame = (): void => {
    const screen = { columns: stdout.columns, rows: stdout.rows, color: process.env['NO_COLOR'] === undefined }
    const lines = render(show.scene(), screen).map((line) => line + terminal.clearLine)
    stdout.write(terminal.home + lines.join('\r\n') + terminal.clearBelow)
  }
  const timer = setInterval(frame, drawMs.terminal)
  return () => {
    clearInterval(timer)
    stdout.write(terminal.leave)
  }
}

/** Resolves at q, ^C or ^D; every other key is passed on. Without a terminal it never does. */
function quitKey(onKey: (key: string) => void): Promise<void> {
  const { stdin } = process
  if (!stdin.isTTY) return new Promise(() => {})
  emitKeypressEvents(stdin)
  stdin.setRawMode(true)
  stdin.resume()
  return new Promise((resolve) => {
    stdin.on('keypress', (_, { name, ctrl, sequence }: { name?: string; ctrl?: boolean; sequence: string }) => {
      if (name === 'q' || (ctrl && (name === 'c' || name === 'd'))) resolve()
      else onKey(sequence)
    })
  })
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
