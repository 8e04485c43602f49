import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Authorizations } from '../model/explain/authorizations.ts'
import { world } from '../model/world.fixture.ts'
import { BadQuestion } from '../telemetry/admin.ts'
import type { PodStatus } from '../telemetry/status.ts'
import { Authorizing, type AuthorizingGround } from './authorizing.ts'
import { KnownSnapshot } from './known-snapshot.ts'

const mesh = world()
  .service('web')
  .pods('web', { behind: ['web'] })
const UID = mesh.pod('web-1').uid
const ASKED = { namespace: 'default', pod: 'web-1', port: null }

function authorizing(...standings: ReturnType<AuthorizingGround['standings']>): Authorizing {
  return new Authorizing({ snapshot: () => mesh.snapshot(), standings: () => standings, keySetOf: () => null })
}

test('whether a pod is captured is told with why it is not', () => {
  const unenforced = (...standings: Pick<PodStatus, 'uid' | 'state' | 'reason'>[]): string | null =>
    (JSON.parse(authorizing(...standings).answer(JSON.stringify(ASKED))) as Authorizations).unenforced
  assert.equal(unenforced({ uid: UID, state: 'captured', reason: null }), null)
  assert.equal(unenforced({ uid: UID, state: 'uncaptured', reason: 'hostNetwork' }), 'hostNetwork')
  assert.equal(unenforced({ uid: UID, state: 'pending', reason: null }), 'pending')
  assert.equal(
    unenforced({ uid: 'another', state: 'captured', reason: null }),
    'it has not joined the mesh (weft.dev/mesh)',
  )
})

test('what is no question here is refused in one sentence', () => {
  for (const [question, why] of [
    ['{', /^Error: the question is not JSON$/],
    ['null', /namespace, pod, port/],
    [JSON.stringify({ ...ASKED, port: 0 }), /namespace, pod, port/],
    [JSON.stringify({ ...ASKED, port: 65_536 }), /namespace, pod, port/],
    [JSON.stringify({ ...ASKED, pod: 7 }), /namespace, pod, port/],
    [JSON.stringify({ ...ASKED, pod: 'nobody' }), /^Error: this node knows no pod default\/nobody$/],
  ] as const) {
    assert.throws(
      () => authorizing().answer(question),
      (error: Error) => error instanceof BadQuestion && why.test(String(error)),
      question,
    )
  }
})

test('a snapshot is compiled anew where the inventory is another', () => {
  let version = 1
  const known = new KnownSnapshot(() => mesh.inventory(version))
  const first = known.now()
  assert.equal(known.now(), first)
  version = 2
  assert.equal(known.now().version, 2)
})
