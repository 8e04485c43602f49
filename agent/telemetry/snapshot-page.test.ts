import assert from 'node:assert/strict'
import { test } from 'node:test'
import { world } from '../model/world.fixture.ts'
import { snapshotPage } from './snapshot-page.ts'

test('what decides is told, and no secret of it', () => {
  const inventory = world()
    .service('a')
    .settings({
      authorizers: [
        {
          ...{ name: 'asked', host: 'authz.shop.svc.cluster.local', port: 80, timeoutMs: 1, pathPrefix: '' },
          ...{ failOpen: false, statusOnError: 403, includeRequestHeadersInCheck: [], body: null },
          includeAdditionalHeadersInCheck: [['x-shared', 'sesame']],
          ...{ headersToUpstreamOnAllow: [], headersToDownstreamOnAllow: [], headersToDownstreamOnDeny: [] },
        },
      ],
    })
    .requestAuthentication({
      rules: [
        { issuer: 'i', keys: { kind: 'inline', jwks: '{"keys":[{"kty":"oct","k":"sesame"}]}' } },
        { issuer: 'j', keys: { kind: 'uri', uri: 'https://me:sesame@idp.example/keys' } },
        { issuer: 'https://k', keys: { kind: 'discovered', issuer: 'https://k' } },
      ],
    })
    .inventory(7)
  const page = snapshotPage(inventory, [])
  assert.doesNotMatch(page, /sesame/)
  const told = JSON.parse(page) as typeof inventory & { problems: unknown }
  assert.deepEqual([told.version, told.problems, told.services.length], [7, [], 1])
  assert.deepEqual(told.mesh.authorizers[0]?.includeAdditionalHeadersInCheck, [['x-shared', '…']])
  assert.deepEqual(
    told.requestAuthentications[0]?.rules.map(({ keys }) => keys),
    [
      { kind: 'inline', jwks: '…' },
      { kind: 'uri', uri: 'https://…@idp.example/keys' },
      { kind: 'discovered', issuer: 'https://k' },
    ],
  )
})
