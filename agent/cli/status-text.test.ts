import assert from 'node:assert/strict'
import { test } from 'node:test'
import { meshStatus } from './mesh-status.ts'
import { statusText } from './status-text.ts'

const READY = { version: '0.1.0', state: 'ready', reasons: [] } as const
const POD = {
  ...{ namespace: 'shop', ips: [], reason: null, onLoss: 'open' as const, olderConnections: 0 },
  modes: { others: 'PERMISSIVE' as const, ports: {} },
  certificate: { identity: 'spiffe://a/ns/shop/sa/b', notAfter: '2040-01-02T03:04:05.000Z', failure: null },
}
const STRICT_AT_80 = { others: 'PERMISSIVE', ports: { '80': 'STRICT', '81': 'PERMISSIVE' } } as const
const NO_CERTIFICATE = { identity: null, notAfter: null, failure: 'nobody has signed' }

test('agents, then pods, then one line; each column as wide as its longest cell', () => {
  const pods = [
    { ...POD, name: 'front-7', uid: '1', state: 'captured', olderConnections: 2 },
    {
      ...POD,
      name: 'customer',
      uid: '2',
      state: 'uncaptured',
      reason: 'hostNetwork',
      onLoss: 'closed',
      modes: STRICT_AT_80,
    },
    { ...POD, name: 'old', uid: '3', state: 'leaving', certificate: NO_CERTIFICATE },
  ] as const
  const answers = [
    { node: 'node-1', status: { ...READY, node: 'node-1', agent: 'weft-agent-1', pods } },
    { node: 'node-2', silent: 'connection refused' },
  ]
  assert.equal(
    statusText(meshStatus({ answers, joined: [] })),
    `NODE     AGENT          VERSION   STATE      REASON
node-2   -              -         no agent   connection refused
node-1   weft-agent-1   0.1.0     ready      -

NAMESPACE   POD        NODE     STATE        MODE                     CERTIFICATE               ON-LOSS   OLDER   REASON
shop        customer   node-1   uncaptured   PERMISSIVE (80 STRICT)   until 2040-01-02T03:04Z   closed    0       hostNetwork
shop        old        node-1   leaving      PERMISSIVE               -                         open      0       -
shop        front-7    node-1   captured     PERMISSIVE               until 2040-01-02T03:04Z   open      2       -

1 of 2 agents ready, 1 of 2 joined pods captured, 1 leaving, 1 under STRICT is not captured, 2 open connections are older than the capture and bypass the proxy
`,
  )
})

test('without joined pods there is no table of them', () => {
  const status = { ...READY, node: 'node-1', agent: 'weft-agent-1', pods: [] }
  assert.equal(
    statusText(meshStatus({ answers: [{ node: 'node-1', status }], joined: [] })),
    `NODE     AGENT          VERSION   STATE   REASON
node-1   weft-agent-1   0.1.0     ready   -

1 of 1 agents ready, 0 of 0 joined pods captured
`,
  )
})

test('nothing that another machine says steers the terminal', () => {
  const answers = [{ node: 'node-1', silent: 'up\u001b[2J\nand\u009baway' }]
  const text = statusText(meshStatus({ answers, joined: [] }))
  assert.match(text, /no agent {3}up \[2J and away\n/)
})

test('a pod under STRICT that ran before it was captured has a start window, and why is told', () => {
  const strict = { ...POD, state: 'captured' as const, modes: { others: 'STRICT' as const, ports: {} } }
  const pods = [
    { ...strict, name: 'early', uid: '1', fromStart: false },
    { ...strict, name: 'in-time', uid: '2', fromStart: true },
    { ...POD, state: 'captured' as const, name: 'open', uid: '3', fromStart: false },
  ]
  const status = { ...READY, node: 'node-1', agent: 'weft-agent-1', startWindow: 'CNI is off', pods }
  const text = statusText(meshStatus({ answers: [{ node: 'node-1', status }], joined: [] }))
  assert.match(text, /early .* start window\n/)
  assert.match(text, /, 1 under STRICT ran before it was captured \(start window; node-1: CNI is off\)\n$/)
  assert.equal(text.match(/start window\n/g)?.length, 1)
})
