import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keepaliveOf } from './keepalive.ts'

test('what a rule asks for stays within what the kernel takes, and what it leaves out is as without it', () => {
  const table: [asked: Parameters<typeof keepaliveOf>[0], given: [idle: number, interval: number, probes: number]][] = [
    [{ probes: null, timeMs: null, intervalMs: null }, [60, 75, 9]],
    [{ probes: 3, timeMs: 7_200_000, intervalMs: 75_000 }, [7200, 75, 3]],
    [{ probes: 0, timeMs: 0, intervalMs: 1 }, [1, 1, 1]],
    [{ probes: 4_000_000_000, timeMs: 1e12, intervalMs: 1500 }, [32_767, 2, 127]],
  ]
  for (const [asked, given] of table) {
    const { idleSeconds, intervalSeconds, probes } = keepaliveOf(asked)
    assert.deepEqual([idleSeconds, intervalSeconds, probes], given)
  }
})
