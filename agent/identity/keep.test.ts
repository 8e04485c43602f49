import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { Authority, type KeyPair, makeRoot } from './authority.ts'
import { type Held, HeldFolder } from './held.ts'
import { Denied, Keeper } from './keep.ts'
import { renewAfterMs, renewAtMs, retryAfterMs } from './renewal.ts'
import { readRequest } from './request.ts'

const DAY_MS = 86_400_000
const BEGIN_MS = Date.UTC(2040, 0, 1)
const [CART, STOCK] = ['spiffe://cluster.local/ns/shop/sa/cart', 'spiffe://cluster.local/ns/shop/sa/stock']
const root = makeRoot({ trustDomain: 'cluster.local', days: 3650, nowMs: BEGIN_MS })
const otherRoot = makeRoot({ trustDomain: 'cluster.local', days: 3650, nowMs: BEGIN_MS })
const authorityOf = ({ certificatePem: chainPem, privateKeyPem }: KeyPair): Authority =>
  new Authority({ chainPem, privateKeyPem }, BEGIN_MS)
const [authority, other] = [authorityOf(root), authorityOf(otherRoot)]
const [ROOT, OTHER] = [root.certificatePem, otherRoot.certificatePem]

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

function signedBy(clock: FakeClock, by = authority) {
  return (requestPem: string): Promise<string> => {
    const { publicKeyDer, uris } = readRequest(requestPem)
    const uri = uris[0] as string
    const notBeforeMs = clock.nowMs()
    return Promise.resolve(by.issue({ publicKeyDer, uri, notBeforeMs, notAfterMs: notBeforeMs + DAY_MS }))
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
  assert.deepEqual(keeper.standings(), [
    { uri: CART, notAfterMs: BEGIN_MS + DAY_MS, failure: 'nobody is there', denied: false },
  ])
  assert.ok(asked.length > 600 && asked.length < 800, `${asked.length} requests in half a day`)
  await clock.go(3000)
  assert.equal(keeper.get(CART), null)
  assert.doesNotMatch(warned.join(''), /PRIVATE|CERTIFICATE/)
  made.sign = signedBy(clock)
  await clock.go(60_000)
  assert.deepEqual(keeper.standings(), [
    { uri: CART, notAfterMs: keeper.get(CART)?.notAfterMs, failure: null, denied: false },
  ])
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

test('keys of accounts that went while no agent ran are removed with the first word of who is wanted', async (t) => {
  const before = rig(t)
  before.keeper.want(new Set([CART, STOCK]))
  await before.clock.go(1000)
  before.keeper.stop()
  assert.equal(readdirSync(before.path).length, 2)
  const after = rig(t, before.path, before.clock)
  after.keeper.want(new Set([CART]))
  assert.equal(readdirSync(before.path).length, 1)
  assert.notEqual(after.keeper.get(CART), null)
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

test('when another root signs, certificates are renewed within a minute, and used until then', async (t) => {
  const made = rig(t)
  const { keeper, clock, asked, held } = made
  keeper.roots(ROOT)
  keeper.want(new Set([CART, STOCK]))
  await clock.go(1000)
  keeper.roots(ROOT + OTHER)
  await clock.go(120_000)
  assert.equal(asked.length, 2, 'one more root is no reason')
  made.sign = signedBy(clock, other)
  keeper.roots(OTHER + ROOT)
  await clock.go(29_000)
  assert.deepEqual([asked.length, keeper.get(CART)], [2, held[0]])
  await clock.go(2000)
  assert.deepEqual(asked.slice(2), [CART, STOCK])
  assert.equal(keeper.get(CART), held[2])
  keeper.roots(OTHER)
  await clock.go(120_000)
  assert.equal(asked.length, 4, 'they lead to the first root now')
})

test('while another root signs than the first, it is asked for again and again, but not in a loop', async (t) => {
  const { keeper, clock, asked } = rig(t)
  keeper.want(new Set([CART]))
  keeper.roots(OTHER + ROOT)
  await clock.go(600_000)
  assert.ok(asked.length > 10 && asked.length < 25, `${asked.length} requests in ten minutes`)
})

test('what leads to none of the roots is not used and asked for at once; it is used again when its root is back', async (t) => {
  const made = rig(t)
  const { keeper, clock, asked, held } = made
  keeper.want(new Set([CART]))
  await clock.go(0)
  made.sign = () => new Promise(() => undefined)
  keeper.roots(OTHER)
  keeper.roots(OTHER)
  assert.deepEqual([asked.length, keeper.get(CART)], [2, null])
  keeper.roots(OTHER + ROOT)
  assert.deepEqual([asked.length, keeper.get(CART)], [2, held[0]])
  assert.throws(() => keeper.roots('-----BEGIN CERTIFICATE-----'), /no certificate/)
  assert.equal(keeper.get(CART), held[0])
})

test('a certificate under a root that is not known here is no success, and what is held stays', async (t) => {
  const made = rig(t)
  const { keeper, clock, asked, held } = made
  keeper.roots(ROOT)
  keeper.want(new Set([CART]))
  await clock.go(0)
  made.sign = signedBy(clock, other)
  await clock.go(DAY_MS / 2 + 10_000)
  assert.equal(keeper.standings()[0]?.failure, 'the certificate leads to none of the roots in force')
  assert.deepEqual([held.length, keeper.get(CART)], [1, held[0]])
  assert.ok(asked.length < 8, `${asked.length} requests`)
  keeper.roots(ROOT + OTHER)
  await clock.go(20_000)
  assert.equal(keeper.get(CART), held[1])
})

test('what is kept under a root that is no more is not used by the next agent', async (t) => {
  const before = rig(t)
  before.keeper.want(new Set([CART]))
  await before.clock.go(0)
  before.keeper.stop()
  const after = rig(t, before.path, before.clock)
  after.sign = () => new Promise(() => undefined)
  after.keeper.roots(OTHER)
  after.keeper.want(new Set([CART]))
  assert.deepEqual([after.asked, after.held, after.keeper.get(CART)], [[CART], [], null])
})

test('a denial is told from a failure, and tried again like one', async (t) => {
  const made = rig(t)
  const { keeper, clock, asked } = made
  made.sign = () => Promise.reject(new Denied('NotGranted: no pod runs so'))
  keeper.want(new Set([CART]))
  await clock.go(0)
  const standing = { uri: CART, notAfterMs: null, failure: 'NotGranted: no pod runs so', denied: true }
  assert.deepEqual(keeper.standings(), [standing])
  made.sign = () => Promise.reject(new Error('nobody is there'))
  await clock.go(1000)
  assert.deepEqual(keeper.standings(), [{ ...standing, failure: 'nobody is there', denied: false }])
  made.sign = signedBy(clock)
  await clock.go(2000)
  assert.deepEqual([asked.length, keeper.standings()[0]?.failure], [3, null])
})

test('the next certificate is never asked for within a second of the last', () => {
  const life = fc.record({ notBeforeMs: fc.nat(), lifeMs: fc.integer({ min: 0, max: DAY_MS }), ageMs: fc.nat(DAY_MS) })
  fc.assert(
    fc.property(life, fc.boolean(), fc.double({ min: 0, max: 1, noNaN: true }), (given, isReplaced, random) => {
      const { notBeforeMs, lifeMs, ageMs } = given
      const now = { nowMs: notBeforeMs + ageMs, random }
      const after = renewAfterMs({ notBeforeMs, notAfterMs: notBeforeMs + lifeMs }, isReplaced, now)
      const most = isReplaced ? Math.min(lifeMs / 10, 60_000) : lifeMs * 0.551
      return after >= 1000 && after <= Math.max(1000, most)
    }),
  )
})
