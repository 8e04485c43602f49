// Certificates from end to end: agents' keepers ask through the Kubernetes API, a controller as users run it signs.
import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeRoot } from '../../agent/identity/authority.ts'
import { fromPem } from '../../agent/identity/der.ts'
import { issuer, newKey } from '../../agent/identity/issuer.fixture.ts'
import { Denied } from '../../agent/identity/keep.ts'
import { makeRequest } from '../../agent/identity/request.ts'
import { leadsTo, readRoots } from '../../agent/identity/roots.ts'
import { askForCertificate } from '../../agent/signing/certificates.ts'
import { until } from '../kube/replica.ts'
import { base64, idOf, Mesh, REQUESTS, requestOf, ROOTS, SECRET, text } from './mesh.ts'

const DAY_MS = 86_400_000
const root = (trustDomain = 'cluster.local') => makeRoot({ trustDomain, days: 30, nowMs: Date.now() })
const isDenied = (why: RegExp) => (error: unknown) => error instanceof Denied && why.test(error.message)
const asksFor = (account: string): string => makeRequest({ privateKey: newKey(), uri: idOf(account) })
const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256

void describe('certificates', { concurrency: 2 }, () => {
  test('a mesh makes its own root, tells of it, and certifies what runs on a node; a restart changes nothing', async (t) => {
    const mesh = await Mesh.start(t)
    const one = await mesh.controller('one')
    const { keeper, roots } = await mesh.node('one')
    keeper.want(new Set([idOf('cart')]))
    await until('a certificate', () => keeper.get(idOf('cart')) !== null)
    const held = keeper.get(idOf('cart'))!
    const secret = await mesh.ask('GET', SECRET)
    const rootPem = text(secret.data['tls.crt'])
    await until('the roots', () => roots.pem() !== null)
    assert.equal(roots.pem(), rootPem)
    assert.equal(leadsTo(held.certificatePem, readRoots(rootPem)), 'first')
    assert.equal(Math.round((held.notAfterMs - Date.now()) / 3_600_000), 24)
    assert.equal((new X509Certificate(rootPem).validToDate.getTime() - Date.now()) / DAY_MS > 3640, true)
    assert.equal((secret as unknown as { type: string }).type, 'kubernetes.io/tls')
    assert.equal(await one.metric('weft_certificates_signed_total'), 1)
    const ends = new X509Certificate(rootPem).validToDate.getTime() / 1000
    assert.equal(await one.metric('weft_authority_not_after_seconds'), ends)
    assert.equal((await mesh.standing(one)).authority?.inForce?.root, fingerprint(rootPem))

    const key = text(secret.data['tls.key'])
    const said = one.log + (await one.ask('/status')) + (await one.ask('/metrics'))
    for (const line of key.split('\n').slice(1, -2)) assert.ok(!said.includes(line) && !said.includes(base64(line)))
    await one.end('SIGTERM')
    const two = await mesh.controller('two')
    const certificatePem = await askForCertificate(await mesh.agent('one'), asksFor('cart'), { expirationSeconds: 600 })
    assert.equal(leadsTo(certificatePem, readRoots(rootPem)), 'first')
    const life = new X509Certificate(certificatePem).validToDate.getTime() - Date.now()
    assert.ok(life > 590_000 && life <= 600_000, `${life} ms`)
    assert.equal((await mesh.ask('GET', SECRET)).metadata.resourceVersion, secret.metadata.resourceVersion)
    assert.equal(await two.metric('weft_certificate_errors_total'), 0)
  })

  test('what may not be is denied with the reason', async (t) => {
    const mesh = await Mesh.start(t)
    const replica = await mesh.controller('one')
    await mesh.signs(replica)
    const agent = await mesh.agent('one')
    const cart = await mesh.client('cart', 'shop/cart')
    const denied = async (client: typeof agent, request: string, why: RegExp): Promise<void> =>
      assert.rejects(askForCertificate(client, request), isDenied(why))
    const begunMs = performance.now()
    await denied(agent, requestOf([idOf('cart'), idOf('stock')]), /^NotGranted: it names 2 URIs/)
    await denied(agent, requestOf([idOf('cart')], { isAuthority: true }), /authority’s certificate/)
    await denied(agent, requestOf(['spiffe://elsewhere/ns/shop/sa/cart']), /no identity of trust domain cluster.local/)
    await denied(cart, asksFor('stock'), /shop\/cart runs as cart/)
    await denied(await mesh.clientBy(null), asksFor('cart'), /kubernetes-admin is no agent/)
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' })
    await denied(agent, makeRequest({ privateKey, uri: idOf('cart') }), /^Unreadable: .*key is not of P-256/)
    assert.ok(performance.now() - begunMs < 8000, 'none of that is a matter of time')
    // claims are the API server's word: what a request says of itself is nothing
    const stolen = { 'authentication.kubernetes.io/node-name': ['two'] }
    const username = 'system:serviceaccount:weft-system:weft-agent'
    const spec = { request: base64(asksFor('stock')), signerName: 'weft.dev/workload', usages: ['client auth'] }
    const forged = await mesh.ask('POST', REQUESTS, {
      metadata: { name: 'forged' },
      spec: { ...spec, username, extra: stolen },
    })
    assert.equal(forged.code, 201)
    await until('denied', async () => ((await mesh.request('forged')).status?.conditions?.length ?? 0) > 0)
    assert.match((await mesh.request('forged')).status?.conditions?.[0]?.message ?? '', /kubernetes-admin is no agent/)
    const askedMs = performance.now()
    await denied(agent, asksFor('stock'), /no pod on node one runs as shop\/stock/)
    assert.ok(performance.now() - askedMs > 9500, 'a pod may become known')
    assert.equal(await replica.metric('weft_certificate_requests_denied_total'), 8)
    assert.equal(await replica.metric('weft_certificates_signed_total'), 0)
    const own = await askForCertificate(cart, asksFor('cart'))
    assert.equal(new X509Certificate(own).subjectAltName, `URI:${idOf('cart')}`)
  })

  test('a token that was stolen gives its own pod’s identity at most, and nothing once that pod has gone', async (t) => {
    const mesh = await Mesh.start(t)
    const replica = await mesh.controller('one')
    await mesh.signs(replica)
    const cart = await mesh.client('cart', 'shop/cart')
    // of a pod whose account may not ask: who has it cannot even ask
    await assert.rejects(
      askForCertificate(await mesh.client('stock', 'shop/stock'), asksFor('stock')),
      /403|forbidden/i,
    )
    for (const account of ['stock', 'late', 'default']) {
      await assert.rejects(askForCertificate(cart, asksFor(account)), isDenied(/shop\/cart runs as cart/), account)
    }
    // an agent's is good for its own node, wherever it is shown: accounts of another's, and such as nobody runs as, are not had
    const agent = await mesh.agent('two')
    const elsewhere = ['cart', 'late'].map((account) =>
      assert.rejects(askForCertificate(agent, asksFor(account)), isDenied(/no pod on node two runs as/), account),
    )
    await Promise.all(elsewhere)
    assert.equal(await replica.metric('weft_certificates_signed_total'), 0)
    await askForCertificate(cart, asksFor('cart'))
    for (const pod of ['shop/cart', 'weft-system/agent-two']) {
      const path = `/api/v1/namespaces/${pod.replace('/', '/pods/')}?gracePeriodSeconds=0`
      assert.equal((await mesh.ask('DELETE', path)).code, 200)
    }
    await assert.rejects(askForCertificate(cart, asksFor('cart')), /401|unauthorized/i)
    await assert.rejects(askForCertificate(agent, asksFor('stock')), /401|unauthorized/i)
    assert.equal(await replica.metric('weft_certificates_signed_total'), 1)
  })

  test('a pod that is not known yet is waited for; requests of other signers are nobody’s here', async (t) => {
    const mesh = await Mesh.start(t)
    const replica = await mesh.controller('one')
    await mesh.signs(replica)
    const spec = { request: base64(asksFor('cart')), signerName: 'example.com/other', usages: ['client auth'] }
    await mesh.ask('POST', REQUESTS, { metadata: { name: 'others' }, spec })
    const asked = askForCertificate(await mesh.agent('one'), asksFor('late'))
    await sleep(1000)
    await mesh.pod('shop/late', 'late', 'one')
    assert.equal(new X509Certificate(await asked).subjectAltName, `URI:${idOf('late')}`)
    assert.deepEqual((await mesh.request('others')).status ?? {}, {})
  })

  test('an authority beneath another is taken, and its certificates bring it along', async (t) => {
    const mesh = await Mesh.start(t)
    const top = issuer(null)
    const middle = issuer(top)
    const low = issuer(middle)
    const chain = low.certificatePem + middle.certificatePem
    await mesh.give({ certificatePem: chain, privateKeyPem: low.privateKeyPem, caPem: top.certificatePem })
    const replica = await mesh.controller('one', '--certificate-seconds', '3600')
    const certificatePem = await askForCertificate(await mesh.agent('one'), asksFor('cart'))
    assert.deepEqual(
      fromPem('CERTIFICATE', certificatePem).slice(1),
      [low, middle].map((each) => fromPem('CERTIFICATE', each.certificatePem)[0]),
    )
    assert.equal(await mesh.roots(), top.certificatePem)
    assert.equal(leadsTo(certificatePem, readRoots(top.certificatePem)), 'first')
    assert.ok(new X509Certificate(certificatePem).validToDate.getTime() - Date.now() <= 3_600_000)
    assert.equal((await mesh.standing(replica)).authority?.reason, null)
  })

  test('a root follows another without a certificate that a peer has no root for', async (t) => {
    const mesh = await Mesh.start(t)
    const [a, b] = [root(), root()]
    await mesh.give(a)
    const replica = await mesh.controller('one', '--root-settle-seconds', '3')
    const { keeper, held } = await mesh.node('one')
    keeper.want(new Set([idOf('cart')]))
    await until('a certificate', () => held.length === 1)
    await mesh.give(b)
    await until('b is told of', async () => (await mesh.roots()) === a.certificatePem + b.certificatePem)
    const toldMs = performance.now()
    assert.equal((await mesh.standing(replica)).authority?.settling?.root, fingerprint(b.certificatePem))
    const meanwhile = await askForCertificate(await mesh.agent('one'), asksFor('cart'))
    assert.equal(leadsTo(meanwhile, readRoots(a.certificatePem)), 'first')
    await until('b signs', async () => (await mesh.roots()) === b.certificatePem + a.certificatePem)
    assert.ok(performance.now() - toldMs > 2500, 'it has settled')
    await until('what is kept is renewed', () => held.length === 2)
    assert.equal(leadsTo(held[1]!.certificatePem, readRoots(b.certificatePem)), 'first')
    assert.equal((await mesh.ask('GET', ROOTS)).metadata.annotations?.['weft.dev/settling-root'], undefined)

    // an operator takes the old one out: it stays out, and the signing one does not
    const data = (roots: string) => ({ data: { 'roots.pem': roots } })
    await mesh.ask('PATCH', ROOTS, data(b.certificatePem))
    await sleep(1500)
    assert.equal(await mesh.roots(), b.certificatePem)
    const other = root('elsewhere').certificatePem
    await mesh.ask('PATCH', ROOTS, data(other))
    await until('it is back', async () => (await mesh.roots()) === b.certificatePem + other)
    // who sees the moment without it asks anew, and is given what everybody trusts all the same
    for (const { certificatePem } of held.slice(1)) {
      assert.equal(leadsTo(certificatePem, readRoots(b.certificatePem)), 'first')
    }

    // one that was told of beforehand need not settle, and no root at all means a new one
    const c = root()
    await mesh.ask('PATCH', ROOTS, data(b.certificatePem + c.certificatePem))
    await mesh.give(c)
    await until('c signs', async () => (await mesh.roots()) === c.certificatePem + b.certificatePem, 2500)
    await mesh.ask('DELETE', SECRET)
    await until('one is made', async () => readRoots(await mesh.roots()).length === 3)
    assert.ok((await mesh.roots()).startsWith(c.certificatePem))
    assert.equal((await mesh.ask('GET', SECRET)).code, 200)
  })

  test('a leader that is new lets a root settle that its predecessor told of', async (t) => {
    const mesh = await Mesh.start(t)
    const [a, b] = [root(), root()]
    await mesh.give(a)
    const one = await mesh.controller('one', '--root-settle-seconds', '60')
    await mesh.signs(one)
    await mesh.give(b)
    await until('b is told of', async () => (await mesh.roots()) === a.certificatePem + b.certificatePem)
    await one.end('SIGTERM')
    const two = await mesh.controller('two', '--root-settle-seconds', '3')
    await until('it settles', async () => {
      const { authority } = await mesh.standing(two).catch(() => ({ authority: null }))
      return authority?.settling?.root === fingerprint(b.certificatePem) && authority.inForce === null
    })
    await until('b signs', async () => (await mesh.roots()) === b.certificatePem + a.certificatePem)
    await mesh.signs(two)
  })

  test('what cannot be used is named, left as it is, and the last good one goes on', async (t) => {
    const mesh = await Mesh.start(t)
    const [a, b] = [root(), root()]
    await mesh.give({ ...a, privateKeyPem: b.privateKeyPem })
    const replica = await mesh.controller('one')
    const reason = async (): Promise<string> =>
      (await mesh.standing(replica).catch(() => null))?.authority?.reason ?? ''
    const wrongKey = 'Secret weft-root: data["tls.key"] is not the key of the authority’s certificate'
    await until('the reason', async () => (await reason()) === wrongKey)
    assert.equal((await mesh.standing(replica)).authority?.inForce, null)
    assert.equal(await mesh.roots(), '')
    await mesh.give(a)
    await mesh.signs(replica)
    assert.equal(await reason(), '')
    await mesh.give({ ...b, certificatePem: 'words' })
    await until('the reason', async () => (await reason()) === 'Secret weft-root: data["tls.crt"] holds no certificate')
    await mesh.ask('PATCH', ROOTS, { data: { 'roots.pem': '-----BEGIN CERTIFICATE-----' } })
    await until('the other', async () => (await reason()).startsWith('ConfigMap weft-roots: data["roots.pem"] holds'))
    const certificatePem = await askForCertificate(await mesh.agent('one'), asksFor('cart'))
    assert.equal(leadsTo(certificatePem, readRoots(a.certificatePem)), 'first')
    assert.equal(text((await mesh.ask('GET', SECRET)).data['tls.crt']), 'words')
    assert.equal(await mesh.roots(), '-----BEGIN CERTIFICATE-----')
    assert.match(replica.log, /"level":40.*data\[\\"tls\.crt\\"\] holds no certificate/)
    assert.doesNotMatch(replica.log, /PRIVATE KEY|BEGIN/)
  })

  test('what was approved is signed if it is good, and fails if it is not', async (t) => {
    const mesh = await Mesh.start(t)
    const agent = await mesh.agent('one')
    const spec = (account: string) => ({
      request: base64(asksFor(account)),
      signerName: 'weft.dev/workload',
      usages: ['client auth'],
    })
    for (const account of ['cart', 'stock']) {
      await agent.create(REQUESTS, { metadata: { name: account }, spec: spec(account) })
      const status = { conditions: [{ type: 'Approved', status: 'True', reason: 'ByHand', message: '' }] }
      assert.equal((await mesh.ask('PATCH', `${REQUESTS}/${account}/approval`, { status })).code, 200)
    }
    await mesh.controller('one')
    await until('signed', async () => Boolean((await mesh.request('cart')).status?.certificate))
    await until('failed', async () => (await mesh.request('stock')).status?.conditions?.length === 2)
    const { conditions, certificate } = (await mesh.request('stock')).status ?? {}
    assert.deepEqual([conditions?.map(({ type }) => type).sort(), certificate], [['Approved', 'Failed'], undefined])
    assert.match(conditions?.find(({ type }) => type === 'Failed')?.message ?? '', /no pod on node one runs as/)
  })

  test('hundreds of requests are answered, each once', async (t) => {
    const mesh = await Mesh.start(t)
    const agent = await mesh.agent('one')
    const all = Array.from({ length: 300 }, () => askForCertificate(agent, asksFor('cart')))
    const replica = await mesh.controller('one')
    const certificates = await Promise.all(all)
    assert.equal(new Set(certificates).size, 300)
    await until('none is left', async () => (await mesh.standing(replica)).pending === 0)
    // an answer that comes too late is taken for a failure, and found to be none
    const { signed, failures } = await mesh.standing(replica)
    assert.ok(signed <= 300 && signed + failures >= 300, `${signed} signed, ${failures} failures`)
  })
})
