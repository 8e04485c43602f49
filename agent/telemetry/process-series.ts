// Series of this process, by the names that Prometheus' own clients give them.
// Source: Prometheus documentation "Writing client libraries", "Process metrics".

import { readdirSync, readFileSync } from 'node:fs'
import { Counter, Gauge, Registry } from 'prom-client'

/** What a process takes of its machine. */
export interface ProcessFacts {
  readonly cpuSeconds: number
  readonly residentBytes: number
  /** Null: it has no descriptor left to look. */
  readonly openFds: number | null
  /** How many it may open; null: without a bound, or nobody can say. */
  readonly maxFds: number | null
  /** When it began, in seconds since 1970. */
  readonly startedSeconds: number
}

/** Said once: alerts take a change of it for a restart, and the wall clock may be set. */
const STARTED_SECONDS = Math.round(Date.now() / 1000 - process.uptime())

/** Of this process, now. */
export function ownProcess(): ProcessFacts {
  const { user, system } = process.cpuUsage()
  return {
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    openFds: read(() => readdirSync('/proc/self/fd').length - 1), // the folder is one while it is read
    maxFds: read(() => maxFdsIn(readFileSync('/proc/self/limits', 'utf8'))),
    startedSeconds: STARTED_SECONDS,
  }
}

function read<T>(from: () => T): T | null {
  try {
    return from()
  } catch {
    return null // the other series are what is wanted then
  }
}

/** The soft limit of open files in the text of /proc/PID/limits (proc(5)). */
export function maxFdsIn(limits: string): number | null {
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1]
  return soft === undefined ? null : Number(soft)
}

/** Renders them as Prometheus text. */
export async function renderProcessSeries(facts: ProcessFacts): Promise<string> {
  const registry = new Registry()
  const registers = [registry]
  const gauge = (name: string, help: string, value: number): void => new Gauge({ name, help, registers }).set(value)
  const help = 'CPU time of user and system together, in seconds'
  new Counter({ name: 'process_cpu_seconds_total', help, registers }).inc(facts.cpuSeconds)
  gauge('process_resident_memory_bytes', 'Memory that is resident', facts.residentBytes)
  if (facts.openFds !== null) gauge('process_open_fds', 'Open file descriptors', facts.openFds)
  if (facts.maxFds !== null) gauge('process_max_fds', 'File descriptors that it may open', facts.maxFds)
  gauge('process_start_time_seconds', 'When it began, in seconds since 1970', facts.startedSeconds)
  return registry.metrics()
}
