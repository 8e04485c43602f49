// The plug-in as the specification of CNI has runtimes call it, against the agent's real door, and against nobody.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { fstatSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { closedFolder } from '../../agent/cni/closed-list.ts'
import type { CniAnswer, CniRequest } from '../../agent/cni/request.ts'
import { type Answerer, serveRequests } from '../../agent/cni/requests.ts'
import { must, native } from '../../agent/kernel/native.ts'
import { buildWatched, call, configuration, PROGRAM, type Result } from './plugin.ts'

const NETNS = `weft-cni-${process.pid}`
const netns = `/run/netns/${NETNS}`
const folder = mkdtempSync(join(tmpdir(), 'weft-plugin-'))
const POD = { namespace: 'shop', name: 'cart-1', uid: '0a1b2c3d-0000-4000-8000-000000000001' }
/** As a plug-in may lay it out: it is to come back as it is. */
const RESULT = '{ "cniVersion":"1.0.0",\n "ips" :[{"address": "10.1.2.3\\/24"}], "dns":{}, "x":"\\u00e9é" }'

execFileSync('ip', ['netns', 'add', NETNS])
after(() => {
  execFileSync('ip', ['netns', 'delete', NETNS])
  rmSync(folder, { recursive: true })
})

let places = 0
/** A place of its own, and an agent there where it is answered. */
function place(t: { after(end: () => void): void }, answer?: Answerer) {
  const root = join(folder, `${places++}`)
  mkdirSync(closedFolder(root), { recursive: true })
  const socket = join(root, 'cni.sock')
  const faults: string[] = []
  const serve = (by: Answerer) => serveRequests(socket, by, (reason) => faults.push(reason))
  const server = answer && serve(answer)
  t.after(() => server?.close())
  const entry = {
    socket,
    closed: closedFolder(root),
    agentNamespace: 'weft-system',
    timeoutSeconds: 2,
    heardSeconds: 1,
  }
  const close = (name: string) => writeFileSync(join(closedFolder(root), name), '')
  return { socket, entry, close, serve, server, faults, input: configuration(entry, RESULT) }
}

const OK: Answerer = () => Promise.resolve({ ok: true })

function assertPassed(result: Result): void {
  assert.deepEqual([result.code, result.stdout], [0, RESULT], result.stderr)
}

function assertRefused(result: Result, code: number, message: RegExp): void {
  const error = JSON.parse(result.stdout) as Record<string, unknown>
  assert.deepEqual([result.code, error['code']], [1, code], result.stdout)
  assert.match(`${String(error['msg'])} (${String(error['details'])})`, message)
  assert.equal(typeof error['cniVersion'], 'string')
}

test('the program needs nothing of the machine that it is put on', () => {
  const interpreter = execFileSync('readelf', ['-lW', PROGRAM], { encoding: 'utf8' })
  assert.doesNotMatch(interpreter, /INTERP/)
  assert.ok(statSync(PROGRAM).size < 2 ** 20)
})

test('at ADD the agent gets the pod, its namespace and its addresses, and the result passes byte by byte', async (t) => {
  const asked: CniRequest[] = []
  const inodes: number[] = []
  const { input } = place(t, (request, fd) => {
    asked.push(request)
    inodes.push(fstatSync(fd ?? -1).ino)
    return Promise.resolve({ ok: true })
  })
  assertPassed(await call({ command: 'ADD', netns, pod: POD, input }))
  const { name: pod, ...rest } = POD
  assert.deepEqual(asked, [{ command: 'ADD', pod, ...rest, containerId: 'c1', ips: ['10.1.2.3'], hears: true }])
  assert.deepEqual(inodes, [statSync(netns).ino])
})

test('what the agent refuses is refused with its words', async (t) => {
  const { input } = place(t, () => Promise.resolve({ error: 'pod "cart"\n is fail-closed: é' }))
  assertRefused(await call({ command: 'ADD', netns, pod: POD, input }), 11, /pod "cart"\n is fail-closed: é/)
  assertRefused(await call({ command: 'CHECK', netns, pod: POD, input }), 11, /is fail-closed/)
})

test('without an agent pods start at once, but for those of a fail-closed namespace', async (t) => {
  const { input, close, socket } = place(t)
  const add = () => call({ command: 'ADD', netns, pod: POD, input })
  const passed = await add()
  assertPassed(passed)
  assert.match(passed.stderr, /shop\/cart-1 starts uncaptured: connect: No such file/)
  close('bank')
  assertPassed(await add())
  close('shop')
  const refused = await add()
  assertRefused(refused, 11, /namespace shop .* weft-system .*No such file/)
  assert.ok(refused.ms < 1500, `${refused.ms} ms`)
  // an agent that was killed leaves its socket
  const listener = must(native().unixListen(socket), 'listen')
  native().closeFd(listener)
  assertRefused(await add(), 11, /Connection refused/)
  assert.deepEqual((await call({ command: 'CHECK', netns, pod: POD, input })).code, 0)
})

test('.all closes every namespace but the agent’s own, and what is no pod of Kubernetes passes', async (t) => {
  const { input, close } = place(t)
  close('.all')
  assertRefused(await call({ command: 'ADD', netns, pod: POD, input }), 11, /namespace shop/)
  assertPassed(await call({ command: 'ADD', netns, pod: { ...POD, namespace: 'weft-system' }, input }))
  assertPassed(await call({ command: 'ADD', netns, input }))
})

test('an agent that does not answer in time is none', async (t) => {
  const { input, close } = place(t, () => new Promise<CniAnswer>(() => undefined))
  const passed = await call({ command: 'ADD', netns, pod: POD, input })
  assertPassed(passed)
  assert.ok(passed.ms > 1900 && passed.ms < 4000, `${passed.ms} ms`)
  close('shop')
  assertRefused(await call({ command: 'ADD', netns, pod: POD, input }), 11, /does not answer in time/)
})

test('an agent that hears nothing is waited for only briefly, one that has heard as long as it may take', async (t) => {
  const { input, close, socket } = place(t)
  const deaf = must(native().unixListen(socket), 'listen') // as of an agent that hangs
  t.after(() => native().closeFd(deaf))
  const passed = await call({ command: 'ADD', netns, pod: POD, input })
  assertPassed(passed)
  assert.ok(passed.ms > 900 && passed.ms < 1900, `${passed.ms} ms`)
  // those that nobody accepts fill its queue: then it is connecting that takes its time
  const waiting: number[] = []
  for (let fd = 0; fd >= 0;) if ((fd = native().unixConnect(socket, 50)) >= 0) waiting.push(fd)
  t.after(() => waiting.forEach((fd) => native().closeFd(fd)))
  assert.ok(waiting.length > 100, String(waiting.length))
  const queued = await call({ command: 'ADD', netns, pod: POD, input })
  assertPassed(queued)
  assert.ok(queued.ms > 900 && queued.ms < 1900, `${queued.ms} ms`)
  close('shop')
  assertRefused(await call({ command: 'ADD', netns, pod: POD, input }), 11, /does not answer in time/)
  const slow = place(t, async () => {
    await sleep(1500)
    return { ok: true }
  })
  slow.close('shop')
  assertPassed(await call({ command: 'ADD', netns, pod: POD, input: slow.input }))
})

test('a plug-in of before hears nothing but the answer', async (t) => {
  const asked: boolean[] = []
  const { entry } = place(t, ({ hears }) => {
    asked.push(hears)
    return Promise.resolve({ ok: true })
  })
  const input = configuration({ ...entry, heardSeconds: 0 }, RESULT)
  assertPassed(await call({ command: 'ADD', netns, pod: POD, input }))
  assert.deepEqual(asked, [false])
})

test('an agent that goes before it answers has a successor that does', async (t) => {
  let isFirst = true
  const { input, close, serve, server } = place(t, () => new Promise<CniAnswer>(() => (isFirst = false)))
  close('shop')
  const added = call({ command: 'ADD', netns, pod: POD, input })
  while (isFirst) await sleep(5)
  const next = serve(OK)
  t.after(() => next.close())
  server?.close()
  assertPassed(await added)
})

test('an agent that comes a moment after another has gone is waited for, at a start and not at an end', async (t) => {
  const { input, close, serve } = place(t)
  close('shop')
  serve(OK).close()
  const added = call({ command: 'ADD', netns, pod: POD, input })
  await sleep(150)
  const del = await call({ command: 'DEL', netns: '', pod: POD, input })
  assert.deepEqual([del.code, del.stdout], [0, ''])
  const next = serve(OK)
  t.after(() => next.close())
  assertPassed(await added)
})

test('what the agent fails at is no refusal: the list decides', async (t) => {
  const { input, close, faults } = place(t, () => Promise.reject(new Error('EMFILE')))
  const passed = await call({ command: 'ADD', netns, pod: POD, input })
  assertPassed(passed)
  assert.ok(passed.ms < 1900, `${passed.ms} ms`)
  assert.equal(faults[0], 'EMFILE')
  close('shop')
  assertRefused(await call({ command: 'ADD', netns, pod: POD, input }), 11, /it went away/)
})

test('at DEL the agent is told, and whatever happens nothing fails', async (t) => {
  const asked: CniRequest[] = []
  const { input, entry } = place(t, (request) => {
    asked.push(request)
    return Promise.reject(new Error('no'))
  })
  const del = (more: object = {}) => call({ command: 'DEL', netns: '', pod: POD, input, ...more })
  const results = [
    await del(),
    await del({ input: configuration(entry, null) }),
    await del({ input: '' }),
    await del({ env: { CNI_CONTAINERID: '"' } }),
    await del({ input: configuration({ ...entry, socket: '/nowhere' }, null) }),
  ]
  for (const { code, stdout } of results) assert.deepEqual([code, stdout], [0, ''])
  assert.deepEqual(
    asked.map(({ command, uid }) => [command, uid]),
    [1, 2].map(() => ['DEL', POD.uid]),
  )
})

test('versions are told, and one that it does not speak is an error', async (t) => {
  const { entry } = place(t)
  for (const [said, answered] of [
    ['0.4.0', '0.4.0'],
    ['9.0.0', '1.1.0'],
  ] as const) {
    const { stdout, code } = await call({ command: 'VERSION', input: JSON.stringify({ cniVersion: said }) })
    assert.deepEqual([code, (JSON.parse(stdout) as { cniVersion: string }).cniVersion], [0, answered])
    assert.match(stdout, /"supportedVersions":\["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"\]/)
  }
  const other = configuration(entry, RESULT, '0.2.0')
  for (const command of ['ADD', 'CHECK', 'GC', 'STATUS']) {
    assertRefused(await call({ command, netns, pod: POD, input: other }), 1, /cniVersion .*0\.3\.0/)
  }
})

test('GC and STATUS have nothing to do', async (t) => {
  const { entry } = place(t)
  for (const command of ['GC', 'STATUS']) {
    const { code, stdout } = await call({ command, input: configuration(entry, null, '1.1.0') })
    assert.deepEqual([code, stdout], [0, ''])
  }
})

test('what is asked amiss is told by the specification’s codes', async (t) => {
  const { input, entry } = place(t, OK)
  const add = { command: 'ADD', netns, pod: POD, input }
  assertRefused(await call({ ...add, command: 'MOVE' }), 4, /CNI_COMMAND/)
  assertRefused(await call({ ...add, env: { CNI_COMMAND: undefined } }), 4, /CNI_COMMAND/)
  assertRefused(await call({ ...add, env: { CNI_NETNS: undefined } }), 4, /CNI_NETNS/)
  assertRefused(await call({ ...add, env: { CNI_IFNAME: 'a"b' } }), 4, /CNI_IFNAME/)
  assertRefused(await call({ ...add, pod: { ...POD, namespace: '../etc' } }), 4, /CNI_ARGS/)
  assertRefused(await call({ ...add, pod: { ...POD, namespace: 'n'.repeat(64) } }), 4, /CNI_ARGS/)
  assertRefused(await call({ ...add, input: configuration(entry, null) }), 7, /prevResult/)
  assertRefused(await call({ ...add, input: `${input}x` }), 6, /no JSON object/)
  assertRefused(await call({ ...add, input: `{"a":"${'x'.repeat(2 ** 20)}"}` }), 6, /longer than 1 MiB/)
})

test('a result too long for a question counts as an agent that cannot be asked', async (t) => {
  const { entry, close } = place(t, OK)
  const long = JSON.stringify({ ips: [], x: 'x'.repeat(70_000) })
  const add = () => call({ command: 'ADD', netns, pod: POD, input: configuration(entry, long) })
  assert.equal((await add()).stdout, long)
  close('shop')
  assertRefused(await add(), 11, /too long/)
})

test('a message that is none gets no answer, and the next request is served as ever', async (t) => {
  const { socket, input, faults } = place(t, OK)
  const say = (text: string, fds: readonly number[] = []): void => {
    const fd = must(native().unixConnect(socket, 1000), 'connect')
    native().sendFds(fd, Buffer.from(text), Int32Array.from(fds))
    t.after(() => native().closeFd(fd))
  }
  say('{')
  say('[]', [0, 1, 2])
  say('{"command":"GC"}')
  const silent = must(native().unixConnect(socket, 1000), 'connect')
  native().closeFd(silent)
  assertPassed(await call({ command: 'ADD', netns, pod: POD, input }))
  assert.equal(faults.length, 3)
  assert.equal(statSync(socket).mode & 0o077, 0, 'root alone')
})

test('no garbage makes the program read or write out of bounds', async (t) => {
  const { input, socket } = place(t, OK)
  const program = join(folder, 'watched')
  buildWatched(program)
  const inputs = [
    ...[input, input.slice(0, -1), '', '{', '{"', '{"a', '{"a"', '{"a":', '\0', `{"cniVersion":"\\`, `${input}\0`],
    JSON.stringify({ cniVersion: '1.0.0', socket: 's'.repeat(5000), prevResult: {} }),
    JSON.stringify({ cniVersion: '1.0.0', socket: `/${'s'.repeat(200)}`, prevResult: {} }),
    JSON.stringify({ cniVersion: '1.0.0', socket, closed: `/${'c'.repeat(510)}`, prevResult: {} }),
    JSON.stringify({ cniVersion: '1.0.0', timeoutSeconds: 1e99, agentNamespace: '"', prevResult: {} }),
    'x'.repeat(2 ** 20 + 1),
  ]
  const env = { ASAN_OPTIONS: 'detect_leaks=0' }
  for (const each of inputs) {
    for (const command of ['ADD', 'DEL', 'VERSION']) {
      const { stderr, code, stdout } = await call({ command, netns, pod: POD, input: each, program, env })
      assert.doesNotMatch(stderr, /Sanitizer|runtime error/)
      assert.ok(code === 0 || code === 1, `${code} ${stdout}`)
      if (code === 1) JSON.parse(stdout)
    }
  }
  const CNI_ARGS = [';;=;K8S_POD_NAMESPACE', `K8S_POD_NAME=${'n'.repeat(300)}`, 'K8S_POD_NAMESPACE=\u0001', ';']
  for (const each of CNI_ARGS) {
    const { stderr } = await call({ command: 'ADD', netns, input, program, env: { ...env, CNI_ARGS: each } })
    assert.doesNotMatch(stderr, /Sanitizer|runtime error/)
  }
})
