// A process that captures pods and relays for them, to be killed: what a kernel room is worth shows when its agent dies.
// Started by AgentProcess, told what to do by lines of JSON, answers a line each.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { openKernel, openSockets } from '../../agent/kernel/bpf.ts'
import { offerHandOver, takeOver } from '../../agent/kernel/hand-over.ts'
import type { Captured, Counters, Tally } from '../../agent/kernel/kernel.ts'
import type { CaptureTerms } from '../../agent/model/terms.ts'
import { Relay } from './kernel-test.ts'

/** A pod by its namespace's file. */
export interface PodFile {
  readonly uid: string
  readonly ips: readonly string[]
  readonly netns: string
  readonly terms: CaptureTerms
}

/** What the process is started with. */
export interface AgentOrder {
  readonly cgroupRoot: string
  readonly pinRoot?: string
  /** Where it hands its listeners over, and takes them from. */
  readonly handOver?: string
}

type Command =
  | { readonly do: 'capture'; readonly pod: PodFile; readonly relay: boolean }
  | {
      readonly do:
        'take over' | 'offer' | 'counters' | 'look' | 'drop layouts' | 'inherited' | 'keep' | 'deafen' | 'seen'
    }
  | { readonly do: 'tallies' | 'release' | 'prove'; readonly uid: string }

/** The process as a test holds it. */
export class AgentProcess {
  readonly child: ChildProcess
  readonly #lines: AsyncIterator<string>

  private constructor(child: ChildProcess) {
    this.child = child
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  }

  static async start(order: AgentOrder): Promise<AgentProcess> {
    const child = spawn(process.execPath, [import.meta.filename, JSON.stringify(order)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const agent = new AgentProcess(child)
    await agent.#answer()
    return agent
  }

  capture(pod: PodFile, relay = true): Promise<Captured> {
    return this.#say({ do: 'capture', pod, relay }) as Promise<Captured>
  }

  /** Number of pods whose listeners were given. */
  takeOver(): Promise<number> {
    return this.#say({ do: 'take over' }) as Promise<number>
  }

  tallies(uid: string): Promise<Tally[]> {
    return this.#say({ do: 'tallies', uid }) as Promise<Tally[]>
  }

  counters(): Promise<Counters> {
    return this.#say({ do: 'counters' }) as Promise<Counters>
  }

  tell(what: 'offer' | 'look' | 'drop layouts' | 'inherited' | 'keep' | 'deafen' | 'seen'): Promise<unknown> {
    return this.#say({ do: what })
  }

  of(what: 'release' | 'prove', uid: string): Promise<unknown> {
    return this.#say({ do: what, uid })
  }

  /** As a crash does it. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    this.child.kill('SIGKILL')
    await once(this.child, 'exit')
  }

  async #say(command: Command): Promise<unknown> {
    this.child.stdin!.write(`${JSON.stringify(command)}\n`)
    return this.#answer()
  }

  async #answer(): Promise<unknown> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the agent process has ended')
    const answer = JSON.parse(value) as { readonly ok?: unknown; readonly error?: string }
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer.ok
  }
}

function serve({ cgroupRoot, pinRoot, handOver = '' }: AgentOrder): void {
  const kernel = openKernel({ cgroupRoot, ...(pinRoot === undefined ? {} : { pinRoot }) })
  const relay = new Relay(openSockets(kernel.handles()), kernel)
  let offer: ReturnType<typeof offerHandOver> | null = null
  const run = (command: Command): unknown => {
    switch (command.do) {
      case 'capture': {
        const { netns, ...pod } = command.pod
        const captured = kernel.capture({ ...pod, netns: openSync(netns, 'r') })
        if (command.relay) relay.hold(captured)
        return captured
      }
      case 'take over': {
        const given = takeOver(handOver)
        if (given !== null) kernel.adopt(given)
        return given?.size ?? 0
      }
      case 'offer':
        offer = offerHandOver(handOver, {
          captured: () => kernel.captured().values(),
          isLeaving: () => false,
          taken: () => offer?.close(),
        })
        return null
      case 'keep':
        relay.close()
        kernel.close('keep')
        return null
      case 'deafen':
        return kernel.deafen()
      case 'look':
        return kernel.look()
      case 'drop layouts':
        return kernel.dropOtherLayouts()
      case 'inherited':
        return kernel.inherited()
      case 'counters':
        return kernel.counters()
      case 'seen':
        return relay.seen
      case 'tallies':
        return kernel.tallies(command.uid)
      case 'release':
        return kernel.release(command.uid)
      case 'prove':
        return kernel.prove(command.uid)
    }
  }
  const say = (answer: object): boolean => process.stdout.write(`${JSON.stringify(answer)}\n`)
  createInterface({ input: process.stdin }).on('line', (line) => {
    Promise.resolve()
      .then(() => run(JSON.parse(line) as Command))
      .then(
        (ok) => say({ ok: ok ?? null }),
        (error: Error) => say({ error: error.message }),
      )
  })
  say({ ok: null })
}

if (import.meta.main) serve(JSON.parse(process.argv[2] ?? '{}') as AgentOrder)
