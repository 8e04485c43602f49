// How many series there can be, whatever callers and applications do, and for how long.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { world } from '../../agent/model/world.fixture.ts'
import { noAccessLog } from '../../agent/telemetry/access.ts'
import { Cells, ENDINGS_LIMIT, GONE_MS } from '../../agent/telemetry/cells.ts'
import { Account } from '../../agent/telemetry/ledger.ts'
import { SERIES, type Sample } from '../../agent/telemetry/series.ts'
import { ask, mesh } from '../proxy/mesh.ts'

const labelled = ({ name, labels }: Sample, label: string): string =>
  labels[SERIES[name].labels.indexOf(label as never)] ?? ''

test('an application that answers with every code there is makes no more than so many series, and each is counted', async (t) => {
  const node = mesh(t, world().service('app').pods('app-v1').pods('web', { behind: [] }))
  await node.http('app-v1-1', (request, response) => {
    response.statusCode = Number(request.url?.slice(1))
    response.end()
  })
  const socket = await node.dial('web-1', { ip: '10.96.0.1', port: 80 })
  const codes = Array.from({ length: 200 }, (_, i) => 300 + i).filter((code) => code !== 304)
  for (const code of codes) await ask(socket, `GET /${code} HTTP/1.1\r\nHost: app\r\n\r\n`)
  await node.until(() => node.records.length === codes.length, 'every record')
  const source = node.plane
    .counters()
    .filter((sample) => sample.name === 'istio_requests_total' && labelled(sample, 'reporter') === 'source')
  assert.equal(source.length, ENDINGS_LIMIT + 1)
  assert.equal(node.count('istio_requests_total', { reporter: 'source' }), codes.length)
  const others = { reporter: 'source', response_code: 'other' }
  assert.equal(node.count('istio_requests_total', others), codes.length - ENDINGS_LIMIT)
  assert.equal(node.count('istio_request_duration_milliseconds', others), codes.length - ENDINGS_LIMIT)
})

test('nothing that a request says becomes a label', async (t) => {
  const node = mesh(t, world().service('app').pods('app-v1').pods('web', { behind: [] }))
  await node.http('app-v1-1', (_, response) => void response.end())
  const socket = await node.dial('web-1', { ip: '10.96.0.1', port: 80 })
  const secret = 'zebra'
  const headers = ['User-Agent', 'X-Request-Id', 'X-Forwarded-For', 'X-Envoy-Peer-Metadata', 'Cookie', 'Referer']
  const said = headers.map((name) => `${name}: ${secret}\r\n`).join('')
  await ask(socket, `ZEBRA /${secret} HTTP/1.1\r\nHost: ${secret}\r\n${said}\r\n`)
  await node.until(() => node.records.length === 1, 'a record')
  const values = node.plane.counters().flatMap(({ labels }) => labels)
  assert.ok(values.length > 0)
  assert.deepEqual(
    values.filter((value) => value.toLowerCase().includes(secret)),
    [],
  )
})

test('series of a pod that is gone are let go, and a connection that outlives them counts on', () => {
  const cells = new Cells()
  const account = new Account(cells, noAccessLog, { wall: () => 0, ms: () => 0 })
  const small = world().service('app').pods('app-v1').pods('web', { behind: [] })
  using connection = account.open('outbound')
  connection.caller = small.pod('web-1')
  const request = (): void => {
    const asked = { method: 'GET', target: '/', authority: 'app', minor: 1, requestId: 'id' }
    const ledger = connection.request({ ...asked, userAgent: null, forwardedFor: null })
    ledger.status = 200
    ledger.write()
  }
  let lives = true
  const counted = (nowMs: number): number[] =>
    cells
      .dump(nowMs, () => lives)
      .flatMap((sample) => (sample.name === 'istio_requests_total' && 'value' in sample ? [sample.value] : []))
  request()
  request()
  assert.deepEqual(counted(0), [2])
  lives = false
  assert.deepEqual(counted(1), [2])
  assert.deepEqual(counted(1 + GONE_MS), [2])
  assert.deepEqual(counted(2 + GONE_MS), [])
  request()
  assert.deepEqual(counted(3 + GONE_MS), [1])
})
