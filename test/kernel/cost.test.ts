// What the programs cost, by the kernel's own run statistics: a pod that did not join pays one look-up a connect.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import test from 'node:test'
import { probe } from '../../agent/kernel/probe.ts'
import { cgroupRoot, fault, take } from './kernel-test.ts'
import { objects } from './objects.ts'
import { bpfWorld } from './world.ts'

const STATS = '/proc/sys/kernel/bpf_stats_enabled'
const CONNECTS = 5000

interface Run {
  readonly id: number
  readonly name?: string
  readonly run_time_ns?: number
  readonly run_cnt?: number
}

/** Runs and nanoseconds of this process's programs, by name. */
function runs(): Map<string, { readonly count: number; readonly ns: number }> {
  const own = objects().prog
  const shown = JSON.parse(execFileSync('bpftool', ['-j', 'prog', 'show'], { encoding: 'utf8' })) as Run[]
  const mine = shown.filter(({ id }) => own.includes(id))
  return new Map(mine.map(({ name = '', run_time_ns: ns = 0, run_cnt: count = 0 }) => [name, { count, ns }]))
}

/** Python that connects to where nobody answers, from a socket each, and forgets it. */
const DIALS = (ip: string): string => `
import socket
for i in range(${CONNECTS}):
  c = socket.socket(); c.setblocking(False); c.connect_ex(('${ip}', 9)); c.close()
`

test('a connect of a pod that did not join costs a fraction of a captured one', { timeout: 60_000 }, async (t) => {
  if (probe().able === 'no') return t.skip('pods cannot be captured here')
  const before = readFileSync(STATS, 'utf8')
  const world = bpfWorld(cgroupRoot, 120)
  try {
    writeFileSync(STATS, '1')
    const [joined, other] = [world.pod(), world.pod()]
    const held = world.sockets.hold(world.kernel.capture(joined))
    held.accept('outbound', { onFault: fault, onAccept: (fd) => take(fd).destroy() })
    const cost = async (pod: typeof joined): Promise<Record<string, number>> => {
      const first = runs()
      await world.node.printed(pod.uid, DIALS('10.9.9.9'))
      const costs = [...runs()].map(([name, { count, ns }]) => {
        const was = first.get(name) ?? { count: 0, ns: 0 }
        return [name, count === was.count ? 0 : (ns - was.ns) / (count - was.count)] as const
      })
      return Object.fromEntries(costs)
    }
    await cost(other)
    const [unjoined, captured] = [await cost(other), await cost(joined)]
    for (const name of ['weft_connect4', 'weft_handshake', 'weft_inbound']) {
      const [free, paid] = [unjoined[name] ?? 0, captured[name] ?? 0]
      t.diagnostic(
        `${name}: ${Math.round(free)} ns of a pod that did not join, ${Math.round(paid)} ns of a captured one`,
      )
    }
    const [free, paid] = [unjoined['weft_connect4'] ?? 0, captured['weft_connect4'] ?? 0]
    assert.ok(free > 0 && free < paid / 2, `${free} against ${paid}`)
  } finally {
    writeFileSync(STATS, before)
    await world.close()
  }
})
