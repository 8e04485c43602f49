import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { connect } from 'node:tls'
import fc from 'fast-check'
import { proxyHeader } from '../model/proxy-header.ts'
import { headerJudge, type Judge, peek, saidJudge, sniffJudge } from './peek.ts'
import { Budget } from './transport/budget.ts'
import { CLIENT_HELLO_MOST } from './transport/client-hello.ts'
import { type Channel, type ChannelSink, DEAF } from './transport/transport.ts'

/** The first message of a client. */
function hello(servername: string): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = new Duplex({ read() {}, write: (bytes: Buffer) => resolve(bytes) })
    connect({ socket, servername }).on('error', () => undefined)
  })
}

const JUDGES: Readonly<Record<string, Judge>> = {
  sniff: sniffJudge(64),
  said: saidJudge('opaque', 'declared_opaque'),
  header: headerJudge,
}

test('what is found of bytes does not depend on the pieces that they come in', async () => {
  const ends = { source: { ip: '10.0.0.1', port: 1 }, destination: { ip: '10.0.0.2', port: 2 } }
  const samples = [
    await hello('a.example'),
    await hello(''),
    ...[1, 2].map((version) => Buffer.from(proxyHeader({ version: version as 1 | 2, ...ends }))),
    ...['GET / HTTP/1.1\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'SSH-2.0-x', '\r\n\r\nx'].map((text) =>
      Buffer.from(text),
    ),
  ]
  const bytes = fc.oneof(
    fc.constantFrom(...samples),
    fc.uint8Array({ minLength: 1, maxLength: 200 }).map((some) => Buffer.from(some)),
    fc.tuple(fc.constantFrom(...samples), fc.uint8Array({ maxLength: 9 })).map((parts) => Buffer.concat(parts)),
  )
  fc.assert(
    fc.property(bytes, fc.constantFrom(...Object.values(JUDGES)), fc.nat(), (all, judge, at) => {
      const whole = judge(all, false)
      const part = judge(all.subarray(0, 1 + (at % all.length)), false)
      if (part !== null) assert.deepEqual(part, whole, 'once found it stays')
      assert.notEqual(judge(all, true), null, 'there is an end')
      if (whole !== null) assert.deepEqual(judge(all, true), whole)
    }),
    { numRuns: 3000, seed: 9 },
  )
  assert.equal(JUDGES['said']?.(samples[0] ?? null, false)?.serverName, 'a.example')
  assert.equal(JUDGES['sniff']?.(samples[1] ?? null, false)?.hello, 'none')
})

test('silence is nobody’s name', () => {
  for (const judge of [JUDGES['sniff'], JUDGES['said']]) {
    assert.equal(judge?.(null, false), null)
    const found = judge?.(null, true)
    assert.deepEqual([found?.protocol, found?.serverName, found?.hello], ['opaque', null, null])
  }
  assert.equal(headerJudge(null, true)?.protocol, 'http')
})

/** A channel that is fed by hand. */
function fed(budget: Budget): { channel: Channel; feed: (bytes: Buffer) => void; sink: () => ChannelSink } {
  const channel = { sink: DEAF, budget, hold() {}, resume() {} } as unknown as Channel
  return { channel, feed: (bytes) => channel.sink.bytes(bytes, 0, bytes.length), sink: () => channel.sink }
}

test('what is gathered is bounded, counts for the pod, and is given back however it ends', async () => {
  const endless = Buffer.concat(
    Array.from({ length: 20 }, () => Buffer.concat([Buffer.from([22, 3, 1, 4, 0]), Buffer.alloc(1024, 1)])),
  )
  const judge = saidJudge('opaque', 'declared_opaque')
  const begun = (channel: Channel) => ({ channel, first: null, ended: false, silent: false })
  const wide = new Budget(1 << 20)
  const one = fed(wide)
  const found = peek(begun(one.channel), judge, 60_000)
  endless[5] = 1 // a ClientHello, of 0x010101 bytes: more than any has
  one.feed(endless)
  assert.equal((await found).hello, null, 'too large to be one')
  assert.equal(wide.held, 0)

  const partial = endless.subarray(0, 9)
  partial.set([1, 0, 0x3f, 0xff], 5)
  const narrow = new Budget(4)
  const two = fed(narrow)
  const spent = peek(begun(two.channel), judge, 60_000)
  two.feed(partial)
  await assert.rejects(Promise.resolve(spent), { code: 'BUFFER_LIMIT' })
  assert.equal(narrow.held, 0)

  for (const [end, how] of [
    [(sink: ChannelSink) => sink.end(), 'late'],
    [(sink: ChannelSink) => sink.lost(new Error('reset')), 'CALLER_RESET'],
  ] as const) {
    const three = fed(wide)
    const peeked = Promise.resolve(peek(begun(three.channel), judge, 60_000))
    three.feed(partial)
    assert.equal(wide.held, partial.length)
    end(three.sink())
    const came = await peeked.then(
      ({ hello, ended }) => (ended ? hello : 'goes on'),
      (thrown: unknown) => (thrown as { code: string }).code,
    )
    assert.equal(came, how)
    assert.equal(wide.held, 0)
  }
  const late = await peek(begun(fed(wide).channel), judge, 5)
  assert.equal(late.first, null)
  assert.ok(CLIENT_HELLO_MOST < 20 * 1024)
})
