import assert from 'node:assert/strict'
import { test } from 'node:test'
import { issuer } from '../identity/issuer.fixture.ts'
import { ToldApi, until } from '../kube/api.fixture.ts'
import { configMapsPath, Roots } from './published-roots.ts'

const PATH = configMapsPath('weft-system')
const [A, B] = [issuer(null).certificatePem, issuer(null).certificatePem]
let version = 10
const map = (pem: string | null) => ({
  metadata: { uid: 'u', name: 'weft-roots', namespace: 'weft-system', resourceVersion: String(++version) },
  ...(pem === null ? {} : { data: { 'roots.pem': pem } }),
})

test('roots are followed; what cannot be read, or is gone, leaves the last good ones', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  const [heard, warned]: [string[], string[]] = [[], []]
  const log = { warn: (fields: object) => void warned.push(JSON.stringify(fields)) }
  api.lists(PATH, '1')
  const roots = new Roots(client, 'weft-system', { change: (pem) => heard.push(pem), log })
  t.after(() => roots.stop())
  await roots.start()
  assert.deepEqual([roots.pem(), roots.trouble()], [null, null])
  assert.equal((await api.watched(PATH, 1))['fieldSelector'], 'metadata.name=weft-roots')
  api.send(PATH, 'ADDED', map(A))
  await until(() => heard.length === 1, 'the first')
  for (const [type, pem, why] of [
    ['MODIFIED', `${A}-----BEGIN CERTIFICATE-----`, /data\[\\?"roots\.pem\\?"\] holds what is no certificate/],
    ['MODIFIED', '', /holds no root/],
    ['MODIFIED', null, /holds no root/],
    ['DELETED', A, /weft-roots is gone/],
  ] as const) {
    const before = warned.length
    api.send(PATH, type, map(pem))
    await until(() => warned.length > before, 'a word')
    assert.match(warned.at(-1) ?? '', why)
    assert.match(roots.trouble() ?? '', why)
    assert.equal(roots.pem(), A)
  }
  api.send(PATH, 'ADDED', map(A))
  api.send(PATH, 'MODIFIED', map(B + A))
  await until(() => heard.length === 2, 'the next')
  assert.deepEqual([heard, roots.pem(), roots.trouble()], [[A, B + A], B + A, null])
})
