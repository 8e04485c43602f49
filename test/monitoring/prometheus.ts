// A real Prometheus in the network of a lab's node, asked through the lab's API server.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { V1Pod } from '@kubernetes/client-node'
import { stringify } from 'yaml'
import { eventually, type TestLab } from '../lab/lab.ts'
import { onNode } from '../lab/mesh.ts'
import { RULES_FILE } from './rules.ts'

const PORT = 9090
const ASK_TIMEOUT_MS = 10_000
const END_TIMEOUT_MS = 10_000
/** Those of its own programs that a test may wait for at once: the lab's machine is small. */
const START_TIMEOUT_MS = 30_000

export type ScrapeConfig = Record<string, unknown> & { readonly relabel_configs: readonly object[] }

/** A target as Prometheus' discovery of role pod has it, before relabelling: one for each container, which declares no port. */
export function discovered(pods: readonly V1Pod[]): object[] {
  return pods.flatMap(({ metadata, spec, status }) =>
    (spec?.containers ?? []).map(({ name }) => ({
      targets: [status?.podIP ?? ''],
      labels: {
        __meta_kubernetes_namespace: metadata?.namespace ?? '',
        __meta_kubernetes_pod_name: metadata?.name ?? '',
        __meta_kubernetes_pod_ip: status?.podIP ?? '',
        __meta_kubernetes_pod_node_name: spec?.nodeName ?? '',
        __meta_kubernetes_pod_phase: status?.phase ?? '',
        __meta_kubernetes_pod_label_app: metadata?.labels?.['app'] ?? '',
        __meta_kubernetes_pod_container_name: name,
        __meta_kubernetes_pod_container_init: 'false',
      },
    })),
  )
}

export interface Target {
  readonly labels: Readonly<Record<string, string>>
  readonly scrapeUrl: string
  readonly health: string
  readonly lastError: string
}

export interface Answered {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [seconds: number, value: string]
}

/** Prometheus on a node of a lab. */
export class Prometheus {
  readonly #url: string
  readonly #folder: string
  readonly #child: ChildProcess
  readonly #words: Buffer[] = []

  private constructor(lab: TestLab, node: string, folder: string) {
    this.#url = `${lab.url}/api/v1/nodes/${node}:${String(PORT)}/proxy/api/v1`
    this.#folder = folder
    const command = ['prometheus', `--config.file=${join(folder, 'prometheus.yaml')}`, `--storage.tsdb.path=${folder}`]
    const args = onNode(lab, node, [...command, `--web.listen-address=0.0.0.0:${String(PORT)}`])
    this.#child = spawn('nsenter', args, { stdio: ['ignore', 'ignore', 'pipe'], cwd: folder })
    this.#child.stderr?.on('data', (words: Buffer) => this.#words.push(words))
  }

  /**
   * Starts one that finds `pods`, by scrape configurations whose discovery is replaced: Debian builds Prometheus without that
   * of Kubernetes. Resolves once it answers.
   */
  static async start(
    lab: TestLab,
    {
      node,
      pods,
      scrapes,
    }: { readonly node: string; readonly pods: readonly V1Pod[]; readonly scrapes: ScrapeConfig[] },
  ): Promise<Prometheus> {
    const folder = await mkdtemp(join(tmpdir(), 'weft-prometheus-test-'))
    const file = join(folder, 'targets.json')
    await writeFile(file, JSON.stringify(discovered(pods)))
    const scrapeConfigs = scrapes.map(({ kubernetes_sd_configs: _, ...rest }) => {
      return { ...rest, file_sd_configs: [{ files: [file] }] }
    })
    const global = { scrape_interval: '1s', evaluation_interval: '2s' }
    const config = { global, rule_files: [RULES_FILE], scrape_configs: scrapeConfigs }
    await writeFile(join(folder, 'prometheus.yaml'), stringify(config))
    const prometheus = new Prometheus(lab, node, folder)
    const answers = (): Promise<unknown> => prometheus.ask<unknown>('query?query=vector(1)').catch(() => undefined)
    await eventually('Prometheus answers', answers, START_TIMEOUT_MS).catch(async (error: unknown) => {
      const words = prometheus.words()
      await prometheus.end()
      throw new Error(`${String(error)}: ${words}`)
    })
    return prometheus
  }

  /** The `data` of an answer of its HTTP API. Throws what it says where it refuses. */
  async ask<T>(path: string): Promise<T> {
    const response = await fetch(`${this.#url}/${path}`, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) })
    const text = await response.text()
    if (!response.ok) throw new Error(`${path}: ${String(response.status)} ${text}`)
    return (JSON.parse(text) as { data: T }).data
  }

  async query(expr: string): Promise<readonly Answered[]> {
    return (await this.ask<{ result: Answered[] }>(`query?query=${encodeURIComponent(expr)}`)).result
  }

  async targets(): Promise<readonly Target[]> {
    return (await this.ask<{ activeTargets: Target[] }>('targets?state=active')).activeTargets
  }

  /** What it has logged. */
  words(): string {
    return Buffer.concat(this.#words).toString()
  }

  async end(): Promise<void> {
    if (this.#child.exitCode === null) {
      const ended = once(this.#child, 'exit')
      this.#child.kill('SIGTERM')
      const late = setTimeout(() => this.#child.kill('SIGKILL'), END_TIMEOUT_MS)
      await ended
      clearTimeout(late)
    }
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** A block of YAML in a document, by what it begins with. */
export async function blockOf(document: string, beginning: string): Promise<string> {
  const text = await readFile(document, 'utf8')
  const block = text.split('```').find((part) => part.startsWith(`yaml\n${beginning}`))
  if (block === undefined) throw new Error(`${document}: no block of YAML begins with ${beginning}`)
  return block.slice('yaml\n'.length)
}
