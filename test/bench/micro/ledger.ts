// What a request costs the books: a ledger opened, told of a route, an endpoint and an answer, and written, its record to
// /dev/null. Prints nanoseconds a request, the median of many rounds.

import { openSync } from 'node:fs'
import { seeded } from '../../../agent/model/request.fixture.ts'
import { ALL_HEALTHY, pick } from '../../../agent/model/balance/balance.ts'
import { routeTcp } from '../../../agent/model/route.ts'
import { dialled, world } from '../../../agent/model/world.fixture.ts'
import { noAccessLog, openAccessLog } from '../../../agent/telemetry/access.ts'
import { Cells } from '../../../agent/telemetry/cells.ts'
import { Account, type Clock } from '../../../agent/telemetry/ledger.ts'
import { localPart } from '../../../agent/telemetry/record.ts'
import { median } from '../work.ts'

const ROUNDS = 30
const ANYBODY = { hash: null }
const REQUESTS = 20_000
const CLOCK: Clock = { wall: () => Date.now(), ms: () => performance.now() }

const built = world().service('web').pods('web-v1', { count: 10 }).pods('load', { behind: [] })
const snapshot = built.snapshot()
const backends = routeTcp(snapshot, dialled(snapshot, 'web'), { consumer: 'default', caller: null })
const on = {
  load: { active: () => 0, turn: () => 0 },
  random: seeded(7),
  health: ALL_HEALTHY,
  nowMs: () => Date.now(),
}
const caller = built.pod('load-1')
const local = { ip: '10.244.0.9', port: 40_000 }

for (const [name, access] of [
  ['with access records', openAccessLog(openSync('/dev/null', 'a'))],
  ['without', noAccessLog],
] as const) {
  const account = new Account(new Cells(), access, CLOCK)
  if (access === noAccessLog) account.recorder.configure({ file: '', encoding: 'JSON', format: null })
  using connection = account.open('outbound')
  connection.caller = caller
  connection.dialled = { ip: '10.96.0.1', port: 80 }
  connection.peer = local
  const upstreamLocal = localPart(local)
  const rounds: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now()
    for (let request = 0; request < REQUESTS; request++) {
      const endpoint = pick(backends, on, ANYBODY)
      if (endpoint === null) throw new Error('the world has endpoints')
      const ledger = connection.request({
        ...{ method: 'GET', target: `/item/${request}`, authority: 'web', minor: 1, requestId: 'some-id' },
        ...{ userAgent: 'bench/1.0', forwardedFor: null },
      })
      ledger.routed(backends, null)
      ledger.sent({ endpoint, callee: null, principal: null, both: true })
      ledger.upstreamLocal = upstreamLocal
      ledger.heard()
      ledger.status = 200
      ledger.sentBytes = 1024
      ledger.write()
    }
    rounds.push(((performance.now() - began) * 1e6) / REQUESTS)
    await new Promise((resolve) => setImmediate(resolve))
  }
  process.stdout.write(`a request in the books, ${name}: ${median(rounds).toFixed(0)} ns\n`)
  await access.close()
}
