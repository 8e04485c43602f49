import assert from 'node:assert/strict'
import { closeSync, openSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import type { Found } from '../kernel/discover.ts'
import type { Workload } from '../model/workload.ts'
import { Places, PLACES_MAX } from './places.ts'

const NOWHERE: Found = { found: false, why: 'no process in its cgroup yet' }
const nowhere = (uids: readonly string[]): ReadonlyMap<string, Found> => new Map(uids.map((uid) => [uid, NOWHERE]))
const openFds = (): number => readdirSync('/proc/self/fd').length
/** Not a namespace: places do not look at what the kernel will refuse. */
const open = (path = '/proc/self/ns/net'): number => openSync(path, 'r')

function place(places: Places, uid: string, containerId = 'c', path?: string): void {
  const netns = open(path)
  places.put(uid, { containerId, ips: ['10.0.0.5'], netns })
  closeSync(netns)
}

function closeAll(found: ReadonlyMap<string, Found>): void {
  for (const each of found.values()) if (each.found) closeSync(each.netns)
}

test('a pod without a process is found where the runtime says that it is, as often as it is looked for', () => {
  const before = openFds()
  const places = new Places()
  place(places, 'a')
  const find = places.find(nowhere, () => false)
  for (let times = 0; times < 2; times++) {
    const found = find(['a', 'b'])
    assert.deepEqual([found.get('a')?.found, found.get('b')], [true, NOWHERE])
    closeAll(found)
  }
  places.close()
  assert.equal(openFds(), before)
})

test('once a process stands in it and the status has the address, the place is forgotten', () => {
  const places = new Places()
  place(places, 'a')
  let isAddressed = false
  const find = places.find(
    () => new Map([['a', { found: true, netns: open(), pid: 1 }]]),
    () => isAddressed,
  )
  closeAll(find(['a']))
  assert.ok(places.has('a'))
  isAddressed = true
  closeAll(find(['a']))
  assert.ok(!places.has('a'))
})

test('a process that is left of an earlier sandbox does not lead back to it', () => {
  const before = openFds()
  const places = new Places()
  place(places, 'a')
  const find = places.find(
    () => new Map([['a', { found: true, netns: open('/proc/self/ns/uts'), pid: 1 }]]),
    () => true,
  )
  const found = find(['a']).get('a')
  assert.ok(found?.found && found.pid === 0 && places.has('a'))
  closeSync(found.netns)
  places.close()
  assert.equal(openFds(), before)
})

test('the end of an earlier sandbox does not take away the place of the next', () => {
  const places = new Places()
  place(places, 'a', 'first')
  place(places, 'a', 'second')
  places.drop('a', 'first')
  assert.ok(places.has('a'))
  places.drop('a', 'second')
  assert.ok(!places.has('a'))
})

test('an address is lent only while the status has none', () => {
  const places = new Places()
  place(places, 'a')
  const pod = (ips: readonly string[]) => ({ uid: 'a', ips }) as unknown as Workload
  assert.deepEqual(places.placed(pod([])).ips, ['10.0.0.5'])
  assert.deepEqual(places.placed(pod(['10.0.0.9'])).ips, ['10.0.0.9'])
  places.close()
})

test('the table has a bound', () => {
  const before = openFds()
  const places = new Places()
  for (let n = 0; n < PLACES_MAX + 2; n++) place(places, `${n}`)
  assert.deepEqual([places.size, places.has('1'), places.has('2')], [PLACES_MAX, false, true])
  places.keepOnly(new Set(['2']))
  assert.equal(places.size, 1)
  places.close()
  assert.equal(openFds(), before)
})
