import { NOWHERE_KNOWN } from '../model/balance/locality.ts'
import { DEFAULT_MESH_SETTINGS } from '../model/mesh-settings.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Captured } from '../kernel/kernel.ts'
import { between, wholeOf } from '../model/delta.ts'
import type { Inventory } from '../model/snapshot.ts'
import { CRASH, FALL_SILENT, ONE_FALLS_SILENT, REFUSE } from './obedient-worker.fixture.ts'
import { DataSide } from './workers.ts'

const code = new URL('./obedient-worker.fixture.ts', import.meta.url)
const handles = { body: 'fake', own: -1, accepted: -1, home: -1 } as const

function inventory(version: number): Inventory {
  const nothing = {
    workloads: [],
    services: [],
    virtualServices: [],
    destinationRules: [],
    peerAuthentications: [],
    authorizationPolicies: [],
    requestAuthentications: [],
  }
  const settings = {
    rootNamespace: 'istio-system',
    mesh: DEFAULT_MESH_SETTINGS,
    node: 'node-1',
    locality: NOWHERE_KNOWN,
  }
  return { version, ...settings, ...nothing }
}

function captured(uid: string): Captured {
  return { uid, ips: ['10.0.0.1'], cookie: uid, netns: -1, listeners: [] }
}

/** A data side with obedient workers; `logged` has what was logged as an error. */
class Side {
  readonly logged: string[] = []
  readonly data: DataSide
  #inventory: Inventory | null = null

  constructor(t: { after(end: () => Promise<void>): void }, workers = 1) {
    const log = { error: (fields: object): void => void this.logged.push((fields as { reason: string }).reason) }
    this.data = new DataSide({ start: { handles, accessLog: false }, workers, log, code })
    t.after(() => this.data.stop(0))
  }

  change(version: number): void {
    const now = inventory(version)
    const delta = this.#inventory === null ? wholeOf(now) : between(this.#inventory, now)
    this.#inventory = now
    this.data.change(delta, () => now)
  }

  /** What each worker says that it was told. */
  async told(): Promise<string[]> {
    const logged = this.logged.length
    await this.data.scrape()
    return this.logged.slice(logged).sort()
  }
}

async function settled(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !condition(); i++) await sleep(25)
  assert.ok(condition())
}

test('the version that decides is the one that every worker applied', async (t) => {
  const side = new Side(t, 2)
  assert.equal(side.data.appliedVersion, 0)
  side.change(3)
  await settled(() => side.data.appliedVersion === 3)
  await sleep(300) // the other begins a moment later
  side.change(4)
  await settled(() => side.data.appliedVersion === 4)
  assert.deepEqual(await side.told(), ['0: all of 3, 4 from 3', '1: all of 3, 4 from 3'])
})

test('changes that come while a worker is at one are told as one, and captures keep their place between', async (t) => {
  const side = new Side(t)
  side.change(1)
  side.data.capture(captured('a'))
  side.change(2)
  side.data.capture(captured('b'))
  side.change(3)
  await settled(() => side.data.appliedVersion === 3)
  assert.deepEqual(await side.told(), ['0: all of 1, capture a, 3 from 1, capture b'])
})

test('a worker that crashed is replaced, and told all of the last inventory and all captured pods', async (t) => {
  const side = new Side(t)
  side.data.capture(captured('a'))
  side.data.capture(captured('b'))
  side.data.release('a', false)
  side.data.equip({ name: 'one', failure: 'there is none' })
  side.data.equip({ name: 'other', failure: 'there is none' })
  side.data.unequip('other')
  side.data.trust({ name: 'idp', failure: 'there is none' })
  side.data.trust({ name: 'other', failure: 'there is none' })
  side.data.distrust('other')
  side.change(CRASH)
  await settled(() => side.logged.some((reason) => reason.startsWith('it ended')))
  side.change(4) // there is no worker at this moment
  await settled(() => side.data.appliedVersion === 4)
  assert.deepEqual(await side.told(), ['0: material one, keys idp, all of 4, capture b'])
})

test('a worker that fell silent is replaced', async (t) => {
  const side = new Side(t)
  side.change(FALL_SILENT)
  await settled(() => side.logged.some((reason) => reason.startsWith('it was silent')))
})

test('of several the silent one alone is replaced, what it counted stays counted, and its live counts go', async (t) => {
  const side = new Side(t, 3)
  side.change(1)
  await settled(() => side.data.appliedVersion === 1)
  const sum = async (): Promise<number> => {
    const { counters } = await side.data.scrape()
    const told = counters.flat().filter(({ name }) => name === 'weft_retries_total')
    return told.reduce((total, sample) => total + ('value' in sample ? sample.value : 0), 0)
  }
  assert.equal(await sum(), 3)
  assert.equal(side.data.counted(0), 3)
  side.change(ONE_FALLS_SILENT)
  await settled(() => side.data.appliedVersion === ONE_FALLS_SILENT)
  assert.equal(await sum(), 6)
  await settled(() => side.logged.some((reason) => reason.startsWith('it was silent')))
  await settled(() => side.data.counted(0) === 2) // it has ended
  await settled(() => side.data.counted(0) === 3) // another has begun
  await sleep(200)
  assert.deepEqual(await side.told(), [
    `0: all of 1, ${ONE_FALLS_SILENT} from 1`,
    `1: all of ${ONE_FALLS_SILENT}`,
    `2: all of 1, ${ONE_FALLS_SILENT} from 1`,
  ])
  assert.equal(await sum(), 7)
})

test('who is ejected is told by the memory that workers share, and what a dead one alone knew is forgotten', async (t) => {
  const side = new Side(t, 2)
  const ejected = (): string[] => side.data.ejectedNow().map(({ scope, endpoint }) => `${scope} ${endpoint}`)
  const both = ['a||80|default/a 10.0.0.0:80', 'a||80|default/a 10.0.0.1:80']
  await settled(() => ejected().length === 2)
  assert.deepEqual(ejected().sort(), both)
  const aheadMs = (side.data.ejectedNow()[0]?.untilMs ?? 0) - Date.now()
  assert.ok(aheadMs > 20_000 && aheadMs <= 30_000, `${aheadMs}`)
  const { counters } = await side.data.scrape()
  const gauges = counters.flat().filter(({ name }) => name === 'weft_outlier_ejected')
  assert.deepEqual(gauges, [{ name: 'weft_outlier_ejected', labels: ['a'], value: 2 }])
  side.change(1)
  await settled(() => side.data.appliedVersion === 1)
  side.change(ONE_FALLS_SILENT)
  await settled(() => ejected().length === 1)
  assert.deepEqual(ejected(), both.slice(0, 1))
  await settled(() => ejected().length === 2) // another has begun
})

test('a worker that refused a version is told all with the next', async (t) => {
  const side = new Side(t)
  side.change(1)
  side.change(REFUSE)
  await settled(() => side.logged.includes('told to refuse'))
  assert.equal(side.data.appliedVersion, 1)
  side.change(3)
  await settled(() => side.data.appliedVersion === 3)
  assert.deepEqual(await side.told(), [`0: all of 1, ${REFUSE} from 1, all of 3`])
})
