import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { findCgroupRoot, findPods, openNetns, podCgroups, podUidOf } from './discover.ts'

const UID = '0d5a1f7c-52a1-4f0e-9d3c-3a0c8f3f2b11'

test('cgroup2 is found wherever it is mounted, with the escapes of the mount table', () => {
  const mounts = 'cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/a\\040b cgroup2 rw 0 0\n'
  assert.equal(findCgroupRoot(mounts), '/sys/fs/a b')
  assert.equal(findCgroupRoot('cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n'), null)
})

test("the UID is read from the kubelet's two ways to name a pod's cgroup, and from nothing else", () => {
  const systemd = `kubepods-besteffort-pod${UID.replaceAll('-', '_')}.slice`
  assert.equal(podUidOf(['kubepods', 'besteffort', `pod${UID}`]), UID)
  assert.equal(podUidOf(['kubepods', `pod${UID}`]), UID)
  assert.equal(podUidOf(['kubepods.slice', 'kubepods-besteffort.slice', systemd]), UID)
  assert.equal(podUidOf(['kubelet.slice', `kubelet-${systemd}`]), UID)
  assert.equal(podUidOf(['kubepods', 'pod0123456789abcdef0123456789abcdef']), '0123456789abcdef0123456789abcdef')
  for (const path of [
    [],
    ['system.slice', `pod${UID}`],
    [`pod${UID}.slice`],
    ['kubepods', `xpod${UID}`],
    ['kubepods', 'pod'],
  ]) {
    assert.equal(podUidOf(path), null, path.join('/'))
  }
})

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

test('pods are found at any depth, but not inside another pod, and a UID found twice is nobody', () => {
  const other = UID.replace('0d', '1d')
  const third = UID.replace('0d', '2d')
  const inner = UID.replace('0d', '3d')
  const cgroups = {
    [`lab/node/kubepods/besteffort/pod${UID}/app`]: [],
    [`kubepods/pod${other}/kubepods/pod${inner}`]: [],
    [`kubepods/pod${third}`]: [],
    [`kubepods/burstable/pod${third}`]: [],
    [`a/b/c/d/kubepods/pod${inner}/x/y`]: [],
    [`a/b/c/d/e/kubepods/pod${inner.replace('3d', '4d')}`]: [],
  }
  tree(cgroups, (root) => {
    assert.deepEqual([...podCgroups(root).keys()].sort(), [UID, other, inner].sort())
    assert.equal(podCgroups(root).get(inner), join(root, `a/b/c/d/kubepods/pod${inner}`))
  })
})

test('a pod without cgroup, without process, or with the network of the node is told apart', () => {
  const cgroups = { [`kubepods/pod${UID}/app`]: [process.pid], [`kubepods/pod${UID.replace('0d', '1d')}`]: [] }
  tree(cgroups, (root) => {
    const found = findPods([UID, UID.replace('0d', '1d'), 'none'], root)
    const why = [...found.values()].map((place) => (place.found ? 'found' : place.why))
    assert.match(why[0] ?? '', /hostNetwork/)
    assert.match(why[1] ?? '', /no process/)
    assert.match(why[2] ?? '', /no cgroup/)
  })
})

test('a process that has left, or that never was, is no process of the pod', () => {
  tree({ [`kubepods/pod${UID}`]: [2 ** 22 + 1] }, (root) => {
    const place = openNetns(join(root, `kubepods/pod${UID}`))
    assert.deepEqual(place, { found: false, why: 'its processes ended while they were looked at' })
  })
})
