import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ExplainedVerdict } from '../model/explain/verdicts.ts'
import { verdictLines } from './verdict-text.ts'

const VERDICT: ExplainedVerdict = {
  ...{ pods: ['shop/a-1'], port: 8080, verdict: 'denied', why: 'rule 1 of shop/no-admin denies it' },
  ...{ asks: [], tokens: null, audited: [], dryRun: null, policies: [] },
}

test('a verdict is a line, and what led to it stands beneath', () => {
  assert.deepEqual(verdictLines(VERDICT), ['at shop/a-1 port 8080: DENIED: rule 1 of shop/no-admin denies it'])
  const look = { dryRun: false, matched: null, failed: [] }
  const lines = verdictLines({
    ...VERDICT,
    pods: ['shop/a-1', 'shop/a-2', 'shop/a-3', 'shop/a-4', 'shop/a-5'],
    verdict: 'allowed',
    why: 'nothing denies it',
    asks: [
      { provider: 'opa', by: 'shop/ask[0]', isKnown: true },
      { provider: 'gone', by: 'shop/lost[0]', isKnown: false },
    ],
    tokens: { places: ['cookie session'], issuers: ['https://i'], required: false, found: 1, refused: null },
    audited: ['shop/watched[0]'],
    dryRun: 'denied by shop/tried[0]',
    policies: [
      { ...look, policy: 'shop/no-admin', action: 'DENY', failed: [{ rule: 0, field: 'to[0].operation.paths' }] },
      { ...look, policy: 'shop/none', action: 'ALLOW' },
      { ...look, policy: 'shop/tried', action: 'DENY', dryRun: true, matched: 0 },
    ],
  })
  assert.deepEqual(lines, [
    'at shop/a-1, shop/a-2, shop/a-3 and 2 more port 8080: allowed: nothing denies it',
    '  a token is looked for at cookie session, of https://i: without one it goes on',
    '  1 token is taken for good: NO SIGNATURE IS VERIFIED here',
    '  opa is asked first, for shop/ask[0]: taken to agree',
    '  shop/lost[0] asks gone, which there is not',
    '  DENY shop/no-admin does not match: rule 0 fails by to[0].operation.paths',
    '  ALLOW shop/none does not match: it has no rules',
    '  DENY shop/tried (dry run) matches by rule 0',
    '  noted for shop/watched[0]',
    '  in dry run: denied by shop/tried[0]',
  ])
})
