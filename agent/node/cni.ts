// CNI on this node: the plug-in installed, its requests answered out of what the agent knows, and what it asks while no
// agent runs kept on disk.

import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type AddOutcome, answerAdd } from '../cni/adding.ts'
import { ClosedList, closedFolder } from '../cni/closed-list.ts'
import { type CniPlaces, Installation } from '../cni/installation.ts'
import { PLUGIN } from '../cni/conflist.ts'
import { NameFolder } from '../cni/name-folder.ts'
import type { CniAnswer, CniRequest } from '../cni/request.ts'
import { cniSocketPath, serveRequests } from '../cni/requests.ts'
import { type AgentConfig, runDirOf } from '../config.ts'
import { builtFile } from '../kernel/native.ts'
import type { CniFacts } from '../telemetry/node-series.ts'
import type { Captures } from './captures.ts'
import type { StartMarks } from './captures-options.ts'

/** How often namespaces are looked over: one that turns fail-closed shows in no change of this node's pods. */
const LOOK_MS = 2_000
/** How much longer than the agent the plug-in waits: the agent's word is to be the one that is heard. */
const MARGIN_SECONDS = 5
/** How long it waits for an agent to hear it: that may be amid the captures of all pods of a node. */
const HEARD_SECONDS = 5

export type CniConfig = Pick<
  AgentConfig,
  | 'cni'
  | 'cni-bin-dir'
  | 'cni-conf-dir'
  | 'cni-state-dir'
  | 'cni-open-wait-ms'
  | 'cni-closed-wait-ms'
  | 'namespace'
  | 'node'
  | 'pin-root'
  | 'run-dir'
>

export interface NodeCniOptions {
  readonly config: CniConfig
  /** Namespaces whose pods are fail-closed; null while the cluster is not known. */
  readonly closedNamespaces: () => ReadonlySet<string> | null
  readonly log: {
    info(fields: object, message: string): void
    warn(fields: object, message: string): void
  }
}

/** Where a node's plug-in stands, by the agent's settings. */
export function cniPlacesOf(config: Pick<AgentConfig, 'cni-bin-dir' | 'cni-conf-dir' | 'cni-state-dir'>): CniPlaces {
  return { binDir: config['cni-bin-dir'], confDir: config['cni-conf-dir'], stateDir: config['cni-state-dir'] }
}

type Asked = Pick<Captures, 'captureAt' | 'isFromStart' | 'leavePlace' | 'nextChange' | 'podOf' | 'standings'>

/** A node's CNI; where it is off, it only says so. */
export class NodeCni {
  readonly #options: NodeCniOptions
  readonly #closed: ClosedList
  readonly #marks = new Marks()
  readonly #counts = new Map<string, { command: string; outcome: string; count: number; seconds: number }>()
  #installation: Installation | null = null
  #server: { readonly close: () => void } | null = null
  #deaf: string | null = null
  #tick: NodeJS.Timeout | null = null
  #stopped = false

  constructor(options: NodeCniOptions) {
    const { config } = options
    this.#options = options
    this.#closed = new ClosedList(config['cni-state-dir'])
  }

  /** For the captures. */
  get fromStart(): StartMarks {
    return this.#marks
  }

  /** Why pods of this node run before they are captured, or null. */
  get startWindow(): string | null {
    if (!this.#options.config.cni) return 'CNI is off (--cni)'
    return this.#deaf ?? this.#installation?.lack ?? null
  }

  /** What the node lacks of it, a sentence each. */
  get lacks(): readonly string[] {
    const { cni } = this.#options.config
    return cni ? [this.startWindow, this.#closed.lack].filter((lack) => lack !== null) : []
  }

  requests(): readonly CniFacts[] {
    return [...this.#counts.values()]
  }

  /** Installs it and listens: to be called once captures are kept. Never throws. */
  start(captures: Asked): void {
    const { config, log } = this.#options
    if (!config.cni) return this.#stepBack()
    this.#marks.open(join(config['cni-state-dir'], 'from-start'))
    const runDir = runDirOf(config)
    const socket = cniSocketPath(runDir)
    try {
      const answer = (request: CniRequest, netns: number | null) => this.#answer(captures, request, netns)
      this.#server = serveRequests(socket, answer, (reason) => log.warn({ reason }, 'CNI request'))
    } catch (error) {
      this.#deaf = `the CNI plug-in cannot be listened to: ${(error as Error).message}`
      log.warn({ reason: this.#deaf }, 'CNI')
    }
    const program = builtFile(PLUGIN) ?? join('build/Release', PLUGIN)
    const places = cniPlacesOf(config)
    const entry = {
      socket,
      closed: closedFolder(config['cni-state-dir']),
      agentNamespace: config.namespace,
      timeoutSeconds: Math.ceil(config['cni-closed-wait-ms'] / 1000) + MARGIN_SECONDS,
      heardSeconds: HEARD_SECONDS,
    }
    this.#look(captures) // the list is there before anybody can ask it
    this.#installation = new Installation({ ...places, program, entry, log })
    this.#installation.start()
    this.#tick = setInterval(() => this.#look(captures), LOOK_MS)
  }

  /** Hears no request any more; what is installed and listed stays. Whoever waits for an answer asks the next agent. */
  stop(): void {
    this.#stopped = true
    if (this.#tick !== null) clearInterval(this.#tick)
    this.#installation?.stop()
    this.#server?.close()
  }

  /** An agent before this one may have had it on: nobody is to wait for what nobody does any more. */
  #stepBack(): void {
    const { config } = this.#options
    if (existsSync(closedFolder(config['cni-state-dir']))) this.#closed.take(new Set())
    rmSync(cniSocketPath(runDirOf(config)), { force: true })
  }

  #look(captures: Asked): void {
    const namespaces = this.#options.closedNamespaces()
    if (namespaces === null) return
    this.#closed.take(namespaces)
    this.#marks.keepOnly(new Set(captures.standings().map(({ uid }) => uid)))
  }

  async #answer(captures: Asked, request: CniRequest, netns: number | null): Promise<CniAnswer> {
    const beganMs = performance.now()
    const { outcome, answer } = await this.#decided(captures, request, netns)
    const key = `${request.command} ${outcome}`
    const sum = this.#counts.get(key) ?? { command: request.command, outcome, count: 0, seconds: 0 }
    sum.count++
    sum.seconds += (performance.now() - beganMs) / 1000
    this.#counts.set(key, sum)
    return answer
  }

  async #decided(
    captures: Asked,
    request: CniRequest,
    netns: number | null,
  ): Promise<{ readonly outcome: AddOutcome; readonly answer: CniAnswer }> {
    const pod = captures.podOf(request)
    switch (request.command) {
      case 'DEL':
        captures.leavePlace(pod?.uid ?? request.uid, request.containerId)
        return { outcome: 'passed', answer: { ok: true } }
      case 'CHECK': {
        const standing = pod && captures.standings().find(({ uid }) => uid === pod.uid)
        const isMissed = standing?.onLoss === 'closed' && standing.state === 'pending'
        if (!isMissed) return { outcome: 'passed', answer: { ok: true } }
        return { outcome: 'refused', answer: { error: `it is not captured: ${standing.reason ?? 'not yet'}` } }
      }
      case 'ADD':
        if (netns === null) throw new Error('no network namespace came with the request') // no fd was left for it
        return this.#add(captures, request, netns)
    }
  }

  async #add(captures: Asked, request: CniRequest, netns: number) {
    const { config, closedNamespaces, log } = this.#options
    const { containerId, ips } = request
    const added = await answerAdd(request, {
      know: () => {
        const pod = captures.podOf(request)
        const isClosedNamespace = pod === undefined && (closedNamespaces()?.has(request.namespace) ?? false)
        return { pod, isClosedNamespace }
      },
      capture: (pod) => captures.captureAt(pod, { containerId, ips, netns }),
      changed: () => captures.nextChange(),
      isOver: () => this.#stopped,
      waitMs: { open: config['cni-open-wait-ms'], closed: config['cni-closed-wait-ms'] },
    })
    const { outcome, answer } = added
    const of = { pod: `${request.namespace}/${request.pod}` }
    if (outcome === 'late') log.warn(of, 'pod starts before it is captured')
    if ('error' in answer) log.warn({ ...of, reason: answer.error }, 'pod must not start yet')
    return added
  }
}

/** Marks on disk; what cannot be kept there is kept by this agent alone. */
class Marks implements StartMarks {
  readonly #own = new Set<string>()
  #folder: NameFolder | null = null

  /** Reads what is there: to be called once the agent before writes no more. */
  open(path: string): void {
    this.#try(() => {
      this.#folder = new NameFolder(path)
      for (const mark of this.#own) this.#folder.add(mark)
    })
  }

  has(mark: string): boolean {
    return this.#own.has(mark) || (this.#folder?.has(mark) ?? false)
  }

  add(mark: string): void {
    this.#own.add(mark)
    this.#try(() => this.#folder?.add(mark))
  }

  /** Forgets the marks of other pods. */
  keepOnly(uids: ReadonlySet<string>): void {
    const isKept = (mark: string): boolean => uids.has(mark.slice(0, mark.lastIndexOf('.')))
    for (const mark of this.#own) if (!isKept(mark)) this.#own.delete(mark)
    this.#try(() => this.#folder?.keep(isKept))
  }

  #try(deed: () => unknown): void {
    try {
      deed()
    } catch {
      // a start window is then told of pods that had none, after the next restart of the agent
    }
  }
}
