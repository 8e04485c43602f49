// `weft lab down` removes everything, also after every process of the lab was killed and its record is lost.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { findCgroup2, labCgroup } from '../../lab/node/cgroup.ts'
import { isRunning, readRecord } from '../../lab/state.ts'
import { TestLab, eventually, ran } from './lab.ts'
import { agentPids, upWithAgents } from './mesh.ts'

const MANIFESTS = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: idle }
spec:
  replicas: 3
  selector: { matchLabels: { app: idle } }
  template:
    metadata: { labels: { app: idle } }
    spec:
      containers: [{ name: idle, image: none, command: [sh, -c, 'sleep 1000 & sleep 1000'], volumeMounts: [{ name: a, mountPath: /not/there }] }]
      volumes: [{ name: a, emptyDir: {} }]
`

const cgroupOf = (lab: TestLab): string => labCgroup(findCgroup2() ?? '', lab.place.id)
const processesIn = (folder: string): number[] =>
  globSync(join(folder, '**/cgroup.procs')).flatMap((file) =>
    readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number),
  )

/** All that a lab could leave on the machine. Other labs may run at the same time, so only this one's names are looked at. */
async function traces(lab: TestLab): Promise<object> {
  const said = async (...command: string[]): Promise<string> => (await ran(command[0] ?? '', command.slice(1))).stdout
  const ofLab = (text: string): string[] => text.split('\n').filter((line) => line.includes(lab.place.id))
  return {
    namespaces: ofLab(await said('ls', '/run/netns')),
    links: (await said('ip', '-o', 'link')).split('\n').map((line) => line.split(':')[1]),
    addresses: (await said('ip', '-o', 'address')).split('\n').map((line) => line.split(/\s+/)[3]),
    routes: await said('ip', 'route', 'show', 'table', 'all'),
    rules: await said('nft', 'list', 'ruleset'),
    cgroup: existsSync(cgroupOf(lab)),
    run: existsSync(lab.place.run),
    mounts: ofLab(readFileSync('/proc/mounts', 'utf8')),
    files: globSync(`${dirname(lab.place.folder)}/.lab/**`),
  }
}

const isAlive = (pid: number): boolean => existsSync(`/proc/${String(pid)}/ns/net`)

/** Ids of the BPF programs behind the links that the lab's agents have pinned. */
async function pinnedPrograms(lab: TestLab): Promise<number[]> {
  const ids: number[] = []
  for (const path of globSync(`${lab.place.bpf}/**/link*`)) {
    const { code, stdout, stderr } = await ran('bpftool', ['-j', 'link', 'show', 'pinned', path])
    assert.equal(code, 0, stderr)
    ids.push((JSON.parse(stdout) as { prog_id: number }).prog_id)
  }
  return ids
}

const isLoaded = async (id: number): Promise<boolean> =>
  (await ran('bpftool', ['prog', 'show', 'id', String(id)])).code === 0

/** Kills a process. One that ended between, as those do whose parent was killed before, is as dead. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH')
  }
}

/** Kills every process of the lab, one by one, as a crash of the machine's memory killer would. */
async function killAll(lab: TestLab): Promise<number> {
  const pids = processesIn(cgroupOf(lab))
  for (const pid of pids) kill(pid)
  await eventually('all dead', () => Promise.resolve(processesIn(cgroupOf(lab)).length === 0))
  return pids.length
}

test('down leaves nothing of a running lab, and is content to find none', async () => {
  const lab = await TestLab.make()
  try {
    const before = await traces(lab)
    await lab.up(MANIFESTS)
    const pids = processesIn(cgroupOf(lab))
    assert.ok(pids.length >= 3 + 3 * 3, `only ${String(pids.length)} processes`)
    assert.match((await lab.run('down')).stdout, /is gone/)
    assert.deepEqual(await traces(lab), before)
    assert.deepEqual(pids.filter(isAlive), [])
    const again = await lab.run('down')
    assert.deepEqual([again.code, /^no lab in/.test(again.stdout)], [0, true])
  } finally {
    await lab.end()
  }
})

test('down leaves nothing after every process was killed and the record is lost', async () => {
  const lab = await TestLab.make()
  try {
    const before = await traces(lab)
    await lab.up(MANIFESTS)
    assert.ok((await killAll(lab)) > 0)
    rmSync(lab.place.record)
    assert.match((await lab.run('down')).stdout, /is gone/)
    assert.deepEqual(await traces(lab), before)
  } finally {
    await lab.end()
  }
})

test('down leaves nothing of captured pods after an agent and the control plane were killed', async () => {
  const lab = await TestLab.make()
  try {
    const before = await traces(lab)
    const joined = `apiVersion: v1
kind: Namespace
metadata: { name: default, annotations: { weft.dev/mesh: enabled, weft.dev/on-agent-loss: closed } }
---`
    await upWithAgents(lab, joined + MANIFESTS, [])
    rmSync(await lab.write(''))
    const programs = await pinnedPrograms(lab)
    assert.ok(programs.length >= 2 * 7 + 3, `only ${String(programs.length)} programs are pinned`)
    for (const id of programs) assert.ok(await isLoaded(id))
    const pids = processesIn(cgroupOf(lab))
    const [agent = 0] = agentPids(lab, 'node-1')
    for (const pid of [agent, readRecord(lab.place)?.controlPid ?? 0]) process.kill(pid, 'SIGKILL')
    await eventually('both are dead', () => Promise.resolve(!isRunning(readRecord(lab.place)) && !isAlive(agent)))
    for (const id of programs) assert.ok(await isLoaded(id), 'captures outlive their agent')
    assert.match((await lab.run('down')).stdout, /is gone/)
    assert.deepEqual(await traces(lab), before)
    // the kernel frees a program a moment after its last link has gone
    for (const id of programs) await eventually(`program ${String(id)} is gone`, async () => !(await isLoaded(id)))
    assert.deepEqual(pids.filter(isAlive), [])
  } finally {
    await lab.end()
  }
})

test("a folder with somebody else's files is left as it is, by up and by down", async () => {
  const lab = await TestLab.make()
  const file = join(lab.place.logs, 'mine')
  try {
    mkdirSync(lab.place.logs, { recursive: true })
    writeFileSync(file, 'precious')
    assert.match((await lab.run('down')).stdout, /^no lab in/)
    assert.match((await lab.run('up', '--detach')).stderr, /^weft lab: .*logs is not a lab's: name another folder/)
    assert.match((await lab.run('down')).stdout, /^no lab in/)
    assert.equal(readFileSync(file, 'utf8'), 'precious')
  } finally {
    await lab.end()
  }
})

test('down ends an up that has only begun, and leaves nothing', async () => {
  const lab = await TestLab.make()
  try {
    const before = await traces(lab)
    const file = await lab.write(MANIFESTS)
    const up = lab.start('up', '--no-mesh', '--detach', '-f', file)
    const ended = once(up, 'exit')
    await eventually('a record', () => Promise.resolve(existsSync(lab.place.record)))
    assert.match((await lab.run('up')).stderr, /a lab runs in .* already/)
    assert.match((await lab.run('down')).stdout, /is gone/)
    await ended
    rmSync(file)
    assert.deepEqual(await traces(lab), before)
  } finally {
    await lab.end()
  }
})

test('up clears what a crashed lab left and starts anew', async () => {
  const lab = await TestLab.make()
  try {
    await lab.up(MANIFESTS, '--nodes', '1')
    await killAll(lab)
    assert.match((await lab.run('status')).stderr, /no lab runs/)
    assert.match(await lab.up(MANIFESTS, '--nodes', '1'), /clearing what an earlier lab left[\s\S]*ready in/)
  } finally {
    await lab.end()
  }
})

test('Ctrl-C ends a lab in the foreground and leaves nothing, agents and captured pods included', async () => {
  const lab = await TestLab.make()
  try {
    const before = await traces(lab)
    const joined =
      'apiVersion: v1\nkind: Namespace\nmetadata: { name: default, annotations: { weft.dev/mesh: enabled } }\n---'
    const file = await lab.write(joined + MANIFESTS)
    const up = lab.start('up', '-f', file, '--timeout', '40')
    let said = ''
    up.stdout?.on('data', (text: Buffer) => (said += text.toString()))
    up.stderr?.on('data', (text: Buffer) => (said += text.toString()))
    await eventually('ready', () => Promise.resolve(said.includes('Ctrl-C ends it') || up.exitCode !== null), 50_000)
    assert.match(said, /6 pods ready, 3 captured/)
    assert.equal((await lab.run('status')).code, 0)
    const ended = once(up, 'exit')
    up.kill('SIGINT')
    assert.deepEqual(await ended, [0, null])
    rmSync(file)
    assert.deepEqual(await traces(lab), before)
  } finally {
    await lab.end()
  }
})
