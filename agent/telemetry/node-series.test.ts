import assert from 'node:assert/strict'
import test from 'node:test'
import { type NodeFacts, renderNodeSeries } from './node-series.ts'

const NOTHING: NodeFacts = {
  ...{ snapshotVersion: 1, capturedPods: 0, uncaptured: new Map(), kernel: {}, problems: [], traffic: [] },
  ...{ older: [], olderClosed: 0, certificates: [], lacks: [] },
}

test('older connections are told a pod, and those that were closed in all', async () => {
  const older = [{ namespace: 'shop', pod: 'cart-1', count: 3 }]
  const text = await renderNodeSeries({ ...NOTHING, older, olderClosed: 7 })
  assert.match(text, /^weft_older_connections\{namespace="shop",pod="cart-1"\} 3$/m)
  assert.match(text, /^# TYPE weft_older_connections_closed_total counter$/m)
  assert.match(text, /^weft_older_connections_closed_total 7$/m)
  assert.match(await renderNodeSeries(NOTHING), /^weft_older_connections_closed_total 0$/m)
})

test('what the CNI plug-in asked is told by command and outcome', async () => {
  const cni = [{ command: 'ADD', outcome: 'captured', count: 2, seconds: 0.5 }]
  const text = await renderNodeSeries({ ...NOTHING, cni })
  assert.match(text, /^weft_cni_requests_total\{command="ADD",outcome="captured"\} 2$/m)
  assert.match(text, /^weft_cni_request_seconds_total\{command="ADD",outcome="captured"\} 0.5$/m)
})
