import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { findPods, openNetns } from './discover.ts'

const UID = '0d5a1f7c-52a1-4f0e-9d3c-3a0c8f3f2b11'
const OTHER = UID.replace('0d', '1d')
/** No process has this number. */
const GONE = 2 ** 22 + 1

/** A tree of directories with processes, as cgroupfs shows it. */
function tree(cgroups: Readonly<Record<string, readonly number[]>>, run: (root: string) => void): void {
  const root = mkdtempSync(join(tmpdir(), 'weft-cgroup-'))
  try {
    for (const [path, pids] of Object.entries(cgroups)) {
      mkdirSync(join(root, path), { recursive: true })
      writeFileSync(join(root, path, 'cgroup.procs'), pids.map((pid) => `${pid}\n`).join(''))
    }
    run(root)
  } finally {
    rmSync(root, { recursive: true })
  }
}

function whyOf(uid: string, trees: readonly string[]): string {
  const place = findPods([uid], trees).get(uid)
  return place === undefined || place.found ? 'found' : place.why
}

test('a pod without cgroup, without process, or with the network of the node is told apart', () => {
  tree({ [`kubepods/pod${UID}/app`]: [process.pid], [`kubepods/pod${OTHER}`]: [] }, (root) => {
    assert.equal(whyOf(UID, [root]), "it has the node's network (hostNetwork)")
    assert.equal(whyOf(OTHER, [root]), 'no process in its cgroup yet')
    assert.equal(whyOf('none', [root, '/v1']), `no cgroup of it under ${root} or /v1 yet`)
  })
})

test('a process that has left, or that never was, is no process of the pod', () => {
  tree({ [`kubepods/pod${UID}`]: [GONE] }, (root) => {
    const place = openNetns(join(root, `kubepods/pod${UID}`))
    assert.deepEqual(place, { found: false, why: 'its processes ended while they were looked at' })
  })
})

test('a pod is looked for in the next tree where it has no process in the one before', () => {
  // this process has the network of the node: its answer shows which tree gave it
  const seen = /hostNetwork/
  const cgroups = {
    [`unified/kubepods/pod${UID}`]: [],
    'unified/system.slice': [process.pid],
    [`pids/kubepods/pod${UID}/app`]: [process.pid],
    [`pids/kubepods/burstable/pod${OTHER}/app`]: [process.pid],
  }
  tree(cgroups, (root) => {
    const trees = [join(root, 'unified'), join(root, 'systemd'), join(root, 'pids')]
    assert.match(whyOf(UID, trees), seen)
    assert.match(whyOf(OTHER, trees), seen)
    assert.equal(whyOf(UID, trees.slice(0, 2)), 'no process in its cgroup yet')
  })
})

test('one that the first tree answers for is not looked for in another', () => {
  const cgroups = { [`unified/kubepods/pod${UID}/a`]: [process.pid], [`pids/kubepods/pod${UID}/a`]: [GONE] }
  tree(cgroups, (root) => {
    assert.match(whyOf(UID, [join(root, 'unified'), join(root, 'pids')]), /hostNetwork/)
  })
})

test('a UID that two cgroups of a tree have is found in no tree', () => {
  const twice = { [`unified/kubepods/pod${UID}`]: [], [`unified/kubepods/burstable/pod${UID}`]: [] }
  tree({ ...twice, [`pids/kubepods/pod${UID}/app`]: [process.pid] }, (root) => {
    const [first, second] = [join(root, 'unified'), join(root, 'pids')] as const
    assert.equal(whyOf(UID, [first, second]), `two cgroups under ${first} have its UID`)
    assert.match(whyOf(UID, [second]), /hostNetwork/)
  })
})
