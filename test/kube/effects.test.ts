// Each field of Istio's kinds does what it says, through translation and the pure model: one row
// of docs/istio-fields.md after the other. A row without an effect fails, so that none is called honoured that does nothing.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AUTHORIZATION_POLICY_EFFECTS, REQUEST_AUTHENTICATION_EFFECTS } from './authorization-effects.ts'
import { DESTINATION_RULE_EFFECTS } from './destination-rule-effects.ts'
import { KINDS, tableOf } from './istio-fields.ts'
import { type Effect, VIRTUAL_SERVICE_EFFECTS } from './virtual-service-effects.ts'

const EFFECTS = {
  VirtualService: VIRTUAL_SERVICE_EFFECTS,
  DestinationRule: DESTINATION_RULE_EFFECTS,
  AuthorizationPolicy: AUTHORIZATION_POLICY_EFFECTS,
  RequestAuthentication: REQUEST_AUTHENTICATION_EFFECTS,
} as const

for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[]) {
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
