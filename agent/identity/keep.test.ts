import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { Authority, makeRoot } from './authority.ts'
import { type Held, HeldFolder } from './held.ts'
import { Keeper } from './keep.ts'
import { renewAtMs, retryAfterMs } from './renewal.ts'
import { readRequest } from './request.ts'

const DAY_MS = 86_400_000
const BEGIN_MS = Date.UTC(2040, 0, 1)
const [CART, STOCK] = ['spiffe://cluster.local/ns/shop/sa/cart', 'spiffe://cluster.local/ns/shop/sa/stock']
const root = makeRoot({ trustDomain: 'cluster.local', days: 3650, nowMs: BEGIN_MS })
const authority = new Authority({ chainPem: root.certificatePem, privateKeyPem: root.privateKeyPem }, BEGIN_MS)

/** A clock that goes when it is told to. */
class FakeClock {
  #nowMs = BEGIN_MS
  #timers: { readonly atMs: number; readonly work: () => void }[] = []

  nowMs(): number {
    return this.#nowMs
  }

  after(ms: number, work: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, work }
    this.#timers.push(timer)
    return () => (this.#timers = this.#timers.filter((each) => each !== timer))
  }

  /** Goes on by so long, with all that is due by then and what comes of it. */
  async go(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms
    for (;;) {
      await turn()
      const next = this.#timers.filter(({ atMs }) => atMs <= untilMs).sort((one, other) => one.atMs - other.atMs)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((each) => each !== next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.work()
    }
    this.#nowMs = untilMs
  }
}

interface Rig {
  readonly keeper: Keeper
  readonly clock: FakeClock
  readonly path: string
  /** Identities asked for, in order. */
  readonly asked: string[]
  readonly held: Held[]
  readonly warned: string[]
  /** What the signer does; by default it signs. */
  sign: (requestPem: string) => Promise<string>
}

function signedBy(clock: FakeClock) {
  return (requestPem: string): Promise<string> => {
    const { publicKeyDer, uris } = readRequest(requestPem)
    const uri = uris[0] as string
    const notBeforeMs = clock.nowMs()
    return Promise.resolve(authority.issue({ publicKeyDer, uri, notBeforeMs, notAfterMs: notBeforeMs + DAY_MS }))
  }
}

function rig(t: TestContext, path = mkdtempSync(join(tmpdir(), 'weft-held-')), clock = new FakeClock()): Rig {
  const [asked, held, warned]: [string[], Held[], string[]] = [[], [], []]
  const ask = (requestPem: string): Promise<string> => {
    asked.push(...readRequest(requestPem).uris)
    return made.sign(requestPem)
  }
  const log = {
    warn: (fields: object, message: string): void => void warned.push(JSON.stringify({ ...fields, message })),
  }
  const options = {
    ask,
    folder: new HeldFolder(path),
    held: (each: Held) => held.push(each),
    clock,
    random: () => 0.5,
    log,
  }
  const made: Rig = { keeper: new Keeper(options), clock, path, asked, held, warned, sign: signedBy(clock) }
  t.after(() => {
    made.keeper.stop()
    rmSync(path, { recursive: true, force: true })
  })
  return made
}

test('each identity is asked for once, on a key of its own, and renewed at half its life', async (t) => {
  const { keeper, clock, asked, held } = rig(t)
  keeper.want(new Set([CART, STOCK]))
  await clock.go(1000)
  keeper.want(new Set([CART, STOCK]))
  await clock.go(DAY_MS / 2 - 2000)
  assert.deepEqual(asked, [CART, STOCK])
  await clock.go(2000)
  assert.deepEqual(asked, [CART, STOCK, CART, STOCK])
  assert.equal(new Set(held.map(({ privateKeyPem }) => privateKeyPem)).size, 4)
  assert.equal(keeper.get(CART)?.certificatePem, held[2]?.certificatePem)
})

test('a valid certificate is kept while renewal fails, and not beyond its end', async (t) => {
  const made = rig(t)
  const { keeper, clock, asked, warned } = made
  keeper.want(new Set([CART]))
  await clock.go(1000)
  made.sign = () => Promise.reject(new Error('nobody is there'))
  await clock.go(DAY_MS - 3000)
  assert.notEqual(keeper.get(CART), null)
  assert.deepEqual(keeper.standings(), [{ uri: CART, notAfterMs: BEGIN_MS + DAY_MS, failure: 'nobody is there' }])
  assert.ok(asked.length > 600 && asked.length < 800, `${asked.length} requests in half a day`)
  await clock.go(3000)
  assert.equal(keeper.get(CART), null)
  assert.doesNotMatch(warned.join(''), /PRIVATE|CERTIFICATE/)
  made.sign = signedBy(clock)
  await clock.go(60_000)
  assert.deepEqual(keeper.standings(), [{ uri: CART, notAfterMs: keeper.get(CART)?.notAfterMs, failure: null }])
})

test('what is signed for another name or another key is not taken', async (t) => {
  const made = rig(t)
  const { keeper, clock, held } = made
  const sign = made.sign
  let first = ''
  made.sign = async (requestPem) => (first ||= await sign(requestPem))
  keeper.want(new Set([STOCK]))
  await clock.go(0)
  keeper.want(new Set([STOCK, CART]))
  await clock.go(0)
  keeper.want(new Set([CART]))
  keeper.want(new Set([CART, STOCK]))
  await clock.go(0)
  assert.equal(held.length, 1)
  assert.deepEqual(
    keeper.standings().map(({ failure }) => failure),
    [`the certificate is not that of ${CART}`, 'the private key is not the certificate’s'],
  )
})

test('the next agent goes on with what is kept, and asks for nothing', async (t) => {
  const before = rig(t)
  before.keeper.want(new Set([CART]))
  await before.clock.go(1000)
  before.keeper.stop()
  const after = rig(t, before.path, before.clock)
  after.sign = () => Promise.reject(new Error('nobody is there'))
  after.keeper.want(new Set([CART]))
  assert.equal(after.keeper.get(CART)?.privateKeyPem, before.held[0]?.privateKeyPem)
  await after.clock.go(DAY_MS / 4)
  assert.deepEqual(after.asked, [])
  await after.clock.go(DAY_MS)
  const late = rig(t, before.path, after.clock)
  late.keeper.want(new Set([CART]))
  await late.clock.go(0)
  assert.deepEqual(late.asked, [CART])
})

test('what is kept is the agent’s alone; what is spoilt is asked for anew, and what is not wanted is gone', async (t) => {
  const { keeper, clock, path } = rig(t)
  keeper.want(new Set([CART]))
  await clock.go(0)
  const [file = ''] = readdirSync(path)
  assert.deepEqual([statSync(path).mode & 0o777, statSync(join(path, file)).mode & 0o777], [0o700, 0o600])
  const text = readFileSync(join(path, file), 'utf8')
  for (const spoilt of ['', text.slice(0, 500), text.slice(-200), text.replace(/[A-Za-z]{20}/, '')]) {
    writeFileSync(join(path, file), spoilt)
    assert.equal(new HeldFolder(path).load(CART, clock.nowMs()), null)
  }
  keeper.want(new Set())
  assert.deepEqual(readdirSync(path), [])
  assert.equal(keeper.get(CART), null)
})

test('a folder that cannot be written to costs the copy alone', async (t) => {
  const { keeper, clock, path, warned } = rig(t)
  rmSync(path, { recursive: true })
  keeper.want(new Set([CART]))
  await clock.go(0)
  assert.notEqual(keeper.get(CART), null)
  assert.match(warned.join(''), /certificate not kept/)
})

test('no more than eight requests are on their way', async (t) => {
  const made = rig(t)
  let most = 0
  let open = 0
  const sign = made.sign
  made.sign = async (requestPem) => {
    most = Math.max(most, ++open)
    await turn()
    open--
    return sign(requestPem)
  }
  const uris = Array.from({ length: 50 }, (_, at) => `spiffe://cluster.local/ns/shop/sa/a${at}`)
  made.keeper.want(new Set(uris))
  while (made.held.length < 50) await turn()
  assert.equal(most, 8)
})

test('renewal is at half life, a tenth more or less; waits double up to a minute', () => {
  const lifetime = fc.record({ notBeforeMs: fc.nat(), lifeMs: fc.integer({ min: 1000, max: DAY_MS }) })
  fc.assert(
    fc.property(lifetime, fc.double({ min: 0, max: 1, noNaN: true }), ({ notBeforeMs, lifeMs }, random) => {
      const part = (renewAtMs({ notBeforeMs, notAfterMs: notBeforeMs + lifeMs }, random) - notBeforeMs) / lifeMs
      return part > 0.449 && part < 0.551
    }),
  )
  assert.deepEqual([1, 2, 3, 6, 7, 100].map(retryAfterMs), [1000, 2000, 4000, 32_000, 60_000, 60_000])
})
