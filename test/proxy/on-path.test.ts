// Somebody who sits between two nodes and has every ClientHello in their hands: split, held back, changed, cut short. They
// see no byte of what is sent, and what is no more than slow comes through.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type World, world } from '../../agent/model/world.fixture.ts'
import { ask, type Mesh, mesh, type MeshOptions } from './mesh.ts'
import { identify } from './nodes.ts'

const WEB = { ip: '10.96.0.1', port: 80 }
const SECRET = 'nobody-on-the-path-may-read-this'
const GET = `GET /${SECRET} HTTP/1.1\r\nhost: web\r\n\r\n`
const SERVER = 'spiffe://cluster.local/ns/default/sa/web'
const RECORD_HEAD = 5
/** More connections at once than this would wait for each other, and not for the path. */
const AT_ONCE = 96

function places(): World {
  const there = { namespace: 'default', serviceAccount: 'web', captured: 'weft-agent-b', node: 'node-2' }
  return world()
    .service('web')
    .pods('caller', { serviceAccount: 'shop', captured: 'weft-agent-a' })
    .pods('web-v1', there)
}

/** Sends a ClientHello on to who is called, or not: all that comes before and after it passes. */
type Deed = (hello: Buffer, far: Socket, near: Socket) => Promise<unknown> | void

/** Both ends of a path, what is done on it, and what was seen there. */
interface Path {
  readonly here: Mesh
  readonly there: Mesh
  deed: Deed
  /** What the caller's node sent, by connection. */
  readonly seen: Buffer[][]
}

/** Nothing is done to it, but that its length is noted. */
const passing =
  (lengths: number[]): Deed =>
  (hello, far) => {
    lengths.push(hello.length)
    far.write(hello)
  }

/** Two nodes of a world, and a path between them. */
async function pathOf(t: TestContext, of: World, limits: MeshOptions['limits'] = {}): Promise<Path> {
  const there = mesh(t, of, { captured: ['web-v1-1'], limits: { podHandshakesPerSecond: 100_000, ...limits } })
  identify(there, of, 'web-v1-1')
  await there.http('web-v1-1', (request, response) => {
    response.end(String(request.headers['x-forwarded-client-cert'] ?? 'nobody'))
  })
  const server = createServer((near) => {
    const own: Buffer[] = []
    path.seen.push(own)
    // one that took too long to be told that it is connected has been given up by then, as at any path
    const met = (far: Socket): void => carry(near, far, own, path.deed)
    void there.reach('web-v1-1').then(met, () => near.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const here: Mesh = mesh(t, of, {
    captured: ['caller-1'],
    limits: { pooledIdleMs: 1, connectRetries: 0, ...limits },
    connect: (fd, _to, how) => here.transport.connect(fd, { ip: '127.0.0.1', port }, how),
  })
  identify(here, of, 'caller-1')
  const path: Path = { here, there, deed: passing([]), seen: [] }
  return path
}

function carry(near: Socket, far: Socket, seen: Buffer[], deed: Deed): void {
  far.setNoDelay(true)
  let before: Buffer | null = Buffer.alloc(0)
  let passed = Promise.resolve<unknown>(undefined)
  near.on('data', (bytes: Buffer) => {
    seen.push(Buffer.from(bytes))
    if (before === null) return void (passed = passed.then(() => far.write(bytes)))
    before = Buffer.concat([before, bytes])
    if (before.length < RECORD_HEAD || before.length < RECORD_HEAD + before.readUInt16BE(3)) return
    passed = Promise.resolve(deed(before, far, near))
    before = null
  })
  far.on('data', (bytes) => near.write(bytes))
  for (const [one, other] of [
    [near, far],
    [far, near],
  ] as const) {
    one.on('error', () => {})
    one.on('close', () => other.destroy())
  }
}

/** Asks so often, each time by a connection of its own; gives the answers. */
async function asked(here: Mesh, times: number): Promise<string[]> {
  const answers: string[] = []
  for (let done = 0; done < times; done += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, times - done) }, async () => {
      const { status, body } = await ask(await here.dial('caller-1', WEB), GET)
      return `${status} ${body}`
    })
    answers.push(...(await Promise.all(some)))
    await sleep(20) // what is kept goes
  }
  return answers
}

function unread({ seen }: Path): void {
  const all = seen.map((own) => Buffer.concat(own)).filter((bytes) => bytes.length > 0)
  assert.ok(all.length > 0)
  for (const bytes of all) {
    assert.equal(bytes[0], 22, 'it begins with no handshake')
    assert.ok(!bytes.includes(SECRET))
  }
}

/** How long a ClientHello of the mesh is, at its longest: one that would resume a session. */
async function helloLength(path: Path): Promise<number> {
  const lengths: number[] = []
  path.deed = passing(lengths)
  await asked(path.here, 1)
  await asked(path.here, 1)
  const longest = Math.max(...lengths)
  assert.ok(lengths.length === 2 && longest > 250, `${lengths.join()} bytes`)
  path.seen.length = 0
  return longest
}

for (const mode of ['PERMISSIVE', 'STRICT'] as const) {
  test(`${mode}: a ClientHello of which either part comes late is put together, at whatever byte it is split`, async (t) => {
    const path = await pathOf(t, places().peerAuthentication({ mode }), { sniffMs: 20 })
    const length = await helloLength(path)
    let split = 0
    path.deed = async (hello, far) => {
      const at = Math.min(split++, hello.length)
      if (at > 0) far.write(hello.subarray(0, at))
      await sleep(60) // three times what silence is waited for
      far.write(hello.subarray(at))
    }
    const told = new RegExp(`^200 By=${SERVER};Hash=[0-9a-f]{64};Subject="";URI=spiffe:`)
    for (const [at, answer] of (await asked(path.here, length + 1)).entries()) {
      assert.match(answer, told, `one of those around byte ${at}`)
    }
    assert.equal(split, length + 1)
    unread(path)
  })
}

test('a ClientHello that is changed, at whatever byte, secures nothing else, and nothing is sent', async (t) => {
  const path = await pathOf(t, places(), { helloMs: 300 })
  const length = await helloLength(path)
  let change = 0
  path.deed = (hello, far) => {
    const at = change++ % hello.length
    hello[at] = (hello[at] as number) ^ 0x55
    far.write(hello)
  }
  // each request is tried again, and so changes more than one
  while (change < length) {
    for (const answer of await asked(path.here, AT_ONCE)) assert.match(answer, /^503 UPSTREAM_TLS_FAILED/)
  }
  assert.ok(path.seen.length >= length)
  assert.equal(path.there.count('istio_requests_total', { response_code: '200' }), 2, 'those of before alone')
  unread(path)
})

test('a ClientHello that is cut short, by a reset, an end or silence, ends without a byte of what is sent', async (t) => {
  const path = await pathOf(t, places(), { helloMs: 200 })
  const half = (hello: Buffer): Buffer => hello.subarray(0, hello.length / 2)
  const deeds: Readonly<Record<string, Deed>> = {
    'a reset of both': (_hello, far, near) => void [far, near].map((socket) => socket.resetAndDestroy()),
    'a reset behind half of it': (hello, far, near) => {
      far.write(half(hello))
      near.resetAndDestroy()
    },
    'an end': (_hello, _far, near) => void near.end(),
    silence: () => {},
    'silence behind half of it': (hello, far) => void far.write(half(hello)),
    'an answer in plaintext': (_hello, _far, near) => void near.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'),
  }
  for (const [what, deed] of Object.entries(deeds)) {
    path.deed = deed
    for (const answer of await asked(path.here, 5)) assert.match(answer, /^503 UPSTREAM_TLS_FAILED/, what)
  }
  assert.equal(path.there.count('istio_requests_total', { response_code: '200' }), 0)
  unread(path)
})
