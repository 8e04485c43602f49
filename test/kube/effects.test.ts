// Each field of Istio's VirtualService and DestinationRule does what it says, through translation and the pure model: one row
// of docs/istio-fields.md after the other. A row without an effect fails, so that none is called honoured that does nothing.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DESTINATION_RULE_EFFECTS } from './destination-rule-effects.ts'
import { tableOf } from './istio-fields.ts'
import { type Effect, VIRTUAL_SERVICE_EFFECTS } from './virtual-service-effects.ts'

const EFFECTS = { VirtualService: VIRTUAL_SERVICE_EFFECTS, DestinationRule: DESTINATION_RULE_EFFECTS } as const

for (const kind of ['VirtualService', 'DestinationRule'] as const) {
  const effects: Readonly<Record<string, Effect>> = EFFECTS[kind]

  test(`every honoured field of ${kind} is in the table of effects, and nothing else`, () => {
    const honoured = tableOf(kind).filter(({ verdict }) => verdict !== 'reported')
    assert.deepEqual(Object.keys(effects).sort(), honoured.map(({ path }) => path).sort())
  })

  for (const [path, [decide, one, is, other, was]] of Object.entries(effects)) {
    test(`${kind} ${path}`, () => {
      assert.notDeepEqual(is, was, 'a row that tells nothing apart')
      assert.deepEqual(decide(one), is)
      assert.deepEqual(decide(other), was)
    })
  }
}
