// What the books cost a request: ledger opened, told of route, endpoint and response, and written, both reporters and the
// access record included. Prints nanoseconds a request: `node test/bench/micro/ledger.ts [requests]`.

import { openSync } from 'node:fs'
import { world } from '../../../agent/model/world.fixture.ts'
import { noAccessLog, openAccessLog, type AccessLog } from '../../../agent/telemetry/access.ts'
import { Cells } from '../../../agent/telemetry/cells.ts'
import { Account } from '../../../agent/telemetry/ledger.ts'
import type { Asked } from '../../../agent/telemetry/record.ts'

const COUNT = Number(process.argv[2] ?? 300_000)
const ROUNDS = 5
/** Requests between two turns of the loop, about as a busy worker has them. */
const TURN = 64

const small = world().service('app').pods('app-v1', { count: 3 }).pods('web', { behind: [] })
const inventory = small.inventory()
const service = inventory.services[0]!
const [port] = service.ports
const callees = port!.endpoints.map((endpoint) => ({
  endpoint,
  callee: inventory.workloads.find(({ uid }) => uid === endpoint.workload) ?? null,
  both: true,
}))
const backends = {
  ...{ key: 'k', host: service.host, subset: 'v1', port: port!.port, family: 4 as const },
  ...{ balancer: 'LEAST_REQUEST' as const, endpoints: port!.endpoints },
}
const rule = { object: { kind: 'VirtualService', namespace: 'default', name: 'app' }, rule: 'all' }
const agent = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'
const upstreamLocal = { ip: '10.244.0.7', port: 41234 }

function asked(id: number): Asked {
  // texts made anew each time, as those of a parsed head are
  const text = (value: string): string => Buffer.from(value, 'latin1').toString('latin1')
  return {
    ...{ method: 'GET', target: text(`/orders/${id}?page=2`), authority: text('app.default.svc.cluster.local') },
    ...{ minor: 1, requestId: text('9f1c1b0e-8f4c-4d0e-9d57-0f2f7f1ad2c1') },
    ...{ userAgent: text(agent), forwardedFor: null },
  }
}

/** Nanoseconds a request. Its own texts are made ahead: they are the parser's cost. */
async function round(access: AccessLog): Promise<number> {
  const account = new Account(new Cells(), access, { wall: () => Date.now(), ms: () => performance.now() })
  const connection = account.open('outbound')
  connection.caller = connection.pod = small.pod('web-1')
  connection.service = service
  connection.dialled = { ip: '10.96.0.1', port: 80 }
  connection.peer = { ip: '10.244.0.7', port: 51234 }
  const requests = Array.from({ length: TURN }, (_, id) => asked(id))
  let spent = 0
  for (let done = 0; done < COUNT; done += TURN) {
    const began = performance.now()
    for (let i = 0; i < TURN; i++) {
      const ledger = connection.request(requests[i]!)
      ledger.snapshot = 7
      ledger.routed(backends, rule)
      ledger.sent({ ...callees[i % callees.length]! })
      ledger.upstreamLocal = upstreamLocal
      ledger.heard()
      ledger.status = 200
      ledger.sentBytes = 1024
      ledger[Symbol.dispose]()
    }
    spent += performance.now() - began
    await new Promise((resolve) => setImmediate(resolve))
  }
  await access.close()
  return (spent * 1e6) / COUNT
}

const best = async (open: () => AccessLog): Promise<string> => {
  const rounds = []
  for (let i = 0; i < ROUNDS; i++) rounds.push(await round(open()))
  return Math.min(...rounds).toFixed(0)
}

console.log(`series alone        ${await best(() => noAccessLog)} ns a request`)
console.log(`series and a record ${await best(() => openAccessLog(openSync('/dev/null', 'w')))} ns a request`)
