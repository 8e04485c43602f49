import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  effectiveMode,
  type GivenMode,
  isStrictSomewhere,
  type PeerAuthentication,
  peerModesOf,
  peersByNamespace,
} from './peer-authentication.ts'
import { modeOf, peerDecision } from './snapshot.ts'
import { ROOT_NAMESPACE, type World, world } from './world.fixture.ts'

const WEB = { namespace: 'shop', labels: { app: 'web', version: 'v1' } }
const web = (): World => world().pods('web-v1', { namespace: 'shop' })
const modes = (mesh: World, port = 80): string => modeOf(mesh.snapshot(), mesh.pod('web-v1-1', 'shop'), port)

test('without a policy plaintext is taken, and nobody said so', () => {
  const mesh = web()
  const decision = peerDecision(mesh.snapshot(), mesh.pod('web-v1-1', 'shop'), 80)
  assert.deepEqual(decision, { mode: 'PERMISSIVE', by: null })
})

test('a workload’s own policy counts before its namespace’s, that before the mesh’s', () => {
  const mesh = web().peerAuthentication({ namespace: ROOT_NAMESPACE, mode: 'STRICT' })
  assert.equal(modes(mesh), 'STRICT')
  mesh.peerAuthentication({ namespace: 'shop', mode: 'DISABLE' })
  assert.equal(modes(mesh), 'DISABLE')
  mesh.peerAuthentication({ namespace: 'shop', selector: { app: 'web' }, mode: 'PERMISSIVE', name: 'own' })
  const decision = peerDecision(mesh.snapshot(), mesh.pod('web-v1-1', 'shop'), 80)
  assert.deepEqual([decision.mode, decision.by?.name], ['PERMISSIVE', 'own'])
})

test('a policy that says nothing leaves it to the next level, and keeps its place before younger ones', () => {
  const mesh = web()
    .peerAuthentication({ namespace: ROOT_NAMESPACE, mode: 'STRICT' })
    .peerAuthentication({ namespace: 'shop' })
    .peerAuthentication({ namespace: 'shop', mode: 'DISABLE' }) // younger than the one before
    .peerAuthentication({ namespace: 'shop', selector: { app: 'web' }, ports: { 80: 'UNSET', 81: 'DISABLE' } })
  assert.deepEqual([modes(mesh, 80), modes(mesh, 81), modes(mesh, 82)], ['STRICT', 'DISABLE', 'STRICT'])
})

test('of two that select a workload the oldest counts, with its ports; a tie is the first by name', () => {
  const own = { namespace: 'shop', selector: { app: 'web' } }
  const mesh = web()
    .peerAuthentication({ ...own, name: 'young', mode: 'DISABLE', ports: { 81: 'DISABLE' }, createdMs: 2 })
    .peerAuthentication({ ...own, name: 'old', mode: 'STRICT', createdMs: 1 })
  assert.deepEqual([modes(mesh, 80), modes(mesh, 81)], ['STRICT', 'STRICT'])
  mesh.peerAuthentication({ ...own, name: 'also-old', mode: 'PERMISSIVE', createdMs: 1 })
  assert.equal(modes(mesh), 'PERMISSIVE')
})

test('a selector is for workloads of its own namespace that carry all of its labels', () => {
  const others: [namespace: string, selector: Record<string, string>][] = [
    ['other', { app: 'web' }],
    [ROOT_NAMESPACE, { app: 'web' }],
    ['shop', { app: 'web', version: 'v2' }],
    ['shop', { tier: 'front' }],
  ]
  for (const [namespace, selector] of others) {
    assert.equal(modes(web().peerAuthentication({ namespace, selector, mode: 'STRICT' })), 'PERMISSIVE')
  }
  const both = { app: 'web', version: 'v1' }
  assert.equal(modes(web().peerAuthentication({ namespace: 'shop', selector: both, mode: 'STRICT' })), 'STRICT')
})

test('in the root namespace a policy for all is the mesh’s, and a workload there may have its own', () => {
  const mesh = world()
    .pods('gate-v1', { namespace: ROOT_NAMESPACE })
    .peerAuthentication({ namespace: ROOT_NAMESPACE, mode: 'STRICT' })
  const mode = (): string => modeOf(mesh.snapshot(), mesh.pod('gate-v1-1', ROOT_NAMESPACE), 80)
  assert.equal(mode(), 'STRICT')
  mesh.peerAuthentication({ namespace: ROOT_NAMESPACE, selector: { app: 'gate' }, mode: 'DISABLE' })
  assert.equal(mode(), 'DISABLE')
})

test('one strict port is enough to be strict somewhere', () => {
  const own = { namespace: 'shop', selector: { app: 'web' } }
  const isStrict = (mesh: World): boolean => {
    const byNamespace = peersByNamespace(mesh.inventory().peerAuthentications)
    return isStrictSomewhere(peerModesOf(WEB, { byNamespace, rootNamespace: ROOT_NAMESPACE }))
  }
  assert.equal(isStrict(web()), false)
  assert.equal(isStrict(web().peerAuthentication({ ...own, mode: 'DISABLE', ports: { 81: 'STRICT' } })), true)
  assert.equal(isStrict(web().peerAuthentication({ ...own, mode: 'STRICT', ports: { 81: 'DISABLE' } })), true)
})

test('whatever is said, the mode is that of the nearest level whose oldest object says one', () => {
  const given = fc.constantFrom<GivenMode[]>('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT')
  const wish = fc.record({
    namespace: fc.constantFrom(ROOT_NAMESPACE, 'shop', 'other'),
    isOwn: fc.boolean(),
    ...{ mode: given, port: given, createdMs: fc.nat(3) },
  })
  fc.assert(
    fc.property(fc.array(wish, { maxLength: 8 }), (wishes) => {
      const mesh = world()
      for (const { isOwn, port, ...more } of wishes) {
        mesh.peerAuthentication({ ...more, ...(isOwn ? { selector: { app: 'web' }, ports: { 81: port } } : {}) })
      }
      const { peerAuthentications } = mesh.inventory()
      const order = (one: PeerAuthentication, other: PeerAuthentication): number =>
        one.createdMs - other.createdMs || (one.ref.name < other.ref.name ? -1 : 1)
      const oldest = (namespace: string, isOwn: boolean): PeerAuthentication | undefined =>
        peerAuthentications
          .filter(({ ref, selector }) => ref.namespace === namespace && (selector !== null) === isOwn)
          .sort(order)[0]
      const own = oldest('shop', true)
      const levels = [own, oldest('shop', false), oldest(ROOT_NAMESPACE, false)]
      const expected = levels.map((one) => one?.mode ?? 'UNSET').find((mode) => mode !== 'UNSET') ?? 'PERMISSIVE'
      const port = own?.ports[0]?.mode ?? 'UNSET'
      const byNamespace = peersByNamespace(peerAuthentications)
      const found = peerModesOf(WEB, { byNamespace, rootNamespace: ROOT_NAMESPACE })
      assert.equal(effectiveMode(found, 80).mode, expected)
      assert.equal(effectiveMode(found, 81).mode, port === 'UNSET' ? expected : port)
    }),
  )
})
