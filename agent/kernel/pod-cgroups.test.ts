import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { CGROUP_DEPTH, PROCESSES_MAX, podCgroups, podProcesses, podUidOf } from './pod-cgroups.ts'

const UID = '0d5a1f7c-52a1-4f0e-9d3c-3a0c8f3f2b11'
const uidOf = (number: number): string => UID.replace('0d', `${number}d`)

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
    ['kubepods', `pod${UID}.slice`],
    ['kubepods', `${systemd}:cri-containerd:0123456789ab`],
    [`notkubepods-pod${UID.replaceAll('-', '_')}.slice`],
    [`kubepods-other-pod${UID.replaceAll('-', '_')}.slice`],
    [`kubepods-pod${UID}.slice`],
  ]) {
    assert.equal(podUidOf(path), null, path.join('/'))
  }
})

/** A UID as the API server gives one, or as a kubelet computes one of a file. */
const uids = fc.oneof(
  fc.uuid(),
  fc.uuid().map((uid) => uid.replaceAll('-', '')),
)
const classes = fc.constantFrom(null, 'burstable', 'besteffort')
/** A part of `--cgroup-root`: the kubelet writes a dash in it as an underscore. */
const parts = fc.array(fc.stringMatching(/^[a-z][a-z0-9_]{0,7}$/), { maxLength: 3 })

test('the UID comes back from every name that a kubelet gives: driver, class of service, --cgroup-root', () => {
  fc.assert(
    fc.property(uids, classes, parts, (uid, qos, before) => {
      const names = [...before, 'kubepods', ...(qos === null ? [] : [qos])]
      assert.equal(podUidOf([...names, `pod${uid}`]), uid)
      // systemd.slice(5): a slice's name has those of all above it
      const slices = names.map((_, index) => `${names.slice(0, index + 1).join('-')}.slice`)
      assert.equal(podUidOf([...slices, `${names.join('-')}-pod${uid.replaceAll('-', '_')}.slice`]), uid)
    }),
  )
})

test('whatever a cgroup is called, what is read of it is a UID or nothing', () => {
  const part = fc.oneof(fc.string(), fc.constantFrom('kubepods', 'kubepods.slice', 'kubepods-burstable.slice'))
  const pieces = fc.constantFrom('kubepods', '-', 'pod', '_', '.slice', '.scope', 'burstable', UID, 'abcdef012')
  const name = fc.oneof(
    fc.string(),
    fc.array(pieces).map((words) => words.join('')),
  )
  fc.assert(
    fc.property(fc.array(part, { maxLength: 4 }), name, (above, last) => {
      const uid = podUidOf([...above, last])
      if (uid === null) return
      assert.match(uid, /^[0-9a-f][0-9a-f-]{7,63}$/)
      assert.ok(last.replaceAll('_', '-').includes(`pod${uid}`))
    }),
  )
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
  const above = Array.from({ length: CGROUP_DEPTH - 2 }, (_, depth) => `d${depth}`).join('/')
  const cgroups = {
    [`lab/node/kubepods/besteffort/pod${uidOf(0)}/app`]: [],
    [`kubepods/pod${uidOf(1)}/kubepods/pod${uidOf(3)}`]: [],
    [`kubepods/pod${uidOf(2)}`]: [],
    [`kubepods/burstable/pod${uidOf(2)}`]: [],
    [`${above}/kubepods/pod${uidOf(3)}/x/y`]: [],
    [`${above}/e/kubepods/pod${uidOf(4)}`]: [],
  }
  tree(cgroups, (root) => {
    const pods = podCgroups(root)
    assert.deepEqual([...pods.keys()].sort(), [uidOf(0), uidOf(1), uidOf(2), uidOf(3)])
    assert.equal(pods.get(uidOf(2)), null)
    assert.equal(pods.get(uidOf(3)), join(root, above, `kubepods/pod${uidOf(3)}`))
  })
})

test("what a user of the node names in a session of his is nobody's pod, nor in the way of one", () => {
  const slice = `kubepods-pod${UID.replaceAll('-', '_')}.slice`
  const session = 'user.slice/user-1000.slice/user@1000.service'
  tree({ [`${session}/kubepods.slice/${slice}/x`]: [1], [`kubepods.slice/${slice}/y`]: [2] }, (root) => {
    assert.deepEqual([...podCgroups(root)], [[UID, join(root, 'kubepods.slice', slice)]])
  })
})

test('processes are those of the pod and its containers, but not of the monitors that stand beside these', () => {
  const pod = `kubepods/burstable/pod${UID}`
  const cgroups = {
    [pod]: [1],
    [`${pod}/crio-aa`]: [2, 3],
    [`${pod}/crio-aa/container`]: [4],
    [`${pod}/crio-conmon-aa`]: [5],
    [`${pod}/crio-conmon-aa.scope`]: [6],
    [`${pod}/crio-aa/crio-conmon-bb`]: [7], // a name that a container gave
    [`${pod}/crio-aa/1/2`]: [8],
    [`${pod}/crio-aa/1/2/3`]: [9],
  }
  tree(cgroups, (root) => {
    const pids = podProcesses(join(root, pod)).map(({ pid }) => pid)
    assert.deepEqual(pids.sort(), [1, 2, 3, 4, 7, 8])
    assert.deepEqual(podProcesses(join(root, 'none')), [])
  })
})

test('of a pod with very many processes so many are looked at', () => {
  tree({ p: Array.from({ length: PROCESSES_MAX + 88 }, (_, index) => index + 1) }, (root) => {
    assert.equal(podProcesses(join(root, 'p')).length, PROCESSES_MAX)
  })
})
