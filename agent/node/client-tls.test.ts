import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { authority, issue } from '../../test/proxy/certificates.ts'
import { ClientTlsMaterials } from './client-tls.ts'
import type { SecretListener } from '../kube/secret.ts'
import { materialOf } from '../model/client-tls.ts'
import type { ClientTls, DestinationRule } from '../model/traffic-policy.ts'
import { world } from '../model/world.fixture.ts'
import { clientTls } from '../model/traffic-policy.fixture.ts'
import type { ClientTlsMaterial } from '../proxy/plane/materials.ts'

const ROOT = authority('root').certificatePem
const OTHER_ROOT = authority('other').certificatePem
const [ONE, TWO] = [issue(authority('ca')), issue(authority('ca'))]

function rig(t: TestContext) {
  const outer = mkdtempSync(join(tmpdir(), 'weft-client-tls-'))
  t.after(() => rmSync(outer, { recursive: true }))
  const folder = join(outer, 'tls')
  mkdirSync(join(folder, 'default'), { recursive: true })
  const told: ClientTlsMaterial[] = []
  const gone: string[] = []
  /** Who listens to a Secret, by namespace and name. */
  const secrets = new Map<string, SecretListener>()
  const clock = { ms: 0 }
  let changes = 0
  const materials = new ClientTlsMaterials({
    data: { equip: (material) => told.push(material), unequip: (name) => gone.push(name) },
    folder,
    follow: ({ namespace, name }, on) => {
      const key = `${namespace}/${name}`
      secrets.set(key, on)
      return { stop: () => void secrets.delete(key) }
    },
    changed: () => changes++,
    nowMs: () => clock.ms,
  })
  t.after(() => materials.stop())
  return {
    ...{ materials, told, gone, secrets, clock, folder, outer },
    changes: () => changes,
    write: (name: string, text: string) => writeFileSync(join(folder, name), text),
    own: join(folder, 'default'),
    /** What was told last, less its name. */
    last: () => {
      const { name: _, ...rest } = told.at(-1) ?? { name: '' }
      return rest
    },
    rule: (tls: ClientTls, name = 'dr-1') => materials.take({ set: [ruleOf(tls, name)], gone: [] }, false),
    problems: () => materials.problems.map(({ object, field, reason }) => `${object.name} ${field}: ${reason}`),
  }
}

function ruleOf(tls: ClientTls, name: string): DestinationRule {
  const object = { ...tls.by.object, name }
  const wish = { host: 'ext', name, policy: { tls: { ...tls, by: { ...tls.by, object } } } }
  return world().destinationRule(wish).inventory().destinationRules[0]!
}

const given = (rootsPem: string) => ({ kind: 'given', rootsPem })
const FILES = { clientCertificate: 'c.pem', privateKey: 'k.pem', caCertificates: 'ca.pem' }
const AT = 'spec.trafficPolicy.tls'

test('only TLS of its own needs anything, and without roots of its own those of the run-time count', (t) => {
  const { told, rule, last, secrets, problems } = rig(t)
  for (const mode of ['DISABLE', 'ISTIO_MUTUAL'] as const) rule(clientTls(mode))
  assert.deepEqual(told, [])
  rule(clientTls('SIMPLE'))
  assert.deepEqual(last(), { certificatePem: null, privateKeyPem: null, trust: { kind: 'public' } })
  rule(clientTls('SIMPLE', { insecureSkipVerify: true, caCertificates: 'none.pem' }))
  assert.deepEqual(last(), { certificatePem: null, privateKeyPem: null, trust: { kind: 'anyone' } })
  assert.deepEqual([told.length, secrets.size, problems()], [2, 0, []])
})

test('files are read in the folder, by path or place, and told again once they are others', (t) => {
  const { materials, told, rule, last, write, folder, problems } = rig(t)
  write('default/c.pem', ONE.certificatePem)
  write('default/k.pem', ONE.privateKeyPem)
  write('ca.pem', ROOT)
  const tls = clientTls('MUTUAL', { ...FILES, caCertificates: join(folder, 'ca.pem') })
  rule(tls)
  assert.deepEqual(last(), { ...ONE, trust: given(ROOT) })
  materials.look()
  rule(tls, 'another of the same')
  assert.equal(told.length, 1)
  write('ca.pem', OTHER_ROOT + ROOT)
  materials.look()
  assert.deepEqual([told.length, last()], [2, { ...ONE, trust: given(OTHER_ROOT + ROOT) }])
  assert.deepEqual(problems(), [])
})

test('a mounted Secret is changed by one link, and all of it is taken at once', (t) => {
  const { materials, rule, last, own } = rig(t)
  for (const [version, { certificatePem, privateKeyPem }] of [ONE, TWO].entries()) {
    mkdirSync(join(own, `v${version}`))
    writeFileSync(join(own, `v${version}`, 'tls.crt'), certificatePem)
    writeFileSync(join(own, `v${version}`, 'tls.key'), privateKeyPem)
  }
  symlinkSync('v0', join(own, 'data'))
  rule(clientTls('MUTUAL', { clientCertificate: 'data/tls.crt', privateKey: 'data/tls.key', insecureSkipVerify: true }))
  assert.deepEqual(last(), { ...ONE, trust: { kind: 'anyone' } })
  symlinkSync('v1', join(own, 'data.new'))
  renameSync(join(own, 'data.new'), join(own, 'data'))
  materials.look()
  assert.deepEqual(last(), { ...TWO, trust: { kind: 'anyone' } })
})

test('a certificate and its key are those of the rule’s namespace alone', (t) => {
  const { rule, last, write, folder, own, problems } = rig(t)
  mkdirSync(join(folder, 'other'))
  write('other/c.pem', ONE.certificatePem)
  write('other/k.pem', ONE.privateKeyPem)
  for (const place of ['../other/', join(folder, 'other/')]) {
    const files = { clientCertificate: `${place}/c.pem`, privateKey: `${place}/k.pem`, insecureSkipVerify: true }
    rule(clientTls('MUTUAL', files))
    const reason = `is not in ${own} (--client-tls-root)`
    assert.deepEqual(problems(), [`dr-1 ${AT}.clientCertificate: ${reason}`])
    assert.deepEqual(last(), { failure: `clientCertificate ${JSON.stringify(files.clientCertificate)}: ${reason}` })
  }
})

test('a file that is outside of the folder, absent or none is told by its field, and nothing is done instead', (t) => {
  const { materials, rule, last, write, folder, outer, problems, changes } = rig(t)
  writeFileSync(join(outer, 'ca.pem'), ROOT)
  for (const path of [join(outer, 'ca.pem'), '../ca.pem', '/etc/passwd', folder, `${folder}-aside/ca.pem`, '.']) {
    rule(clientTls('SIMPLE', { caCertificates: path }))
    const reason = `is not in ${folder} (--client-tls-root)`
    assert.deepEqual(problems(), [`dr-1 ${AT}.caCertificates: ${reason}`], path)
    assert.deepEqual(last(), { failure: `caCertificates ${JSON.stringify(path)}: ${reason}` })
  }
  rule(clientTls('SIMPLE', { caCertificates: 'later.pem' }))
  assert.deepEqual(problems(), [`dr-1 ${AT}.caCertificates: cannot be read: ENOENT`])
  const before = changes()
  materials.look()
  assert.equal(changes(), before)
  write('later.pem', ROOT)
  materials.look()
  assert.deepEqual([problems(), last()], [[], { certificatePem: null, privateKeyPem: null, trust: given(ROOT) }])
  assert.equal(changes(), before + 1)
  rmSync(join(folder, 'later.pem'))
  materials.look()
  assert.deepEqual(last(), { failure: 'caCertificates "later.pem": cannot be read: ENOENT' })
  mkdirSync(join(folder, 'later.pem'))
  materials.look()
  assert.deepEqual(problems(), [`dr-1 ${AT}.caCertificates: is no file`])
})

test('what cannot be used is told, and the last that could stays; secrets are in no sentence', (t) => {
  const { materials, told, rule, last, write, problems } = rig(t)
  write('default/c.pem', ONE.certificatePem)
  write('default/k.pem', TWO.privateKeyPem)
  write('ca.pem', ROOT)
  rule(clientTls('MUTUAL', FILES))
  const reason = 'cannot be used: the private key is not the certificate’s'
  assert.deepEqual(last(), { failure: `clientCertificate "c.pem": ${reason}` })
  assert.deepEqual(problems(), [`dr-1 ${AT}.clientCertificate: ${reason}`])
  write('default/k.pem', ONE.privateKeyPem)
  materials.look()
  assert.deepEqual([last(), problems()], [{ ...ONE, trust: given(ROOT) }, []])
  const sound = told.length
  write('ca.pem', 'words')
  materials.look()
  assert.match(problems()[0] ?? '', /caCertificates: cannot be used: /)
  write('default/k.pem', `-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n`)
  materials.look()
  assert.match(problems()[0] ?? '', /clientCertificate: cannot be used: /)
  assert.ok(!problems().join().includes('c2VjcmV0'))
  assert.equal(told.length, sound)
  write('default/k.pem', ONE.privateKeyPem)
  write('ca.pem', ROOT)
  materials.look()
  assert.deepEqual([problems(), told.length], [[], sound])
})

test('a Secret of the rule’s namespace is followed while a rule names it, by either set of keys', (t) => {
  const { materials, rule, last, secrets, problems, clock, gone } = rig(t)
  const tls = clientTls('MUTUAL', { credentialName: 'web' })
  rule(tls)
  assert.deepEqual([...secrets.keys()], ['default/web', 'default/web-cacert'])
  assert.deepEqual(problems(), [], 'it is about to be read')
  assert.deepEqual(last(), { failure: 'credentialName "web": Secret default/web has not been read yet' })
  const own = { 'tls.crt': ONE.certificatePem, 'tls.key': ONE.privateKeyPem }
  const apart = secrets.get('default/web-cacert')
  secrets.get('default/web')?.read({ ...own, 'ca.crt': ROOT })
  assert.match(JSON.stringify(last()), /web-cacert has not been read yet|BEGIN/)
  apart?.read(null)
  assert.deepEqual(last(), { ...ONE, trust: given(ROOT) })
  secrets.get('default/web')?.read({ cert: TWO.certificatePem, key: TWO.privateKeyPem, cacert: OTHER_ROOT })
  assert.deepEqual(last(), { ...TWO, trust: given(OTHER_ROOT) })
  apart?.read({ 'ca.crt': ROOT })
  assert.deepEqual(last(), { ...TWO, trust: given(ROOT) }, 'roots that are kept apart go first')
  materials.take({ set: [], gone: ['default/dr-1'] }, false)
  assert.equal(secrets.size, 2, 'workers may still go by the snapshot before')
  clock.ms += 31_000
  materials.look()
  assert.deepEqual([secrets.size, gone], [0, [materialOf({ ...tls, mode: 'MUTUAL' })]])
})

test('a Secret that is gone, lacks a key or may not be read is told; one that was read once stays', (t) => {
  const { rule, last, secrets, problems } = rig(t)
  rule(clientTls('MUTUAL', { credentialName: 'web' }))
  const [web, apart] = [secrets.get('default/web')!, secrets.get('default/web-cacert')!]
  const failing = (reason: string): void => {
    assert.deepEqual(last(), { failure: `credentialName "web": ${reason}` })
    assert.deepEqual(problems(), [`dr-1 ${AT}.credentialName: ${reason}`])
  }
  apart.read(null)
  web.lost('secrets "web" is forbidden')
  failing('Secret default/web cannot be read: secrets "web" is forbidden')
  web.read(null)
  failing('there is no Secret default/web')
  web.read({ 'tls.crt': ONE.certificatePem })
  failing('Secret default/web has no tls.key')
  web.read({ 'tls.crt': ONE.certificatePem, 'tls.key': ONE.privateKeyPem })
  failing('Secret default/web has no ca.crt')
  web.read({ 'tls.crt': ONE.certificatePem, 'tls.key': ONE.privateKeyPem, 'ca.crt': ROOT })
  assert.deepEqual([problems(), last()], [[], { ...ONE, trust: given(ROOT) }])
  web.lost('the API server is away')
  assert.deepEqual([problems(), last()], [[], { ...ONE, trust: given(ROOT) }])
})

test('there is a bound, and who is beyond it is told', (t) => {
  const { materials, told, problems, clock } = rig(t)
  const rules = Array.from({ length: 257 }, (_, at) =>
    ruleOf(clientTls('SIMPLE', { caCertificates: `${at}` }), `dr-${at}`),
  )
  materials.take({ set: rules, gone: [] }, true)
  assert.equal(told.length, 256)
  assert.deepEqual(problems().slice(256), [`dr-256 ${AT}.mode: there are more than 256 such settings`])
  materials.take({ set: rules.slice(200), gone: [] }, true) // all there are
  clock.ms += 31_000
  materials.look()
  assert.equal(told.length, 257)
  assert.ok(!problems().some((problem) => problem.includes('more than')))
})
