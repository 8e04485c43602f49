// The state folder of a lab (.lab): what is where in it, and the record of the lab that runs.
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { labIdOf } from './node/network.ts'

/** At the end of a lab its agents get this long to let go of what they captured. */
export const AGENT_STOP_MS = 5_000

/** The record in lab.json: written before anything else of a lab, so that its folder is known for one. */
export interface LabRecord {
  readonly id: string
  readonly nodes: number
  /** Of the API on loopback; 0 until it listens. */
  readonly port: number
  /** The control plane; while that is being started, `weft lab up` itself. */
  readonly controlPid: number
  /** The kernel's start time of that process, so that a re-used process id is not taken for it. */
  readonly controlStart: string
  /** Agents run on the nodes. */
  readonly mesh: boolean
}

export interface LabPlace {
  readonly id: string
  /** Absolute path of the state folder. */
  readonly folder: string
  readonly record: string
  readonly kubeconfig: string
  /** In it a folder a program of the mesh, with what it shows the API: for root alone. */
  readonly credentials: string
  readonly logs: string
  /** A folder a node, with the files that it has for itself. */
  readonly hosts: string
  /** Images that are run from their own files, unpacked. */
  readonly images: string
  /** A bpffs of the lab's own: where captures outlive an agent, until the lab goes. */
  readonly bpf: string
  /** In it a folder a node, in which its agents meet. Not in the state folder: a socket's path must be short. */
  readonly run: string
}

/** The places of the lab whose state folder is `folder`. */
export function labPlace(folder: string): LabPlace {
  const absolute = resolve(folder)
  return {
    id: labIdOf(absolute),
    folder: absolute,
    record: join(absolute, 'lab.json'),
    kubeconfig: join(absolute, 'kubeconfig'),
    credentials: join(absolute, 'credentials'),
    logs: join(absolute, 'logs'),
    hosts: join(absolute, 'hosts'),
    images: join(absolute, 'images'),
    bpf: join(absolute, 'bpf'),
    run: `/run/weft-lab-${labIdOf(absolute)}`,
  }
}

/** All that a lab writes into its folder besides the record. */
const ownFiles = (place: LabPlace): string[] => [
  ...[`${place.record}.new`, place.kubeconfig, place.credentials, place.logs],
  ...[join(place.folder, 'pods'), place.hosts, place.images, place.bpf],
]

/** Where a program that the lab runs on a node writes. */
export const programLog = (place: LabPlace, role: string, node: string): string =>
  join(place.logs, `${role}-${node}.log`)

/** Where the agent of a node writes. */
export const agentLog = (place: LabPlace, node: string): string => programLog(place, 'agent', node)

/** The lab's record, or null where there is none (or not a whole one). */
export function readRecord(place: LabPlace): LabRecord | null {
  try {
    return JSON.parse(readFileSync(place.record, 'utf8')) as LabRecord
  } catch {
    return null
  }
}

/** Writes the record so that a reader sees the old or the new one, never a part. */
export async function writeRecord(place: LabPlace, record: LabRecord): Promise<void> {
  await mkdir(place.folder, { recursive: true })
  await writeFile(`${place.record}.new`, `${JSON.stringify(record, null, 2)}\n`)
  await rename(`${place.record}.new`, place.record)
}

/** What stands in a folder without a record where a lab would write: somebody else's. */
export const foreignFiles = (place: LabPlace): string[] =>
  existsSync(place.record) ? [] : ownFiles(place).filter((path) => existsSync(path))

/** Whether the control plane of the record is alive. */
export const isRunning = (record: LabRecord | null): boolean =>
  record !== null && startOf(record.controlPid) === record.controlStart

/** Start time of a process in the kernel's ticks (field 22 of /proc/<pid>/stat); '' where there is none, or a zombie. */
export function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? '' : (fields[19] ?? '')
  } catch {
    return ''
  }
}

/** Removes what a lab writes into its state folder, and the folder itself where nothing else is in it. */
export async function removeState(place: LabPlace): Promise<void> {
  // The record last: what is left of a removal that was cut short is still known for a lab's.
  for (const path of [place.run, ...ownFiles(place), place.record]) await rm(path, { recursive: true, force: true })
  await rmdir(place.folder).catch(() => undefined)
}

/** The checkout or install that this file belongs to. */
export const PROJECT = dirname(dirname(fileURLToPath(import.meta.url)))
/** A source file of the project as it runs here: TypeScript in development, JavaScript in a build. */
export const program = (path: string): string => join(PROJECT, path + (import.meta.url.endsWith('.ts') ? '.ts' : '.js'))

/** A kubeconfig of the bearer of a token, which stands in a file or here. */
export function kubeconfig(
  server: string,
  bearer: { readonly tokenFile: string } | { readonly token: string },
): string {
  const user = JSON.stringify(bearer)
  const lines = [
    'apiVersion: v1',
    'kind: Config',
    'clusters: [{ name: weft-lab, cluster: { server: "' + server + '" } }]',
    `users: [{ name: weft-lab, user: ${user} }]`,
    'contexts: [{ name: weft-lab, context: { cluster: weft-lab, user: weft-lab } }]',
    'current-context: weft-lab',
  ]
  return `${lines.join('\n')}\n`
}
