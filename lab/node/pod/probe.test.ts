import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Probe } from '@kubernetes/client-node'
import { type ProbeKind, keepProbing, tryProbe } from './probe.ts'

const target = (codes: readonly number[]) => {
  let at = 0
  return {
    address: '127.0.0.1',
    container: { name: 'c' },
    exec: () => Promise.resolve({ code: codes[Math.min(at++, codes.length - 1)] ?? 0, output: '' }),
  }
}

/** The verdicts of a probe whose command exits with `codes`, the last one for ever, until there are `count` or it is over. */
async function verdictsOf(kind: ProbeKind, codes: readonly number[], count: number): Promise<boolean[]> {
  const stop = new AbortController()
  const verdicts: boolean[] = []
  const verdict = (healthy: boolean): void => {
    verdicts.push(healthy)
    if (verdicts.length === count) stop.abort()
  }
  const probe: V1Probe = { exec: { command: ['check'] }, periodSeconds: 0.001, failureThreshold: 2 }
  await keepProbing({ kind, probe, target: target(codes), verdict, failed: () => undefined }, stop.signal)
  return verdicts
}

test('a probe that cannot even be sent has failed, and says why', async () => {
  const said = (probe: V1Probe): Promise<string | null> => tryProbe(probe, target([0]))
  assert.match((await said({ httpGet: { port: 80, path: '/a b' } })) ?? '', /unescaped characters/)
  assert.match((await said({ httpGet: { port: 80, httpHeaders: [{ name: 'a b', value: '' }] } })) ?? '', /header name/i)
  assert.match((await said({ tcpSocket: { port: 70_000 } })) ?? '', /port/i)
})

test('a liveness probe condemns a container once: its end takes longer than the next period', async () => {
  assert.deepEqual(await verdictsOf('Liveness', [0, 1, 0, 1, 1], 99), [true, true, false])
})

test('a startup probe is over when it passed, or when it failed for good', async () => {
  assert.deepEqual(await verdictsOf('Startup', [1, 0], 99), [true])
  assert.deepEqual(await verdictsOf('Startup', [1, 1], 99), [false])
})

test('a readiness probe goes on, whatever it said', async () => {
  assert.deepEqual(await verdictsOf('Readiness', [0, 1, 1, 0], 4), [true, false, true, true])
})
