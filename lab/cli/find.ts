// Finding a running lab, and one of its pods' containers, for the commands that look inside.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { V1Pod } from '@kubernetes/client-node'
import { Api, ApiError } from '../node/api.ts'
import type { ContainerRecord } from '../node/pod/launch.ts'
import { isMirror, nodeOf } from '../mesh/mirror-pod.ts'
import { type LabPlace, type LabRecord, isRunning, labPlace, programLog, readRecord } from '../state.ts'
import { Refusal } from './machine.ts'

export interface RunningLab {
  readonly place: LabPlace
  readonly record: LabRecord
  readonly api: Api
}

/** The lab that runs in a state folder. Throws a Refusal where none does. */
export function runningLab(folder: string): RunningLab {
  const place = labPlace(folder)
  const record = readRecord(place)
  if (!record || !isRunning(record)) throw new Refusal(`no lab runs in ${place.folder}: \`weft lab up\` starts one`)
  if (record.port === 0) throw new Refusal(`the lab in ${place.folder} is still being started`)
  return { place, record, api: new Api(`http://127.0.0.1:${String(record.port)}`) }
}

export interface FoundContainer {
  readonly pod: V1Pod
  readonly container: string
}

/** The pod by NAMESPACE/POD (or POD in default), and its container: the named one, or the first. Throws a Refusal. */
export async function findContainer(lab: RunningLab, name: string, container?: string): Promise<FoundContainer> {
  const [namespace, pod] = name.includes('/') ? (name.split('/', 2) as [string, string]) : ['default', name]
  const found = await lab.api.get<V1Pod>(`/api/v1/namespaces/${namespace}/pods/${pod}`).catch((error: unknown) => {
    if (error instanceof ApiError && error.code === 404) throw new Refusal(`there is no pod ${namespace}/${pod}`)
    throw error
  })
  if (isMirror(found)) throw new Refusal(mirrorWords(lab, found))
  const all = [...(found.spec?.containers ?? []), ...(found.spec?.initContainers ?? [])].map((each) => each.name)
  const chosen = container ?? all[0] ?? ''
  if (!all.includes(chosen)) throw new Refusal(`pod ${name} has no container ${chosen}; it has ${all.join(', ')}`)
  return { pod: found, container: chosen }
}

/** What to do where a pod only shows a program of its node. */
function mirrorWords({ place }: RunningLab, pod: V1Pod): string {
  const { metadata, spec } = pod
  const [node, role] = [nodeOf(pod), spec?.containers[0]?.name ?? '']
  const log = programLog(place, role, node)
  return `pod ${metadata?.name ?? ''} shows a program that runs on ${node} itself: its log is ${log}, and exec takes --node ${node}`
}

/** How to enter a container. Throws a Refusal when it does not run. */
export function containerRecord(lab: RunningLab, { pod, container }: FoundContainer): ContainerRecord {
  const status = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])]
  const runs = status.find((each) => each.name === container)?.state?.running
  if (!runs) throw new Refusal(`container ${container} of pod ${pod.metadata?.name ?? ''} does not run`)
  const path = join(lab.place.folder, 'pods', pod.metadata?.uid ?? '', `${container}.json`)
  return JSON.parse(readFileSync(path, 'utf8')) as ContainerRecord
}
