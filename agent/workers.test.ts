import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Captured } from './kernel/kernel.ts'
import type { Inventory } from './model/snapshot.ts'
import { CRASH, FALL_SILENT } from './obedient-worker.fixture.ts'
import { DEFAULT_MESH_SETTINGS } from './model/mesh-settings.ts'
import { DataSide } from './workers.ts'

const code = new URL('./obedient-worker.fixture.ts', import.meta.url)
const handles = { body: 'fake', own: -1, accepted: -1, home: -1 } as const

function inventory(version: number): Inventory {
  const nothing = { workloads: [], services: [], virtualServices: [], destinationRules: [] }
  return { version, node: 'node-1', settings: DEFAULT_MESH_SETTINGS, rootNamespace: 'istio-system', ...nothing }
}

function captured(uid: string): Captured {
  return { uid, ips: ['10.0.0.1'], cookie: uid, netns: -1, listeners: [] }
}

/** A data side with the obedient worker; `logged` has what was logged as an error. */
function start(t: { after(end: () => Promise<void>): void }) {
  const logged: string[] = []
  const error = (fields: object): void => void logged.push((fields as { reason: string }).reason)
  const data = new DataSide({ type: 'start', handles, accessLog: false }, { error }, code)
  t.after(() => data.stop(0))
  return { data, logged }
}

async function settled(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !condition(); i++) await sleep(25)
  assert.ok(condition())
}

test('the version that decides is the one the worker applied', async (t) => {
  const { data } = start(t)
  assert.equal(data.appliedVersion, 0)
  data.setInventory(inventory(3))
  await settled(() => data.appliedVersion === 3)
})

test('a worker that crashed is replaced, and told the last inventory and all captured pods', async (t) => {
  const { data, logged } = start(t)
  data.capture(captured('a'))
  data.capture(captured('b'))
  data.release('a', false)
  data.setInventory(inventory(CRASH))
  await settled(() => logged.some((reason) => reason.startsWith('it ended')))
  data.setInventory(inventory(4)) // there is no worker at this moment
  await settled(() => data.appliedVersion === 4)
  assert.equal(await data.scrape(), null)
  assert.equal(logged.at(-1), 'inventory 4, capture b')
})

test('a worker that fell silent is replaced', async (t) => {
  const { data, logged } = start(t)
  data.setInventory(inventory(FALL_SILENT))
  await settled(() => logged.some((reason) => reason.startsWith('it was silent')))
})

test('a scrape that gets no answer goes without', async (t) => {
  const { data } = start(t)
  assert.equal(await data.scrape(), null)
})
