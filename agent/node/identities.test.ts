import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Authority, makeRoot } from '../identity/authority.ts'
import { HeldFolder } from '../identity/held.ts'
import { Denied } from '../identity/keep.ts'
import { readRequest } from '../identity/request.ts'
import { LocalIdentities } from './identities.ts'
import { DEFAULT_MESH_SETTINGS as MESH } from '../model/mesh-settings.ts'
import { world } from '../model/world.fixture.ts'
import type { Workload } from '../model/workload.ts'
import type { IdentityCredentials } from '../proxy/plane/identities.ts'

const DAY_MS = 86_400_000
const [one, other] = ['one', 'other'].map(() =>
  makeRoot({ trustDomain: 'cluster.local', days: 10, nowMs: Date.now() }),
) as [ReturnType<typeof makeRoot>, ReturnType<typeof makeRoot>]
const CART = 'spiffe://cluster.local/ns/shop/sa/cart'
const small = world().pods('cart', { namespace: 'shop', serviceAccount: 'cart' }).pods('aside', { joined: false })
const cart: Workload = small.pod('cart-1', 'shop')

function rig(t: TestContext) {
  const told: (IdentityCredentials | string)[] = []
  const path = mkdtempSync(join(tmpdir(), 'weft-identities-'))
  t.after(() => rmSync(path, { recursive: true }))
  const clock = { ms: Date.now() }
  const signer = { root: one, denies: null as string | null, silent: false, changes: 0 }
  const identities = new LocalIdentities({
    data: { identify: (credentials) => told.push(credentials), forget: (uri) => told.push(uri) },
    ask: (requestPem) => {
      if (signer.silent) return new Promise<string>(() => {})
      if (signer.denies !== null) return Promise.reject(new Denied(signer.denies))
      const { publicKeyDer, uris } = readRequest(requestPem)
      const { certificatePem: chainPem, privateKeyPem } = signer.root
      const authority = new Authority({ chainPem, privateKeyPem }, clock.ms)
      const life = { notBeforeMs: clock.ms, notAfterMs: clock.ms + DAY_MS }
      return Promise.resolve(authority.issue({ publicKeyDer, uri: uris[0] ?? '', ...life }))
    },
    folder: new HeldFolder(path),
    lingerMs: 1000,
    clock: { nowMs: () => clock.ms, after: () => () => undefined },
    random: () => 0.5,
    changed: () => signer.changes++,
    log: { warn: () => undefined },
  })
  return { identities, told, clock, signer }
}

const settled = (identities: LocalIdentities): Promise<boolean> => identities.settle(() => false)

test('the data side is told once a certificate and the roots are there, and only of pods that take part', async (t) => {
  const { identities, told, signer } = rig(t)
  identities.want([cart, small.pod('aside-1')], MESH)
  assert.match(identities.unsettled() ?? '', /roots of the mesh/)
  assert.match(identities.lackOf(cart) ?? '', /roots/)
  identities.believe(one.certificatePem)
  assert.ok(await settled(identities))
  assert.deepEqual(
    told.map((each) => (typeof each === 'string' ? each : [each.uri, each.rootsPem])),
    [[CART, one.certificatePem]],
  )
  assert.equal(identities.lackOf(cart), null)
  assert.ok(signer.changes > 0)
})

test('with other roots or another certificate the secret of the sessions is another', async (t) => {
  const { identities, told } = rig(t)
  identities.want([cart], MESH)
  identities.believe(one.certificatePem)
  await settled(identities)
  identities.believe(one.certificatePem) // no news
  identities.believe(one.certificatePem + other.certificatePem)
  const secrets = told.map((each) => (typeof each === 'string' ? '' : Buffer.from(each.ticketSecret).toString('hex')))
  assert.equal(secrets.length, 2)
  assert.equal(new Set(secrets).size, 2)
})

test('a text that holds no roots is not taken', async (t) => {
  const { identities, told } = rig(t)
  identities.want([cart], MESH)
  identities.believe(one.certificatePem)
  await settled(identities)
  identities.believe('-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n')
  assert.equal(told.length, 1)
  assert.equal(identities.lackOf(cart), null)
})

test('one that the signer denies is not waited for, but its pods are told why', async (t) => {
  const { identities, signer } = rig(t)
  signer.denies = 'no pod on node a runs as shop/cart'
  identities.believe(one.certificatePem)
  identities.want([cart], MESH)
  assert.ok(await settled(identities))
  assert.equal(identities.lackOf(cart), 'it has no certificate: no pod on node a runs as shop/cart')
})

test('one that nobody signs is not waited for for ever', async (t) => {
  const { identities, signer, clock } = rig(t)
  signer.silent = true
  identities.believe(one.certificatePem)
  identities.want([cart], MESH)
  assert.equal(identities.unsettled(), 'waiting for 1 of 1 certificates')
  clock.ms += 20_000
  assert.equal(identities.unsettled(), null)
  assert.equal(identities.lackOf(cart), 'its certificate is asked for')
})

test('a certificate that leads to no root any more is taken from the data side', async (t) => {
  const { identities, told } = rig(t)
  identities.believe(one.certificatePem)
  identities.want([cart], MESH)
  await settled(identities)
  identities.believe(other.certificatePem)
  assert.equal(told.at(-1), CART)
  assert.notEqual(identities.lackOf(cart), null)
})

test('the identity of the trust domain before is held until the new one is', async (t) => {
  const { identities, told, clock, signer } = rig(t)
  identities.believe(one.certificatePem)
  identities.want([cart], MESH)
  await settled(identities)
  signer.denies = 'no trust domain of ours'
  const moved = { ...MESH, trustDomain: 'mesh.example', trustDomainAliases: ['cluster.local'] }
  identities.want([cart], moved)
  clock.ms += 5000
  identities.want([cart], moved)
  assert.ok(!told.includes(CART))
})

test('an identity is kept for a while after its last pod, and then forgotten', async (t) => {
  const { identities, told, clock } = rig(t)
  identities.believe(one.certificatePem)
  identities.want([cart], MESH)
  await settled(identities)
  identities.want([], MESH)
  clock.ms += 500
  identities.want([], MESH)
  assert.equal(told.length, 1)
  clock.ms += 600
  identities.want([], MESH)
  assert.equal(told.at(-1), CART)
  assert.deepEqual(identities.standings(), [])
})

test('with another trust domain the same pods have other identities', async (t) => {
  const { identities, told } = rig(t)
  identities.believe(one.certificatePem)
  identities.want([cart], { ...MESH, trustDomain: 'mesh.example' })
  await settled(identities)
  assert.deepEqual(
    told.map((each) => (typeof each === 'string' ? each : each.uri)),
    ['spiffe://mesh.example/ns/shop/sa/cart'],
  )
})
