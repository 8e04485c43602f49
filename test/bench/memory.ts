// What idle connections cost in resident memory, and what a large cluster does. Of Weft the data path's process alone: the
// agent around it has a Kubernetes client too.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Proxies, type Proxy, type ProxyName } from './proxies.ts'
import type { Outcome, Pace, Say, Verdict } from './work.ts'

const CONNECTIONS = 2000
const ABREAST = 100
const SETTLE_MS = 2000
/** Requests ahead of the first look: what a process takes once, with its first thousands of requests, is no connection's. */
const WARM_UP = 3000
const REQUEST = 'GET /1k HTTP/1.1\r\nHost: web\r\n\r\n'
const [FEW, MANY] = [2, 1000]

export async function memory(names: readonly ProxyName[], pace: Pace, say: Say): Promise<Outcome> {
  const rows: string[][] = []
  const figures: unknown[] = []
  const verdicts: Verdict[] = []
  const settle = (): Promise<void> => sleep(SETTLE_MS * Math.min(1, pace.seconds))
  {
    await using proxies = await Proxies.start({ files: { '1k': 1024 }, names, apart: true, services: FEW })
    for (const proxy of proxies.all) {
      await settle()
      const fresh = residentMb(proxy)
      await using _ = await warmed(proxy)
      await settle()
      const before = residentMb(proxy)
      await using __ = await kept(proxy, CONNECTIONS)
      await settle()
      const perThousand = ((residentMb(proxy) - before) / CONNECTIONS) * 1000
      rows.push([proxy.name, fresh.toFixed(0), perThousand.toFixed(1)])
      figures.push({ proxy: proxy.name, residentMb: fresh, mbPerThousand: perThousand })
      if (proxy.name === 'weft') verdicts.push(below(perThousand, 3, 'MB a 1000 idle connections'))
      say(`memory: ${proxy.name}`)
    }
  }
  if (names.includes('weft')) {
    const few = figures.find((each) => (each as { proxy: string }).proxy === 'weft') as { residentMb: number }
    await using proxies = await Proxies.start({ files: {}, names: ['weft'], apart: true, services: MANY })
    await settle()
    const more = residentMb(proxies.all[0] as Proxy) - few.residentMb
    rows.push([`weft, ${MANY} services`, (few.residentMb + more).toFixed(0), '-'])
    figures.push({ proxy: 'weft', services: MANY, residentMb: few.residentMb + more })
    verdicts.push(below(more, 40, `MB more at ${MANY} services of ten pods`))
  }
  const head = ['process', 'resident MB', 'MB/1000 idle connections']
  return { title: 'Memory', head, rows, figures, verdicts, faults: [] }
}

function below(figure: number, bound: number, what: string): Verdict {
  return { target: `${what} ≤ ${bound}`, measured: figure.toFixed(1), met: figure <= bound ? 'yes' : 'no' }
}

/** A connection that has brought many requests, and stays. */
async function warmed({ port }: Proxy): Promise<AsyncDisposable> {
  const socket = connect({ host: '127.0.0.1', port })
  await once(socket, 'connect')
  for (let count = 0; count < WARM_UP; count++) {
    socket.write(REQUEST)
    await once(socket, 'data')
  }
  socket.resume()
  return {
    [Symbol.asyncDispose]: async () => {
      socket.destroy()
      await sleep(100)
    },
  }
}

/** Connections that were answered once and stay. */
async function kept(proxy: Proxy, count: number): Promise<AsyncDisposable> {
  const sockets: Socket[] = []
  const open = async (): Promise<void> => {
    while (sockets.length < count) {
      const socket = connect({ host: '127.0.0.1', port: proxy.port })
      sockets.push(socket)
      await once(socket, 'connect')
      socket.write(REQUEST)
      await once(socket, 'data')
      socket.resume()
    }
  }
  await Promise.all(Array.from({ length: Math.min(count, ABREAST) }, open))
  return {
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await sleep(100)
    },
  }
}

/** Of the process and those below it (VmRSS of /proc/PID/status). */
function residentMb({ pid }: Proxy): number {
  const kb = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter((each) => each !== '')
  return kb / 1024 + children.reduce((sum, child) => sum + residentMb({ pid: Number(child) } as Proxy), 0)
}
