// `weft lab logs`: what a container printed.
import { once } from 'node:events'
import { logFolder, readLogs } from '../node/logs.ts'
import { findContainer, runningLab } from './find.ts'

export interface LogsWish {
  readonly dir: string
  readonly pod: string
  readonly container: string | undefined
  readonly follow: boolean
  readonly previous: boolean
  readonly timestamps: boolean
  readonly tail: number | undefined
}

/** Prints a container's log; with `follow`, until Ctrl-C or the pod's end. */
export async function printLogs(wish: LogsWish): Promise<void> {
  const lab = runningLab(wish.dir)
  const { pod, container } = await findContainer(lab, wish.pod, wish.container)
  lab.api.close()
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const folder = logFolder(lab.place.folder, pod.metadata?.uid ?? '', container)
  for await (const text of readLogs(folder, wish, stop.signal)) {
    if (!process.stdout.write(text)) await once(process.stdout, 'drain')
  }
}
