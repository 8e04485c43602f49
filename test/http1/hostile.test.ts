// Each hostile request through the whole corridor, in front of three upstreams: it is answered as it must be, the connection
// ends, the record says why, and no upstream ever sees what was smuggled.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { world } from '../../agent/model/world.fixture.ts'
import { ask, drainSocket, type Mesh, mesh } from '../proxy/mesh.ts'
import { HOSTILE, type Hostile } from './hostile.ts'
import { type Start, startNginx, startNode, startRaw, type Witness } from './servers.ts'

const APP = { ip: '10.96.0.1', port: 80 }
/** Short, for the heads that never end. */
const LIMITS = { headMs: 200, sweepMs: 20 }

async function attack(node: Mesh, witness: Witness, hostile: Hostile): Promise<void> {
  const [recordsBefore, requestsBefore] = [node.records.length, witness.requests().length]
  const socket = await node.dial('web-1', APP)
  const whole = drainSocket(socket)
  socket.write(hostile.bytes, 'latin1')
  const { bytes, how } = await whole
  const text = bytes.toString('latin1')
  const answers = text.split(/(?=HTTP\/1\.1 \d+ )/)
  const statuses = answers.map((answer) => Number(/^HTTP\/1\.1 (\d+) /.exec(answer)?.[1]))
  assert.deepEqual(statuses, hostile.statuses, text)
  assert.equal(how, 'end')
  assert.match(answers.at(-1) ?? '', /\r\nconnection: close\r\n/)
  socket.end()
  await node.until(() => node.records.length === recordsBefore + statuses.length, 'a record an answer')
  const records = node.records.slice(recordsBefore)
  assert.deepEqual(
    records.map((record) => record.response_code),
    hostile.statuses,
  )
  assert.equal(records.at(-1)?.weft_reason, hostile.reason)
  const clean = await cleanRequest(node, witness)
  const seen = witness.requests().slice(requestsBefore)
  assert.equal(seen.pop(), clean)
  assert.ok(seen.length <= hostile.pass && seen.every((request) => request.includes('/first')), seen.join())
  assert.ok(!/smuggled/i.test(witness.received() + witness.requests().join()))
}

/** A request behind the attack gets its own answer: nothing is left of the one before, here or upstream. */
async function cleanRequest(node: Mesh, witness: Witness): Promise<string> {
  const records = node.records.length
  const line = `GET /clean/${records}`
  const socket = await node.dial('web-1', APP)
  const answer = await ask(socket, `${line} HTTP/1.1\r\nHost: app\r\n\r\n`)
  assert.equal(answer.status, 200)
  assert.equal(answer.body, 'ok')
  socket.destroy()
  await node.until(() => node.records.length === records + 1, 'the record of the request behind')
  await node.until(() => witness.requests().at(-1) === line, 'the request behind at the upstream')
  return line
}

const upstreams: readonly (readonly [string, Start])[] = [
  ['nginx', startNginx],
  ['node:http', startNode],
  ['a bare socket', startRaw],
]

for (const [name, start] of upstreams) {
  test(`in front of ${name} hostile requests are refused and end their connection`, async (t) => {
    const node = mesh(t, world().service('app').pods('app-v1').pods('web', { behind: [] }), { limits: LIMITS })
    const witness = await start(t, node, 'app-v1-1')
    for (const hostile of HOSTILE) {
      await t.test(hostile.name, { timeout: 10_000 }, () => attack(node, witness, hostile))
    }
    t.diagnostic(`${HOSTILE.length} cases in front of ${name}`)
    assert.deepEqual(node.faults, [])
  })
}

test('there are at least 60 hostile requests, each with a name of its own', () => {
  assert.ok(HOSTILE.length >= 60, `${HOSTILE.length} cases`)
  assert.equal(new Set(HOSTILE.map(({ name }) => name)).size, HOSTILE.length)
})
