// `weft lab up`: starts a lab, applies manifests, waits until all is ready, and stays until Ctrl-C (or not, with --detach).
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LabOrder, LabWord } from '../control-plane.ts'
import { Api } from '../node/api.ts'
import { MAX_NODES, netnsNames } from '../node/network.ts'
import { unpackImage } from '../node/pod/oci-archive.ts'
import {
  type LabPlace,
  PROJECT,
  agentLog,
  foreignFiles,
  isRunning,
  labPlace,
  program,
  readRecord,
  startOf,
  writeRecord,
} from '../state.ts'
import { tearDown } from './down.ts'
import { Refusal, requireMachine } from './machine.ts'
import { type Manifest, applyManifests, readManifests } from './manifests.ts'
import { agentless, readCluster, standingOf } from './standing.ts'
import type { UpWish } from './wish.ts'

const READY_POLL_MS = 150
const LAST_WORDS_TRIES = 7
/** A thing that is waited for is named when it takes longer than this, and again when it changes. */
const SLOW_MS = 5_000

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

/** Brings a lab up. Resolves when it is ready (detached), or when it was stopped (foreground). Throws a Refusal otherwise. */
export async function up(wish: UpWish): Promise<void> {
  if (!Number.isInteger(wish.nodes) || wish.nodes < 1 || wish.nodes > MAX_NODES) {
    throw new Refusal(`--nodes takes 1 to ${String(MAX_NODES)}`)
  }
  for (const [name, flags] of [
    ['agent-flag', wish.agentFlag],
    ['controller-flag', wish.controllerFlag],
  ] as const) {
    const wrong = flags.find((flag) => !/^[a-z][a-z-]*=/.test(flag))
    if (wrong !== undefined) throw new Refusal(`--${name} takes NAME=VALUE, not ${wrong}`)
  }
  requireMachine()
  const place = labPlace(wish.dir)
  await requireFree(place)
  const manifests = await readManifests(wish.file)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())
  const beganMs = Date.now()
  const { nodes, mesh } = wish
  const starter = { controlPid: process.pid, controlStart: startOf(process.pid) }
  try {
    await writeRecord(place, { id: place.id, nodes, mesh, port: 0, ...starter })
    const url = await startControlPlane(place, wish, await unpackImages(place, wish.image))
    await settle(new Api(url), manifests, wish, stop.signal)
    if (!stop.signal.aborted) announce(place, Date.now() - beganMs, wish.detach)
    if (wish.detach && !stop.signal.aborted) return
    await untilStopped(place, stop.signal)
  } catch (error) {
    // A lab that did not become ready stays for a look at it, where someone can come back to it.
    if (!wish.detach || !(error instanceof NotReady)) await tearDown(place)
    throw error
  }
  if (stop.signal.aborted) {
    say('stopping')
    await tearDown(place)
  } else {
    throw new Refusal(
      `the control plane ended by itself; see ${join(place.logs, 'control-plane.log')}, then run \`weft lab down\``,
    )
  }
}

class NotReady extends Refusal {}

async function requireFree(place: LabPlace): Promise<void> {
  if (isRunning(readRecord(place)))
    throw new Refusal(`a lab runs in ${place.folder} already: \`weft lab down\` ends it`)
  if ((await netnsNames(place.id)).length > 0 || readRecord(place)) {
    say('clearing what an earlier lab left')
    await tearDown(place)
  }
  const [foreign] = foreignFiles(place)
  if (foreign !== undefined) throw new Refusal(`${foreign} is not a lab's: name another folder with --dir`)
}

/** Unpacks images for the nodes; gives the folder of each by its name. Throws a Refusal where one is none. */
async function unpackImages(place: LabPlace, images: readonly string[]): Promise<Record<string, string>> {
  const folders: Record<string, string> = {}
  for (const [at, image] of images.entries()) {
    const [, name, file] = /^([a-z0-9][a-z0-9._/-]*)=(.+)$/.exec(image) ?? []
    if (name === undefined || file === undefined) throw new Refusal(`--image takes NAME=FILE, not ${image}`)
    const folder = join(place.images, String(at))
    say(`  image ${name}`)
    await unpackImage(file, folder).catch((error: unknown) => {
      throw new Refusal(`--image ${image}: ${(error as Error).message}`)
    })
    folders[name] = folder
  }
  return folders
}

function startControlPlane(
  place: LabPlace,
  { agentFlag, controllerFlag, ...wish }: UpWish,
  images: Readonly<Record<string, string>>,
): Promise<string> {
  const { nodes, port, mesh, controller } = wish
  const flags = { agentFlags: agentFlag, controllerFlags: controllerFlag }
  const order: LabOrder = { folder: place.folder, nodes, port, mesh, controller, images, ...flags }
  return mkdir(place.logs, { recursive: true }).then(
    () =>
      new Promise<string>((resolve, reject) => {
        const output = openSync(join(place.logs, 'control-plane.log'), 'a')
        const child = spawn(process.execPath, [program('lab/control-plane'), JSON.stringify(order)], {
          detached: true,
          stdio: ['ignore', output, output, 'ipc'],
          cwd: PROJECT,
        })
        closeSync(output)
        const failed = (sentence: string): void => {
          reject(new Refusal(sentence))
        }
        child.once('error', (error) => {
          failed(`cannot start the control plane: ${error.message}`)
        })
        child.once('exit', () => {
          failed(`the control plane ended at its start; see ${join(place.logs, 'control-plane.log')}`)
        })
        child.on('message', (word: LabWord) => {
          if (word.kind === 'progress') say(`  ${word.text}`)
          if (word.kind === 'failed') failed(word.message)
          if (word.kind !== 'up') return
          child.disconnect()
          child.unref()
          resolve(word.url)
        })
      }),
  )
}

async function settle(api: Api, manifests: readonly Manifest[], wish: UpWish, signal: AbortSignal): Promise<void> {
  if (manifests.length > 0) say(`  ${String(manifests.length)} objects`)
  await applyManifests(api, manifests, (object, outcome) => {
    say(`    ${object} ${outcome}`)
  })
  const beganMs = Date.now()
  let named = ''
  for (;;) {
    const { pods, missing } = standingOf(await readCluster(api), wish)
    if (wish.mesh && !signal.aborted) await requireAgents(wish)
    if (missing.length === 0 || signal.aborted) {
      const captured = pods.filter((pod) => pod.captured).length
      if (pods.length > 0) say(`  ${String(pods.length)} pods ready, ${String(captured)} captured`)
      return api.close()
    }
    if (Date.now() - beganMs > wish.timeout * 1000) {
      const where = `logs are in ${labPlace(wish.dir).logs}`
      throw new NotReady(`not ready after ${String(wish.timeout)} s (${where}):\n  ${missing.join('\n  ')}`)
    }
    if (Date.now() - beganMs > SLOW_MS && named !== missing.join()) {
      named = missing.join()
      say(
        `  waiting for ${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ` and ${String(missing.length - 3)} more` : ''}`,
      )
    }
    await sleep(READY_POLL_MS, undefined, { signal }).catch(() => undefined)
  }
}

/** An agent that ended will not come back: there is no sense in waiting for what it was to capture. */
async function requireAgents({ dir, nodes }: UpWish): Promise<void> {
  const place = labPlace(dir)
  const [dead] = await agentless(place, nodes)
  if (dead !== undefined) {
    const file = agentLog(place, dead)
    throw new NotReady(`the agent of ${dead} ended (see ${file}): ${await lastWords(file)}`)
  }
}

/** The last line of an agent's log. What it said at its end comes a moment after that. */
async function lastWords(file: string): Promise<string> {
  for (let tries = 0; tries < LAST_WORDS_TRIES; tries += 1) {
    const line = (await readFile(file, 'utf8').catch(() => '')).trimEnd().split('\n').at(-1)
    if (line) return line
    await sleep(READY_POLL_MS)
  }
  return 'it said nothing'
}

function announce(place: LabPlace, tookMs: number, detached: boolean): void {
  say(`ready in ${(tookMs / 1000).toFixed(1)} s`)
  say(`  export KUBECONFIG=${place.kubeconfig}`)
  say(detached ? '  `weft lab down` ends it' : '  Ctrl-C ends it')
}

/** Resolves when the signal is aborted, or the control plane has ended by itself. */
async function untilStopped(place: LabPlace, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && isRunning(readRecord(place))) {
    await sleep(1_000, undefined, { signal }).catch(() => undefined)
  }
}
