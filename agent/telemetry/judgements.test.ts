import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Decision, MatchedRule } from '../model/authorization/decision.ts'
import { MeshError } from '../model/failure.ts'
import { GONE_MS } from './cells.ts'
import { isPlain, judgementFields, Judgements, POLICIES_LIMIT } from './judgements.ts'
import { connectionOutcome, requestOutcome } from './outcome.ts'
import type { Sample } from './series.ts'

const ref = (name: string) => ({ kind: 'AuthorizationPolicy', namespace: 'shop', name })
const by = (name: string, rule = 0): MatchedRule => ({ policy: ref(name), rule })
const PASSED: Decision = { denied: null, allowedBy: null, audited: [], dryRun: null }
const NOTED: Decision = {
  ...PASSED,
  allowedBy: by('staff'),
  audited: [by('watched', 2)],
  dryRun: { denied: { by: by('tried', 1) }, allowedBy: null },
}
const denial = (of: MatchedRule | null, decision: Decision | null = null): MeshError =>
  new MeshError('DENIED', 'no', undefined, { by: of, decision })

const shown = (samples: readonly Sample[]): Record<string, number> =>
  Object.fromEntries(
    samples.map((sample) => [`${sample.name} ${sample.labels.join(' ')}`, 'value' in sample ? sample.value : NaN]),
  )

test('what is denied is counted by policy and reason, whatever was noted and tried beside it by its policies', () => {
  const judgements = new Judgements()
  const failed = (code: 'UNAUTHENTICATED' | 'AUTHORIZER_DENIED' | 'CONNECT_REFUSED', of: MatchedRule | null) =>
    new MeshError(code, 'no', undefined, { by: of })
  for (const [failure, decision] of [
    [denial(by('no-admin')), null],
    [denial(by('no-admin', 3)), NOTED],
    [denial(null), null],
    [failed('UNAUTHENTICATED', null), null],
    [failed('AUTHORIZER_DENIED', by('guarded')), null],
    [failed('CONNECT_REFUSED', null), PASSED],
    [null, PASSED],
    [null, null],
    [null, NOTED],
    [null, { ...PASSED, dryRun: { denied: { by: null }, allowedBy: null } }],
    [null, { ...PASSED, dryRun: { denied: null, allowedBy: by('tried') } }],
  ] as const) {
    judgements.count({ failure, decision })
  }
  assert.deepEqual(shown(judgements.dump(0, () => true)), {
    'weft_authz_denied_total shop no-admin rule': 2,
    'weft_authz_denied_total   no_rule': 1,
    'weft_authz_denied_total   token': 1,
    'weft_authz_denied_total shop guarded authorizer': 1,
    'weft_authz_audited_total shop watched': 2,
    'weft_authz_dry_run_total shop tried denied': 2,
    'weft_authz_dry_run_total   denied': 1,
    'weft_authz_dry_run_total shop tried allowed': 1,
  })
})

test('series of a policy that is gone leave after a while; so long there is room for no more than a bound', () => {
  const judgements = new Judgements()
  const deny = (name: string): void => judgements.count({ failure: denial(by(name)), decision: null })
  for (let i = 0; i < POLICIES_LIMIT + 3; i++) deny(`policy-${i}`)
  const all = shown(judgements.dump(0, () => false))
  assert.equal(Object.keys(all).length, POLICIES_LIMIT + 1)
  assert.equal(all['weft_authz_denied_total other other rule'], 3)
  assert.equal(judgements.dump(GONE_MS, () => false).length, POLICIES_LIMIT + 1, 'not yet')
  const after = shown(judgements.dump(GONE_MS + 1, ({ name }) => name === 'policy-1'))
  assert.deepEqual(Object.keys(after).sort(), [
    'weft_authz_denied_total other other rule',
    'weft_authz_denied_total shop policy-1 rule',
  ])
  deny('policy-0')
  assert.equal(
    shown(judgements.dump(0, () => true))['weft_authz_denied_total shop policy-0 rule'],
    1,
    'from nothing again',
  )
})

test('a record says what policies have to tell, and nothing else', () => {
  assert.deepEqual(judgementFields({ failure: null, decision: PASSED }), {})
  assert.deepEqual(judgementFields({ failure: denial(by('no-admin', 1)), decision: NOTED }), {
    weft_policy: 'shop/no-admin',
    weft_rule: 1,
    weft_audited: ['shop/watched[2]'],
    weft_dry_run: 'denied by shop/tried[1]',
  })
  assert.deepEqual([isPlain(PASSED), isPlain(NOTED)], [true, false])
  const request = { flags: '-', details: null, isMirror: false }
  const plain = requestOutcome({ ...request, failure: null, decision: PASSED }, true)
  assert.equal(plain, requestOutcome({ ...request, failure: null, decision: null }, true), 'made once')
  const noted = requestOutcome({ ...request, failure: null, decision: NOTED }, true).fields
  assert.deepEqual([noted.response_code_details, noted.weft_reason], ['via_upstream', null])
  assert.deepEqual(noted.weft_audited, ['shop/watched[2]'])
  const mirrored = requestOutcome({ ...request, isMirror: true, failure: null, decision: NOTED }, true).fields
  assert.deepEqual([mirrored.weft_mirror, mirrored.weft_dry_run], [true, 'denied by shop/tried[1]'])
})

test('a denial tells its reason in Envoy’s words, of a request and of a connection', () => {
  const details = 'rbac_access_denied_matched_policy[ns[shop]-policy[no-admin]-rule[1]]'
  const failure = new MeshError('DENIED', 'no', undefined, { by: by('no-admin', 1), details })
  const request = requestOutcome({ failure, flags: '-', details: null, isMirror: false, decision: null }, false).fields
  assert.deepEqual(
    [request.response_code_details, request.connection_termination_details, request.weft_policy, request.weft_rule],
    [details, null, 'shop/no-admin', 1],
  )
  const flow = connectionOutcome({ failure, flags: '-', decision: NOTED }, 0).fields
  assert.deepEqual(
    [flow.response_code_details, flow.connection_termination_details, flow.weft_reason, flow.weft_dry_run],
    [null, details, 'DENIED', 'denied by shop/tried[1]'],
  )
  const well = connectionOutcome({ failure: null, flags: '-', decision: NOTED }, 0).fields
  assert.deepEqual([well.weft_reason, well.weft_audited], [null, ['shop/watched[2]']])
})
