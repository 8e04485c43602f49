import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BodySink, Exchange } from '../exchange.ts'
import { StillChannel } from '../plane/still-channel.fixture.ts'
import { Budget } from '../transport/budget.ts'
import { Http1Caller } from './caller.ts'
import { HEAD_LIMITS } from './scan.ts'

const OPTIONS = {
  ...{ port: 80, authority: 'a', requestId: () => 'id', limits: HEAD_LIMITS, lastResponse: false },
  pathNormalization: 'BASE' as const,
}
const CHUNKED = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`

/** Where a body goes: what came of it, piece by piece. */
class Sink implements BodySink {
  readonly pieces: string[] = []
  isWhole = false

  bodyBytes(bytes: Buffer, from: number, to: number): void {
    this.pieces.push(bytes.toString('latin1', from, to))
  }

  bodyEnd(): void {
    this.isWhole = true
  }
}

/** A request whose body may have to be sent again, and how more of it comes. */
function asked(limits: { readonly kept: number; readonly budget?: number }) {
  class Channel extends StillChannel {
    override readonly budget = new Budget(limits.budget ?? 2 ** 30)
  }
  const channel = new Channel()
  const exchanges: Exchange[] = []
  const caller = new Http1Caller(channel, OPTIONS, { serve: (one) => exchanges.push(one), finished: () => {} }, null)
  caller.next()
  const comes = (text: string): void => channel.sink.bytes(Buffer.from(text, 'latin1'), 0, text.length)
  comes(CHUNKED)
  const [exchange] = exchanges as [Exchange]
  exchange.keepBody(limits.kept)
  const sends = (): Sink => {
    const sink = new Sink()
    exchange.sendBody(sink)
    return sink
  }
  return { exchange, budget: channel.budget, comes, sends }
}

test('what still comes of a body while nobody takes it is not lost, however much may be kept', () => {
  const { exchange, comes, sends } = asked({ kept: 8 })
  const first = sends()
  comes(chunk('12345'))
  assert.ok(exchange.resendable)
  exchange.detachBody() // the channel is held by now, but the turn that brought the answer brought this as well
  comes(chunk('67890'))
  assert.ok(exchange.resendable)
  const second = sends()
  comes(`${chunk('abc')}0\r\n\r\n`)
  assert.deepEqual([first.pieces.join(''), first.isWhole], ['12345', false])
  assert.deepEqual([second.pieces.join(''), second.isWhole], ['1234567890abc', true])
  assert.ok(!exchange.resendable, 'beyond the bound once there is a sink')
})

test('a body that comes in crumbs is kept as one run, and counts for what it takes', () => {
  const { exchange, budget, comes, sends } = asked({ kept: 2 ** 20 })
  sends()
  for (let i = 0; i < 1000; i++) comes(chunk('x').repeat(10))
  assert.ok(budget.held >= 10_000 && budget.held <= 40_000, String(budget.held))
  exchange.detachBody()
  const again = sends()
  assert.deepEqual(again.pieces, ['x'.repeat(10_000)])
  exchange.answer(503, '')
  assert.ok(budget.held < 5000, String(budget.held))
})

test('bodies are kept in half of what a pod may hold: the rest is for what cannot be done without', () => {
  const { exchange, budget, comes, sends } = asked({ kept: 2 ** 20, budget: 100_000 })
  const sink = sends()
  for (let i = 0; i < 70; i++) comes(chunk('y'.repeat(1000)))
  assert.equal(sink.pieces.join('').length, 70_000)
  assert.ok(!exchange.resendable)
  assert.ok(budget.held < 5000, String(budget.held))
})

test('a body is read ahead as far as is asked, and then sent from its first byte, whatever is kept for retries', () => {
  for (const kept of [0, 4, 2 ** 20]) {
    const { exchange, comes, sends } = asked({ kept })
    const told: [string, boolean][] = []
    exchange.readAhead(8, (body, isWhole) => told.push([body.toString(), isWhole]))
    comes(chunk('12345'))
    assert.deepEqual(told, [])
    comes(chunk('67890') + chunk('abc'))
    assert.deepEqual(told, [['12345678', false]])
    const sink = sends()
    comes(`${chunk('def')}0\r\n\r\n`)
    assert.deepEqual([sink.pieces.join(''), sink.isWhole], ['1234567890abcdef', true], String(kept))
  }
})

test('a body that is whole is told so, and one that would take more than its pod may hold ends the request', () => {
  const { exchange, comes, sends } = asked({ kept: 0 })
  const told: [string, boolean][] = []
  exchange.readAhead(5, (body, isWhole) => told.push([body.toString(), isWhole]))
  comes(`${chunk('12345')}0\r\n\r\n`)
  assert.deepEqual(told, [['12345', true]])
  const sink = sends()
  assert.deepEqual([sink.pieces.join(''), sink.isWhole], ['12345', true])

  const poor = asked({ kept: 0, budget: 10_000 })
  let stopped: string | null = null
  poor.exchange.during((reason) => (stopped = reason.code), null)
  poor.exchange.readAhead(2 ** 20, () => assert.fail('it is never whole'))
  for (let i = 0; i < 20; i++) poor.comes(chunk('y'.repeat(1000)))
  assert.equal(stopped, 'BUFFER_LIMIT')
})

test('once the next request is waited for, the last one says nothing, whoever reads with what it was read with', () => {
  const connection = () => {
    const channel = new StillChannel()
    const exchanges: Exchange[] = []
    const caller = new Http1Caller(channel, OPTIONS, { serve: (one) => exchanges.push(one), finished: () => {} }, null)
    caller.next()
    const asks = (text: string): Exchange => {
      channel.sink.bytes(Buffer.from(text), 0, text.length)
      return exchanges.at(-1) as Exchange
    }
    return { caller, asks }
  }
  const [one, other] = [connection(), connection()]
  const first = one.asks('GET /one HTTP/1.1\r\nHost: a\r\nCookie: mine\r\n\r\n')
  assert.equal(first.header('cookie'), 'mine')
  first.answer(200, '')
  one.caller.next()
  const second = other.asks('GET /other HTTP/1.1\r\nHost: b\r\nCookie: theirs\r\n\r\n')
  assert.deepEqual([first.header('cookie'), first.head.names(), first.received], [undefined, [], true])
  assert.deepEqual([second.header('cookie'), second.target, second.authority], ['theirs', '/other', 'b'])
  const third = one.asks('GET /again HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.deepEqual([third.target, third.header('cookie'), second.header('cookie')], ['/again', undefined, 'theirs'])
})
