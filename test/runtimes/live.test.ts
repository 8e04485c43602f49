// Containers of real runtimes in cgroups of a kubelet's naming: their network namespace is found, by cgroup2 and by version 1,
// from the machine and from a container that has the rights and mounts of an agent.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, rmdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { findCgroupRoot, podTrees } from '../../agent/kernel/cgroup-mounts.ts'
import { type Bundle, isThere, runIn, type Sight, start, writeBundle } from './container.ts'
import type { Sought } from './seek.ts'

const ROOT = findCgroupRoot()
const TREES = ROOT === null ? [] : podTrees(ROOT)
const HAS_V1 = TREES.length > 1
const REPOSITORY = new URL('../..', import.meta.url).pathname.replace(/\/$/, '')
const UID = `7c1f6a52-93d5-4b7a-8f5e-${String(process.pid).padStart(12, '0')}`
const TOP = `t-runtimes-${process.pid}`
const POD = `/${TOP}/kubepods/burstable/pod${UID}`

const RUNTIMES: Readonly<Record<string, (state: string) => readonly string[]>> = {
  crun: (state) => ['crun', '--root', state, '--cgroup-manager=cgroupfs'],
  runc: (state) => ['runc', '--root', state],
}

/** Why there is nothing to run here, or null. */
const LACK = lack()

function lack(): string | null {
  if (process.geteuid?.() !== 0 || ROOT === null) return 'needs root and cgroup2'
  return isThere('crun') ? null : 'crun is not on this machine'
}

interface Room {
  readonly folder: string
  readonly command: readonly string[]
  /** To be done when it ends, the last first. */
  readonly undo: (() => void)[]
}

/** A place for containers of one runtime; whatever they leave is removed. */
async function inRoom(runtime: string, run: (room: Room) => void | Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-runtimes-'))
  const undo: (() => void)[] = []
  try {
    await run({ folder, command: RUNTIMES[runtime]?.(join(folder, 'state')) ?? [], undo })
  } finally {
    for (const step of undo.toReversed()) step()
    removeCgroups()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Removes what the test made in every hierarchy, also in those that are not searched. */
function removeCgroups(): void {
  const base = '/sys/fs/cgroup'
  for (const at of [base, ...readdirSync(base).map((name) => join(base, name))]) removeCgroup(join(at, TOP))
}

function removeCgroup(folder: string): void {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(join(folder, entry.name))
  }
  rmdirSync(folder)
}

function startPod(room: Room, sight: Sight): number {
  const folder = join(room.folder, 'pod')
  const none: Pick<Bundle, 'binds' | 'capabilities'> = { binds: [], capabilities: [] }
  const namespaces = ['pid', 'network', 'ipc', 'uts']
  writeBundle({ folder, cgroupsPath: `${POD}/app`, args: ['/bin/sleep', '60'], namespaces, ...none })
  const id = `${TOP}-pod`
  room.undo.push(() => void runIn(sight, [...room.command, 'delete', '--force', id]))
  return start(room.command, sight, id, folder)
}

const netnsOf = (pid: number): number => statSync(`/proc/${pid}/ns/net`).ino

function seekHere(): Sought {
  return JSON.parse(runIn('as it is', [process.execPath, join(REPOSITORY, 'test/runtimes/seek.ts'), UID])) as Sought
}

/** In which trees a container stands that a runtime with this sight made. */
function standsIn(tree: string, sight: Sight, runtime: string): boolean {
  const isV2 = tree === ROOT
  if (sight === 'cgroup2') return isV2
  return sight === 'version 1' ? !isV2 : !isV2 || !HAS_V1 || runtime === 'runc'
}

/** Sights that a runtime can have here: without version 1 there is one, and crun refuses a hybrid machine. */
function sightsOf(runtime: string): readonly Sight[] {
  if (!HAS_V1) return ['as it is']
  return runtime === 'crun' ? ['version 1', 'cgroup2'] : ['as it is', 'version 1', 'cgroup2']
}

for (const runtime of Object.keys(RUNTIMES).filter(isThere)) {
  for (const sight of sightsOf(runtime)) {
    test(`a container that ${runtime} runs is found where the runtime sees cgroups ${sight}`, async (t) => {
      if (LACK !== null) return t.skip(LACK)
      await inRoom(runtime, (room) => {
        const netns = netnsOf(startPod(room, sight))
        assert.notEqual(netns, netnsOf(process.pid))
        const sought = seekHere()
        assert.deepEqual(sought.trees, TREES)
        assert.equal(sought.all, netns)
        for (const [index, tree] of TREES.entries()) {
          const isIn = standsIn(tree, sight, runtime)
          if (isIn) assert.equal(sought.each[index], netns, tree)
          else assert.match(String(sought.each[index]), /^no (cgroup|process)/, tree)
        }
      })
    })
  }
}

/** What a container with the mounts of an agent finds; on a hybrid machine its own runtime sees cgroup2 alone. */
function seekInContainer(room: Room, isGiven: boolean): Sought {
  const folder = join(room.folder, 'agent')
  const node = join(room.folder, 'node')
  mkdirSync(node)
  const given = isGiven ? [[node, '/host/sys/fs/cgroup'] as const] : []
  writeBundle({
    ...{
      folder,
      cgroupsPath: `/${TOP}/kubepods/podaaaaaaaa-0000-4000-8000-${String(process.pid).padStart(12, '0')}/agent`,
    },
    args: [process.execPath, join(REPOSITORY, 'test/runtimes/seek.ts'), UID],
    namespaces: ['cgroup', 'ipc', 'uts'], // the network and the processes are the node's: hostNetwork, hostPID
    binds: [...given, [REPOSITORY, REPOSITORY], ...nodeOf()],
    capabilities: ['CAP_SYS_PTRACE', 'CAP_SYS_ADMIN', 'CAP_NET_ADMIN'],
  })
  const run = [...room.command, 'run', '--bundle', folder, `${TOP}-agent`]
  return JSON.parse(runIn(HAS_V1 ? 'cgroup2' : 'as it is', run, `mount --rbind /sys/fs/cgroup ${node}`)) as Sought
}

/** The program that runs this test, where it is not among what a container shares anyhow. */
function nodeOf(): (readonly [string, string])[] {
  const folder = join(process.execPath, '..')
  return process.execPath.startsWith(`${REPOSITORY}/`) || folder.startsWith('/usr') ? [] : [[folder, folder]]
}

for (const sight of sightsOf('crun')) {
  test(`an agent's container finds a pod whose runtime sees cgroups ${sight}, in the node's trees and no other`, async (t) => {
    if (LACK !== null) return t.skip(LACK)
    await inRoom('crun', (room) => {
      const netns = netnsOf(startPod(room, sight))
      const sought = seekInContainer(room, true)
      assert.deepEqual(
        sought.trees,
        TREES.map((tree) => `/host${tree}`),
      )
      assert.equal(sought.doubt, null)
      assert.equal(sought.all, netns)
    })
  })
}

test('a container that was not given the node’s trees is told so, and finds nothing', async (t) => {
  if (LACK !== null) return t.skip(LACK)
  await inRoom('crun', (room) => {
    startPod(room, sightsOf('crun').at(-1) ?? 'as it is')
    const sought = seekInContainer(room, false)
    assert.match(sought.doubt ?? '', /mount the node's \/sys\/fs\/cgroup at \/host/)
    assert.match(String(sought.all), /^no cgroup of it under \/sys\/fs\/cgroup yet$/)
  })
})

test('a container that Podman runs is found', async (t) => {
  if (LACK !== null) return t.skip(LACK)
  if (!isThere('podman')) return t.skip('podman is not on this machine')
  await inRoom('crun', (room) => {
    // with cgroup2 alone it raises a limit of memory for its device rules, which not every root may
    const [sight = 'as it is'] = sightsOf('crun')
    const rootfs = join(room.folder, 'rootfs')
    mkdirSync(rootfs)
    const podman = [
      'podman',
      '--root',
      join(room.folder, 'store'),
      '--runroot',
      join(room.folder, 'run'),
      '--tmpdir',
      join(room.folder, 'tmp'),
    ]
    const settings = ['--cgroup-manager=cgroupfs', '--runtime=crun', '--events-backend=none', '--storage-driver=vfs']
    const base = [...podman, ...settings]
    const mounts = ['/usr', '/bin', '/lib', '/lib64'].flatMap((path) => ['--volume', `${path}:${path}:ro`])
    const order = [
      'run',
      '--detach',
      '--cgroup-parent',
      POD,
      '--network',
      'none',
      '--ulimit',
      'nofile=1024:1024',
      '--ulimit',
      'nproc=1024:1024',
      '--cgroups=no-conmon',
      '--name',
      TOP,
    ]
    const run = [...base, ...order, ...mounts]
    room.undo.push(() => void runIn(sight, [...base, 'rm', '--force', '--time', '0', TOP]))
    runIn(sight, [...run, '--rootfs', rootfs, '/bin/sleep', '60'])
    const pid = Number(runIn(sight, [...base, 'inspect', '--format', '{{.State.Pid}}', TOP]))
    assert.equal(seekHere().all, netnsOf(pid))
  })
})

test('the machine has no cgroup of these tests left', () => {
  const { stdout } = spawnSync('find', ['/sys/fs/cgroup', '-name', `${TOP}*`], { encoding: 'utf8' })
  assert.equal(stdout, '')
})
