// Random streams of requests, sound and tampered with, through the whole corridor in random pieces: an upstream that reads by
// the slow grammar alone gets exactly the requests that this grammar finds in what the caller sent, and nothing else.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from '../../agent/model/request.fixture.ts'
import { world } from '../../agent/model/world.fixture.ts'
import { drainSocket, type Mesh, mesh } from '../proxy/mesh.ts'
import { CORPUS, HOWS, mutated } from './mutations.ts'
import { DIALLED, type Reading, slowReading } from './readings.ts'

const APP = { ip: '10.96.0.1', port: 80 }
const STREAMS = 400
const SEEDS = [1, 2]
/** What the mesh adds to a head may go beyond its own limits. */
const WIDE = { headBytes: 0xffff, headFields: 200 }
const REQUESTS = CORPUS.filter(({ kind }) => kind === 'request')

interface Meaning {
  readonly method: string
  readonly target: string
  readonly authority: string
  readonly payload: string
  readonly trailers: readonly (readonly [string, string])[]
}

const EMPTY = { verdict: 'more', payload: '', length: 0, trailers: [] }

/** The complete requests that a stream holds, up to the first that ends the connection, and what ends it. */
function requestsIn(text: string): { complete: Meaning[]; then: 'more' | 'refused' | 'closed' } {
  const complete: Meaning[] = []
  for (let rest = text; ;) {
    const reading = slowReading({ kind: 'request', method: '', text: rest })
    if (reading.verdict === 'more') return { complete, then: 'more' }
    const meaning = meaningOf(reading)
    if (meaning === null || reading.body?.verdict === 'bad') return { complete, then: 'refused' }
    if (reading.body?.verdict === 'more') return { complete, then: 'more' }
    complete.push(meaning)
    if (!reading.persistent) return { complete, then: 'closed' }
    rest = rest.slice((reading.head?.length ?? 0) + (reading.body?.length ?? 0))
  }
}

function meaningOf({ head, addressed, body = EMPTY }: Reading): Meaning | null {
  if (head === undefined || addressed == null || head.method === 'CONNECT') return null
  return { method: head.method, ...addressed, payload: body.payload, trailers: body.trailers }
}

/** An upstream that knows HTTP by the slow grammar alone. What it cannot read it notes as such. */
async function reader(node: Mesh, seen: (Meaning | string)[]): Promise<void> {
  await node.tcp('app-v1-1', (socket) => {
    let text = ''
    socket.on('end', () => socket.end())
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      for (;;) {
        const reading = slowReading({ kind: 'request', method: '', text, limits: WIDE })
        if (reading.verdict === 'more' || reading.body?.verdict === 'more') return
        const meaning = meaningOf(reading)
        if (meaning === null || reading.body?.verdict !== 'done') {
          seen.push(text)
          socket.destroy()
          return
        }
        seen.push(meaning)
        text = text.slice((reading.head?.length ?? 0) + reading.body.length)
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${meaning.method === 'HEAD' ? '' : 'ok'}`)
      }
    })
  })
}

function randomStream(random: () => number): string {
  const below = (bound: number): number => Math.floor(random() * bound)
  const one = (): string => {
    const { text } = REQUESTS[below(REQUESTS.length)] ?? { text: '' }
    const sound = slowReading({ kind: 'request', method: '', text })
    const whole = text.slice(0, (sound.head?.length ?? 0) + (sound.body?.length ?? 0))
    if (below(3) > 0) return whole
    return mutated(whole, [{ how: HOWS[below(HOWS.length)] ?? 'insert', at: below(65536), what: below(65536) }])
  }
  return Array.from({ length: 1 + below(4) }, one).join('')
}

for (const seed of SEEDS) {
  test(
    `what leaves for an upstream is what the grammar finds in random streams, from seed ${seed}`,
    { timeout: 60_000 },
    async (t) => {
      assert.equal(DIALLED, `${APP.ip}:${APP.port}`)
      const node = mesh(t, world().service('app').pods('app-v1').pods('web', { behind: [] }))
      const random = seeded(seed)
      const seen: (Meaning | string)[] = []
      await reader(node, seen)
      const ends = { more: 0, refused: 0, closed: 0 }
      let requests = 0
      for (let i = 0; i < STREAMS; i++) {
        const text = randomStream(random)
        const { complete, then } = requestsIn(text)
        seen.length = 0
        const socket = await node.dial('web-1', APP)
        const whole = drainSocket(socket)
        for (let from = 0; from < text.length;) {
          const to = from + 1 + Math.floor(random() * text.length)
          socket.write(text.slice(from, to), 'latin1')
          from = to
          if (random() < 0.3) await new Promise((resolve) => setImmediate(resolve)) // pieces of their own
        }
        const what = `${JSON.stringify(text)} (${then})`
        await node.until(() => seen.length >= complete.length, `${complete.length} requests of ${what}`)
        if (then === 'more') socket.destroy()
        else assert.equal((await whole).how, 'end', what)
        socket.destroy()
        await node.until(() => node.count('weft_proxy_connections_open') === 0, `the end of ${what}`)
        assert.deepEqual(seen, complete, what)
        ends[then]++
        requests += complete.length
      }
      t.diagnostic(`${STREAMS} streams with ${requests} complete requests; ${JSON.stringify(ends)}`)
      assert.ok(Math.min(...Object.values(ends)) > STREAMS / 50, JSON.stringify(ends))
      assert.deepEqual(node.faults, [])
    },
  )
}
