// Discovery in a real cgroup tree: from the UID to the network namespace, and to the capture.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, fstatSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { findPods } from '../../agent/kernel/discover.ts'
import { probe } from '../../agent/kernel/probe.ts'
import { reconcile, type Wanted } from '../../agent/kernel/reconcile.ts'
import { PLAIN_TERMS } from '../../agent/model/terms.ts'
import { bpfWorld } from './world.ts'

const ability = probe()
const UID = '7c1f6a52-93d5-4b7a-8f5e-2f1f6f0d4c01'

/** Starts a process in a cgroup (made for it) and a network namespace. */
async function startIn(cgroup: string, netns: string | null): Promise<ChildProcess> {
  mkdirSync(cgroup, { recursive: true })
  const enter = netns === null ? [] : ['nsenter', `--net=/run/netns/${netns}`]
  // the shell enters the cgroup first: what it becomes is there from its first moment, as a container is
  const script = `echo $$ > '${cgroup}/cgroup.procs' && exec ${enter.join(' ')} sh -c 'echo up; exec sleep 60'`
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return child
}

test('pods are found by cgroup, captured, found anew after a sandbox change, and released', async (t) => {
  if (ability.able === 'no') return t.skip(ability.needs)
  assert.equal(ability.able, 'yes')
  if (ability.able !== 'yes') return
  const world = bpfWorld(ability.cgroupRoot, 250)
  const root = join(ability.cgroupRoot, `t-k${process.pid}`)
  const slice = `kubepods-besteffort-pod${UID.replaceAll('-', '_').replace('7c', '8c')}.slice`
  const hostUid = UID.replace('7c', '8c')
  const cgroups = {
    pod: join(root, 'kubepods/besteffort', `pod${UID}`, 'app'),
    host: join(root, 'kubepods.slice/kubepods-besteffort.slice', slice, 'app'),
  }
  const children: ChildProcess[] = []
  const stop = async (child: ChildProcess): Promise<void> => {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  try {
    const pod = world.pod()
    children.push(await startIn(cgroups.pod, pod.uid), await startIn(cgroups.host, null))
    // a younger process of the pod in a namespace of its own making must not stand for it
    const other = world.pod()
    children.push(await startIn(cgroups.pod, other.uid))

    const found = findPods([UID, hostUid], [root])
    const place = found.get(UID)
    assert.ok(place?.found)
    assert.equal(fstatSync(place.netns).ino, fstatSync(pod.netns).ino)
    closeSync(place.netns)
    const host = found.get(hostUid)
    assert.ok(host && !host.found)
    assert.match(host.why, /hostNetwork/)

    const find = (uids: readonly string[]): ReturnType<typeof findPods> => findPods(uids, [root])
    const want = (uid: string, ip: string): Wanted => ({ uid, ips: [ip], terms: PLAIN_TERMS })
    const bringInLine = (...wanted: Wanted[]): ReturnType<typeof reconcile> =>
      reconcile(world.kernel, { wanted, announced: new Set(), leaving: new Set(), others: [] }, find)
    const first = await bringInLine(want(UID, pod.ip), want(hostUid, '10.0.0.1'))
    assert.equal(first.get(UID)?.captured, true)
    assert.deepEqual(first.get(hostUid), { captured: false, why: host.why })
    const captured = world.kernel.captured().get(UID)
    assert.deepEqual((await bringInLine(want(UID, pod.ip))).get(UID), { captured: true, pod: captured })

    // the sandbox dies; what is left of the pod is in the other namespace, under another address
    await stop(children.shift()!)
    const moved = (await bringInLine(want(UID, other.ip))).get(UID)
    assert.ok(moved?.captured)
    assert.notEqual(moved.pod.cookie, captured?.cookie)

    await bringInLine()
    assert.equal(world.kernel.captured().size, 0)
  } finally {
    for (const child of children) await stop(child)
    await world.close()
    for (const path of [cgroups.pod, cgroups.host]) {
      for (let at = path; at !== ability.cgroupRoot; at = join(at, '..')) {
        try {
          rmdirSync(at)
        } catch {
          break // a parent that the other branch still needs
        }
      }
    }
  }
})

function mountHierarchy(folder: string, name: string): void {
  execFileSync('mount', ['-t', 'cgroup', '-o', `none,name=${name}`, 'cgroup', folder])
}

/**
 * A hierarchy ends a moment after its last unmount, unless the kernel had not yet freed its removed cgroups then: it is
 * unmounted again.
 */
async function endHierarchy(folder: string, name: string): Promise<void> {
  for (let turn = 0; turn < 25; turn++) {
    if (turn > 0) mountHierarchy(folder, name)
    execFileSync('umount', [folder])
    await sleep(200)
    if (!readFileSync('/proc/self/cgroup', 'utf8').includes(`name=${name}:`)) return
  }
  throw new Error(`the hierarchy ${name} does not end`)
}

test('a pod that stands in a hierarchy of version 1 alone is found there, past the monitor beside its container', async (t) => {
  if (ability.able === 'no') return t.skip(ability.needs)
  assert.equal(ability.able, 'yes')
  if (ability.able !== 'yes') return
  const world = bpfWorld(ability.cgroupRoot, 251)
  // a hierarchy without controllers can be had on every machine
  const name = `weft-test-${process.pid}`
  const v1 = mkdtempSync(join(tmpdir(), 'weft-v1-'))
  const inPod = join(v1, 'kubepods', `pod${UID}`)
  const cgroups = [join(inPod, 'crio-conmon-a'), join(inPod, 'crio-a'), inPod, join(v1, 'kubepods')]
  const children: ChildProcess[] = []
  let isMounted = false
  try {
    mountHierarchy(v1, name)
    isMounted = true
    const pod = world.pod()
    children.push(await startIn(cgroups[0]!, null), await startIn(cgroups[1]!, pod.uid))
    const place = findPods([UID], [ability.cgroupRoot, v1]).get(UID)
    assert.ok(place?.found)
    assert.equal(fstatSync(place.netns).ino, fstatSync(pod.netns).ino)
    // found by version 1, and covered by programs at the root of cgroup2
    const want: Wanted = { uid: UID, ips: [pod.ip], terms: PLAIN_TERMS }
    const wish = { wanted: [want], announced: new Set<string>(), leaving: new Set<string>(), others: [] }
    const standing = (await reconcile(world.kernel, wish, (uids) => findPods(uids, [v1]))).get(UID)
    assert.equal(standing?.captured, true)
    closeSync(place.netns)
  } finally {
    for (const child of children) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await world.close()
    for (const path of isMounted ? cgroups : []) if (existsSync(path)) rmdirSync(path)
    if (isMounted) await endHierarchy(v1, name)
    rmdirSync(v1)
  }
})
