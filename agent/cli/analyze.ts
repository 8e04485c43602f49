// `weft analyze`: what of a set of objects would not do what it says, before they are applied or while they are in force.

import type { Argv } from 'yargs'
import { connectAsUser } from '../kube/user-client.ts'
import { type Located, readGiven } from '../kube/offline.ts'
import { readCluster } from '../kube/offline-cluster.ts'
import { parseManifests, readTexts } from '../kube/offline-files.ts'
import { analyse } from '../model/analysis/analysis.ts'
import { isAtLeast, SEVERITIES, type Severity } from '../model/analysis/codes.ts'
import { analysisJson, analysisText, type Report } from './analyze-text.ts'
import { flagsOf } from './flags.ts'

const EXIT_CODES =
  'Exit code: 0 nothing at or above --fail-on was found; 1 something was; 2 wrong usage, a file that is not there, or a ' +
  'cluster that cannot be read. Of a cluster it takes the rights to list namespaces, services, endpointslices, pods, the ' +
  'ConfigMap weft of the root namespace and the policies; kinds that the mesh does not read are looked for where it may.'

const FORMS = ['text', 'json'] as const

export interface AnalyzeWish {
  readonly files: readonly string[]
  readonly offline: boolean
  readonly kubeconfig: string | null
  /** Whose findings are told, and of whom objects are that name no namespace; null: all, and `default`. */
  readonly namespace: string | null
  readonly output: string
  readonly failOn: Severity
  readonly clusterDomain: string
  readonly rootNamespace: string
}

/** Adds the command's options to yargs. */
export function analyzeOptions(yargs: Argv): Argv {
  const text = { type: 'string', requiresArg: true } as const
  return yargs
    .options({
      file: {
        ...text,
        alias: 'f',
        describe: 'File, folder, or - for standard input: laid over the cluster as if applied. May be given again',
      },
      offline: { type: 'boolean', describe: 'Look at the files alone, and ask no cluster' },
      kubeconfig: { ...text, describe: 'Kubeconfig file [as kubectl finds it]' },
      namespace: {
        ...text,
        alias: 'n',
        describe: 'Tell only of this namespace; objects of files that name none are of it [all; default]',
      },
      output: { ...text, alias: 'o', choices: FORMS, defaultDescription: 'text', describe: 'Form of what is printed' },
      'fail-on': {
        ...text,
        choices: SEVERITIES,
        defaultDescription: 'error',
        describe: 'The least grave finding for which the exit code is 1',
      },
      'cluster-domain': { ...text, defaultDescription: 'cluster.local', describe: 'DNS domain of the cluster' },
      'root-namespace': {
        ...text,
        defaultDescription: 'istio-system',
        describe: 'Namespace of policies and settings for the whole mesh',
      },
    })
    .epilogue(EXIT_CODES)
}

/** Analyses, prints, and returns the exit code. Throws, with one sentence, where something cannot be read. */
export async function showAnalysis(given: Readonly<Record<string, unknown>>): Promise<number> {
  const wish = wishOf(given)
  const report = await analysed(wish, process.stdin)
  process.stdout.write(wish.output === 'json' ? analysisJson(report) : analysisText(report))
  return report.findings.some(({ severity }) => isAtLeast(severity, wish.failOn)) ? 1 : 0
}

/** Reads what is wished for and analyses it. `input` is what `-` names. */
export async function analysed(wish: AnalyzeWish, input: AsyncIterable<Uint8Array>): Promise<Report> {
  const { namespace, rootNamespace, clusterDomain } = wish
  const texts = await readTexts(wish.files, input)
  const files = texts.map((text) => parseManifests(text, namespace ?? 'default'))
  const cluster = wish.offline ? null : await readCluster(connectAsUser(wish.kubeconfig), rootNamespace)
  const options = { clusterDomain, rootNamespace, nowMs: Date.now() }
  const { world, findings, located, objects } = readGiven(files, cluster?.manifests ?? null, options)
  const all = [...findings, ...[...(cluster?.findings ?? []), ...analyse(world)].map(located)]
  return { objects, findings: all.filter((finding) => isTold(finding, namespace)) }
}

/** What is of no namespace, as a file that cannot be read, is told always. */
function isTold({ object }: Located, namespace: string | null): boolean {
  return namespace === null || object.namespace === '' || object.namespace === namespace
}

/** What the options mean together. Throws, with one sentence, where they contradict each other. */
export function wishOf(given: Readonly<Record<string, unknown>>): AnalyzeWish {
  const one = flagsOf(given)
  const files = [given['file'] ?? []].flat().map(String)
  if (files.includes('')) throw new Error('--file: must not be empty')
  if (files.filter((file) => file === '-').length > 1) throw new Error('--file: standard input can be read once')
  const offline = given['offline'] === true
  if (offline && files.length === 0) throw new Error('--offline: needs at least one --file')
  if (offline && one('kubeconfig') !== null)
    throw new Error('--offline: asks no cluster, so --kubeconfig means nothing')
  return {
    files,
    offline,
    kubeconfig: one('kubeconfig'),
    namespace: one('namespace'),
    output: one('output') ?? 'text',
    failOn: SEVERITIES.find((severity) => severity === one('fail-on')) ?? 'error',
    clusterDomain: one('cluster-domain') ?? 'cluster.local',
    rootNamespace: one('root-namespace') ?? 'istio-system',
  }
}
