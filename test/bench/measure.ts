// One measurement: load against one proxy, what that cost its process, and what the load saw.

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Proxy, ProxyName } from './proxies.ts'

const run = promisify(execFile)

/** What one window of load gave. */
export interface Measured {
  readonly requests: number
  /** CPU time of the proxy's process and its children (of a pair of both), user and system, in microseconds a request. */
  readonly cpuUs: number
  readonly perSecond: number
  readonly p50Us: number
  readonly p99Us: number
  /** Requests that failed, by wrk's count of socket errors and of statuses beyond 399. */
  readonly errors: number
}

export interface Load {
  readonly path: string
  readonly connections: number
  readonly seconds: number
}

/** Load for so long, by wrk; it knows whole seconds only and is asked to end where these are more than was wanted. */
export async function measure(proxy: Proxy, { path, connections, seconds }: Load): Promise<Measured> {
  const before = spentNs(proxy)
  const script = new URL('count.lua', import.meta.url).pathname
  const target = `http://127.0.0.1:${proxy.port}${path}`
  const args = ['-t1', `-c${connections}`, `-d${Math.ceil(seconds)}s`, '-s', script, target]
  const running = run('taskset', ['-c', '0', 'wrk', ...args])
  const timer = Number.isInteger(seconds) ? undefined : setTimeout(() => running.child.kill('SIGINT'), seconds * 1000)
  const { stdout } = await running.finally(() => clearTimeout(timer))
  const spent = spentNs(proxy) - before
  const seen = JSON.parse(stdout.slice(stdout.lastIndexOf('\n{') + 1)) as Seen
  return {
    requests: seen.requests,
    cpuUs: spent / 1000 / seen.requests,
    perSecond: seen.requests / (seen.durationUs / 1e6),
    p50Us: seen.p50Us,
    p99Us: seen.p99Us,
    errors: seen.errors,
  }
}

interface Seen {
  readonly requests: number
  readonly durationUs: number
  readonly p50Us: number
  readonly p99Us: number
  readonly errors: number
}

/** Time on a processor of a proxy, and of its other half where it is one of a pair. */
function spentNs({ pid, callee }: Proxy): number {
  return cpuNs(pid) + (callee === null ? 0 : cpuNs(callee.pid))
}

/** Time on a processor of a process and all below it, in nanoseconds (/proc/PID/task/TID/schedstat, first field). */
export function cpuNs(pid: number): number {
  let sum = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const at = `/proc/${pid}/task/${task}`
    sum += Number(readFileSync(`${at}/schedstat`, 'utf8').split(' ', 1)[0])
    for (const child of readFileSync(`${at}/children`, 'utf8').split(' ')) if (child !== '') sum += cpuNs(Number(child))
  }
  return sum
}

/** Each proxy gathers some records before it writes them, the slowest for a second. */
const SETTLE_MS = 1500

/** Lines that each proxy has written by now. */
export async function recordsOf(
  proxies: readonly Pick<Proxy, 'name' | 'log'>[],
): Promise<ReadonlyMap<ProxyName, number>> {
  await sleep(SETTLE_MS)
  const counts = proxies.map(async ({ name, log }): Promise<[ProxyName, number]> => {
    const { stdout } = await run('wc', ['-l', log])
    return [name, Number.parseInt(stdout, 10)]
  })
  return new Map(await Promise.all(counts))
}
