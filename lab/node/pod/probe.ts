// Probes as the kubelet makes them, from the node's network namespace: httpGet, tcpSocket, exec.
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Container, V1Probe } from '@kubernetes/client-node'

/** Until its first success a readiness probe is tried this often, if its own period is longer. */
export const EAGER_PERIOD_MS = 1_000
const PROBE_BODY_BYTES = 10_240

export type ProbeKind = 'Startup' | 'Liveness' | 'Readiness'

export interface ProbeTarget {
  readonly address: string
  readonly container: V1Container
  /** Runs a command inside the container; resolves to its exit code and what it said. */
  exec(command: readonly string[], timeoutMs: number): Promise<{ code: number; output: string }>
}

/** One try: null when it succeeded, else the sentence that the Unhealthy event carries. Never rejects. */
export async function tryProbe(probe: V1Probe, target: ProbeTarget): Promise<string | null> {
  try {
    return await tryOnce(probe, target)
  } catch (error) {
    // A path, header or port of the manifest that Node refuses to send.
    return (error as Error).message
  }
}

async function tryOnce(probe: V1Probe, target: ProbeTarget): Promise<string | null> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000
  if (probe.httpGet) return tryHttp(probe.httpGet, target, timeoutMs)
  if (probe.tcpSocket) {
    return tryTcp(probe.tcpSocket.host ?? target.address, portOf(probe.tcpSocket.port, target.container), timeoutMs)
  }
  if (probe.exec) {
    const { code, output } = await target.exec(probe.exec.command ?? [], timeoutMs)
    return code === 0 ? null : output.trim() || `command exited with ${String(code)}`
  }
  return 'the lab has no probes of this kind'
}

/** A port by number, or by the name that the container gives it; 0 when no port has the name. */
export function portOf(port: unknown, container: V1Container): number {
  if (typeof port === 'number') return port
  const name = String(port)
  if (/^\d+$/.test(name)) return Number(name)
  return container.ports?.find((each) => each.name === name)?.containerPort ?? 0
}

function tryHttp(get: NonNullable<V1Probe['httpGet']>, target: ProbeTarget, timeoutMs: number): Promise<string | null> {
  const given = (get.httpHeaders ?? []).map(({ name, value }) => [name, value])
  const options = {
    host: get.host ?? target.address,
    port: portOf(get.port, target.container),
    path: get.path ?? '/',
    headers: { 'user-agent': 'kube-probe/1.32', ...Object.fromEntries(given) } as http.OutgoingHttpHeaders,
    agent: false,
    signal: AbortSignal.timeout(timeoutMs),
    rejectUnauthorized: false,
  }
  return new Promise((resolve) => {
    const answered = (response: http.IncomingMessage): void => {
      const code = response.statusCode ?? 0
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > PROBE_BODY_BYTES) response.destroy()
      })
      response.on('error', () => undefined)
      resolve(code >= 200 && code < 400 ? null : `HTTP probe failed with statuscode: ${String(code)}`)
    }
    const request = get.scheme === 'HTTPS' ? https.get(options, answered) : http.get(options, answered)
    request.on('error', (error) => {
      const where = `${get.scheme ?? 'HTTP'} ${options.host}:${String(options.port)}${options.path}`
      resolve(`Get "${where}": ${error.name === 'AbortError' ? 'deadline exceeded' : error.message}`)
    })
  })
}

function tryTcp(host: string, port: number, timeoutMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port })
    const end = (outcome: string | null): void => {
      socket.destroy()
      resolve(outcome)
    }
    socket.setTimeout(timeoutMs, () => {
      end(`dial tcp ${host}:${String(port)}: i/o timeout`)
    })
    socket.on('connect', () => {
      end(null)
    })
    socket.on('error', (error) => {
      end(`dial tcp ${host}:${String(port)}: ${error.message}`)
    })
  })
}

export interface ProbeLoop {
  readonly kind: ProbeKind
  readonly probe: V1Probe
  readonly target: ProbeTarget
  /** Called when the probe's verdict is reached: `true` after successThreshold, `false` after failureThreshold in a row. */
  verdict(healthy: boolean): void
  /** Called for each failed try. */
  failed(sentence: string): void
}

/** Tries a probe until the signal is aborted, or it has said all it can: a container that it condemned is not asked again. */
export async function keepProbing(loop: ProbeLoop, signal: AbortSignal): Promise<void> {
  const { probe, kind } = loop
  const periodMs = (probe.periodSeconds ?? 10) * 1000
  const pause = (ms: number): Promise<unknown> => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined)
  await pause((probe.initialDelaySeconds ?? 0) * 1000)
  let successes = 0
  let failures = 0
  let everHealthy = false
  while (!signal.aborted) {
    const failure = await tryProbe(probe, loop.target)
    if (isAborted(signal)) return
    if (failure === null) {
      successes += 1
      failures = 0
      if (successes >= (probe.successThreshold ?? 1)) {
        everHealthy = true
        loop.verdict(true)
      }
    } else {
      successes = 0
      failures += 1
      loop.failed(failure)
      if (failures >= (probe.failureThreshold ?? 3)) {
        loop.verdict(false)
        if (kind !== 'Readiness') return
      }
    }
    if (kind === 'Startup' && everHealthy) return
    await pause(kind === 'Readiness' && !everHealthy ? Math.min(periodMs, EAGER_PERIOD_MS) : periodMs)
  }
}

// A function, because the compiler takes `signal.aborted` for unchanged across an await.
const isAborted = (signal: AbortSignal): boolean => signal.aborted
