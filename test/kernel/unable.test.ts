// An agent on a machine that cannot capture: it says why, once, and stays unready instead of ending again and again.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

const PORT = 25020
const url = (page: string): string => `http://127.0.0.1:${PORT}${page}`

async function answer(page: string): Promise<{ status: number; body: string }> {
  for (let i = 0; i < 100; i++) {
    try {
      const response = await fetch(url(page))
      return { status: response.status, body: await response.text() }
    } catch {
      await sleep(50) // it does not listen yet
    }
  }
  return { status: 0, body: '' }
}

test('an agent whose machine cannot capture stays up, unready, with one sentence', { timeout: 30_000 }, async (t) => {
  if (process.geteuid?.() !== 0) return t.skip('needs root: without it the command itself says so')
  const folder = mkdtempSync(join(tmpdir(), 'weft-unable-')) // no cgroup2: nothing can be attached there
  const flags = ['--node', 'n', '--cgroup-root', folder, '--admin-address', '127.0.0.1', '--admin-port', `${PORT}`]
  const weft = join(import.meta.dirname, '../../agent/main.ts')
  const agent = spawn(process.execPath, [weft, 'agent', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] })
  let log = ''
  agent.stdout.on('data', (text: Buffer) => (log += text.toString()))
  try {
    assert.deepEqual(await answer('/readyz'), { status: 503, body: 'attach handshake at ' + folder + ': EBADF\n' })
    assert.equal((await answer('/healthz')).status, 200)
    assert.equal((await answer('/status')).status, 401)
    const asked = await fetch(url('/status'), { headers: { authorization: 'Bearer any' } })
    assert.deepEqual([asked.status, /Kubernetes API/.test(await asked.text())], [503, true]) // there is none to ask
    await sleep(500)
    assert.equal(agent.exitCode, null)
    assert.equal(log.trim().split('\n').length, 1)
  } finally {
    agent.kill('SIGTERM')
    const [code] = (await once(agent, 'exit')) as [number]
    rmSync(folder, { recursive: true })
    assert.equal(code, 0)
  }
})
