import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Installation, removeInstallation } from './installation.ts'

const LIST = JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'bridge' }] })
const PATIENCE_MS = 5_000

async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!isSo()) {
    assert.ok(performance.now() < deadline, `in vain: ${what}`)
    await sleep(10)
  }
}

function node(t: { after(end: () => void): void }, hasConfiguration = true) {
  const root = mkdtempSync(join(tmpdir(), 'weft-cni-'))
  const places = { binDir: join(root, 'bin'), confDir: join(root, 'net.d'), stateDir: join(root, 'state') }
  const program = join(root, 'program')
  writeFileSync(program, 'the plug-in')
  mkdirSync(join(places.stateDir, 'closed'), { recursive: true })
  const file = join(places.confDir, '10-net.conflist')
  if (hasConfiguration) mkdirSync(places.confDir)
  if (hasConfiguration) writeFileSync(file, LIST, { mode: 0o644 })
  const entry = { socket: '/s', closed: '/c', agentNamespace: 'weft-system', timeoutSeconds: 15, heardSeconds: 5 }
  const log = { info: () => undefined, warn: () => undefined }
  const installation = new Installation({ ...places, program, entry, log })
  t.after(() => {
    installation.stop()
    rmSync(root, { recursive: true })
  })
  return { places, file, installation, isIn: () => readFileSync(file, 'utf8').includes('weft-cni') }
}

test('program and entry are put in whole, and others’ rights stay', (t) => {
  const { places, file, installation, isIn } = node(t)
  installation.start()
  assert.ok(isIn())
  assert.equal(installation.lack, null)
  assert.equal(readFileSync(join(places.binDir, 'weft-cni'), 'utf8'), 'the plug-in')
  assert.deepEqual(
    [statSync(join(places.binDir, 'weft-cni')).mode & 0o777, statSync(file).mode & 0o777],
    [0o755, 0o644],
  )
  assert.deepEqual([readdirSync(places.binDir), readdirSync(places.confDir)], [['weft-cni'], ['10-net.conflist']])
})

test('what another program rewrites is repaired, and told where it does so again and again', async (t) => {
  const { file, installation, isIn } = node(t)
  installation.start()
  for (let times = 0; times < 3; times++) {
    writeFileSync(file, LIST)
    await until('it is repaired', isIn)
  }
  assert.match(installation.lack ?? '', /again and again/)
  writeFileSync(file, LIST)
  await sleep(500)
  assert.ok(!isIn(), 'it does not fight')
})

test('a configuration that comes later, or comes first, gets the entry', async (t) => {
  const { places, file, installation, isIn } = node(t)
  installation.start()
  const earlier = join(places.confDir, '05-other.conflist')
  writeFileSync(earlier, LIST)
  await until('the new first file has it', () => readFileSync(earlier, 'utf8').includes('weft-cni'))
  assert.ok(existsSync(file) && isIn())
})

test('without a configuration there is a lack, not an error', (t) => {
  const { installation } = node(t, false)
  installation.start()
  assert.match(installation.lack ?? '', /no CNI has written/)
})

test('nothing is left after a removal, which may be made twice', (t) => {
  const { places, file, installation } = node(t)
  installation.start()
  installation.stop()
  for (const folder of [places.binDir, places.confDir])
    writeFileSync(join(folder, '.weft-7.tmp'), 'of one that was killed')
  removeInstallation(places)
  removeInstallation(places)
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), JSON.parse(LIST))
  assert.deepEqual([readdirSync(places.binDir), existsSync(places.stateDir)], [[], false])
  assert.deepEqual(readdirSync(places.confDir), ['10-net.conflist'])
})
