// Formats and places of the access log as the mesh's settings name them, changed while requests pass.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { world } from '../../agent/model/world.fixture.ts'
import { AimedLog } from '../../agent/telemetry/aimed.ts'
import { Cells } from '../../agent/telemetry/cells.ts'
import { Account } from '../../agent/telemetry/ledger.ts'

const START_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 67)
const SETTINGS = { file: '', encoding: 'TEXT', format: null } as const

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'weft-formats-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

function books(): { readonly account: Account; readonly log: AimedLog } {
  const log = new AimedLog('')
  return { log, account: new Account(new Cells(), log, { wall: () => START_MS, ms: () => 0 }) }
}

/** One request of a pod, with a header that a format may ask for. */
function request(account: Account, tenant = 'blue'): void {
  using connection = account.open('outbound')
  const small = world().service('app').pods('app-v1').pods('web', { behind: [] })
  connection.caller = small.pod('web-1')
  connection.dialled = { ip: '10.96.0.1', port: 80 }
  connection.peer = { ip: 'fd00::7', port: 51234 }
  const asked = { method: 'GET', target: '/a?b', authority: 'app', minor: 1, requestId: 'id-1' }
  const head = { header: (name: string) => (name === 'x-tenant' ? tenant : undefined) }
  const ledger = connection.request({ ...asked, userAgent: 'te"st', forwardedFor: null }, head)
  ledger.heard({ header: (name: string) => (name === 'server' ? 'nginx' : undefined) })
  ledger.status = 200
  ledger.sentBytes = 1234
  ledger.write()
}

test('the text format is Istio’s, and what a peer sent ends no quoted value', async (t) => {
  const path = join(folder(t), 'log')
  const { account, log } = books()
  assert.deepEqual(account.recorder.configure({ ...SETTINGS, file: path }), [])
  request(account)
  await log.close()
  assert.equal(
    readFileSync(path, 'utf8'),
    '[2026-01-02T03:04:05.067Z] "GET /a?b HTTP/1.1" 200 - via_upstream - "-" 0 1234 0 0 "-" "te\\"st" "id-1" "app" "-" ' +
      '- - 10.96.0.1:80 [fd00::7]:51234 - -\n',
  )
})

test('a format of one’s own: headers, times, limits, types', async (t) => {
  const path = join(folder(t), 'log')
  const { account, log } = books()
  const format = {
    tenant: '%REQ(X-None?X-Tenant)%',
    server: { name: '%RESP(Server):3%', none: '%RESP(X-None)%' },
    ...{
      at: '%START_TIME(%Y/%m/%d %H:%M:%S.%3f %s)%',
      code: '%RESPONSE_CODE%',
      peer: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%',
    },
    mixed: '%REQ(:METHOD)% 100%% %UPSTREAM_HOST%',
  }
  account.recorder.configure({ file: path, encoding: 'JSON', format: JSON.stringify(format) })
  request(account)
  request(account, 'r\r\n{"code":500}')
  await log.close()
  const [first, second, ...rest] = readFileSync(path, 'utf8').trimEnd().split('\n')
  assert.deepEqual(JSON.parse(first ?? ''), {
    ...{ tenant: 'blue', server: { name: 'ngi', none: null }, at: '2026/01/02 03:04:05.067 1767323045', code: 200 },
    ...{ peer: 'fd00::7', mixed: 'GET 100% -' },
  })
  assert.equal((JSON.parse(second ?? '') as { tenant: string }).tenant, 'r\r\n{"code":500}')
  assert.deepEqual(rest, [])
})

test('the place changes with the settings, loses nothing, and one that cannot be opened leaves the one before', async (t) => {
  const place = folder(t)
  const { account, log } = books()
  const paths = [join(place, 'one'), join(place, 'two')]
  request(account) // nowhere
  for (const file of [...paths, join(place, 'none', 'three')]) {
    const faults = account.recorder.configure({ ...SETTINGS, file })
    assert.equal(faults.length, file.endsWith('three') ? 1 : 0)
    request(account)
  }
  const faults = account.recorder.configure({ ...SETTINGS, format: '%NOTHING%', file: paths[1] ?? '' })
  assert.match(faults.join(), /accessLogFormat: %NOTHING% is not supported/)
  request(account)
  account.recorder.configure({ ...SETTINGS, file: '' })
  request(account) // nowhere
  await log.close()
  const lines = paths.map((path) => readFileSync(path, 'utf8').trimEnd().split('\n'))
  assert.deepEqual(
    lines.map(({ length }) => length),
    [1, 3],
  )
  assert.match(lines[1]?.[2] ?? '', /^\[2026/)
  assert.equal(log.dropped, 0)
})
