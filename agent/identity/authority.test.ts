import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { type Authority as AnyAuthority, authority as anyAuthority } from '../../test/proxy/certificates.ts'
import { Authority, type Given, makeRoot, Unfit } from './authority.ts'
import { fromPem, toPem } from './der.ts'
import { ofAuthority } from './extensions.ts'
import { type Issuer, issuer, newKey, NO_SIGNING, pathOf, pemOfKey, usages } from './issuer.fixture.ts'

const DAY_MS = 86_400_000
const nowMs = Date.now()
const root = makeRoot({ trustDomain: 'cluster.local', days: 3650, nowMs })
const open = (chainPem: string, privateKeyPem: string, rootsPem = '') =>
  new Authority({ chainPem, privateKeyPem, rootsPem }, nowMs)

const keyOf = ({ key }: AnyAuthority): string => key.export({ format: 'pem', type: 'pkcs8' }).toString()

interface Issued {
  readonly certificatePem: string
  readonly privateKeyPem: string
}

function issue(from: Authority, name: string, notAfterMs = nowMs + DAY_MS): Issued {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicKeyDer = publicKey.export({ format: 'der', type: 'spki' })
  const uri = `spiffe://cluster.local/ns/shop/sa/${name}`
  const certificatePem = from.issue({ publicKeyDer, uri, notBeforeMs: nowMs - 60_000, notAfterMs })
  return { certificatePem, privateKeyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() }
}

test('a root signs itself and is an authority', () => {
  const own = new X509Certificate(root.certificatePem)
  assert.ok(own.ca && own.checkIssued(own) && own.verify(own.publicKey))
  assert.match(own.subject, /^O=cluster\.local\nCN=weft root [0-9a-f]{8}$/)
  assert.equal(own.validToDate.getTime(), Math.floor((nowMs + 3650 * DAY_MS) / 1000) * 1000)
})

test('a certificate names one identity, is no authority’s, and ends when it is told to', () => {
  const own = new X509Certificate(issue(open(root.certificatePem, root.privateKeyPem), 'cart').certificatePem)
  const issuer = new X509Certificate(root.certificatePem)
  assert.ok(own.checkIssued(issuer) && own.verify(issuer.publicKey))
  assert.equal(own.subjectAltName, 'URI:spiffe://cluster.local/ns/shop/sa/cart')
  assert.equal(own.subject ?? '', '')
  assert.equal(own.ca, false)
  assert.deepEqual(own.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
  assert.match(own.serialNumber, /^[4-7][0-9A-F]{31}$/)
  assert.equal(own.validToDate.getTime(), Math.floor((nowMs + DAY_MS) / 1000) * 1000)
})

test('times beyond 2049 are written in full', () => {
  const own = new X509Certificate(makeRoot({ trustDomain: 'cluster.local', days: 36_500, nowMs }).certificatePem)
  assert.equal(own.validToDate.getTime(), Math.floor((nowMs + 36_500 * DAY_MS) / 1000) * 1000)
})

test('no certificate outlives its authority', () => {
  const brief = makeRoot({ trustDomain: 'cluster.local', days: 0.5, nowMs })
  const own = new X509Certificate(issue(open(brief.certificatePem, brief.privateKeyPem), 'cart').certificatePem)
  assert.equal(own.validToDate.getTime(), new X509Certificate(brief.certificatePem).validToDate.getTime())
})

test('whoever was issued certificates speaks TLS with each other, also by an intermediate authority', async () => {
  const top = anyAuthority('top')
  const middle = anyAuthority('middle', top)
  const chain = middle.certificatePem
  const ways = {
    'a root of its own': open(root.certificatePem, root.privateKeyPem),
    'an intermediate, its root beside it': open(chain, keyOf(middle), top.certificatePem),
    'an intermediate, its root behind it': open(chain + top.certificatePem, keyOf(middle)),
  }
  for (const [what, from] of Object.entries(ways)) {
    const [callee, caller] = [issue(from, 'stock'), issue(from, 'cart')]
    assert.deepEqual(await greeted(callee, caller, from.rootPem), ['cart', 'stock'], what)
  }
})

/** Whom the server and the client were shown. */
async function greeted(callee: Issued, caller: Issued, ca: string): Promise<string[]> {
  const name = (socket: TLSSocket): string => socket.getPeerX509Certificate()?.subjectAltName?.split('/').at(-1) ?? ''
  const mutual = { requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3', ca } as const
  const server = createServer({ ...mutual, cert: callee.certificatePem, key: callee.privateKeyPem })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const { port } = server.address() as AddressInfo
    const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>
    accepted.catch(() => undefined)
    const own = { cert: caller.certificatePem, key: caller.privateKeyPem }
    const client = connect({ ...mutual, ...own, port, host: '127.0.0.1', checkServerIdentity: () => undefined })
    await once(client, 'secureConnect')
    const [there] = await accepted
    const seen = [name(there), name(client)]
    client.destroy()
    there.destroy()
    return seen
  } finally {
    server.close()
  }
}

test('a root began an hour ago, for clocks that are slow, and has a name however long the trust domain is', () => {
  const own = new X509Certificate(makeRoot({ trustDomain: 't'.repeat(255), days: 1, nowMs }).certificatePem)
  assert.equal(own.validFromDate.getTime(), Math.floor((nowMs - 3_600_000) / 1000) * 1000)
  assert.match(own.subject, /^O=t{64}\n/)
})

test('nothing is issued that would end before it begins', () => {
  const from = open(root.certificatePem, root.privateKeyPem)
  assert.throws(() => issue(from, 'cart', nowMs - DAY_MS), /end before it begins/)
  assert.throws(() => issue(from, 'cart', NaN), /end before it begins/)
})

const top = issuer(null)
const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
const leaf = issue(open(root.certificatePem, root.privateKeyPem), 'cart')
const last = issuer(top, { extensions: [pathOf(0)] })
const [SERVER, CLIENT, ANY] = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2', '2.5.29.37.0']

/** An authority by its own key, and those above it. */
const madeOf = (own: Issuer, ...above: readonly Issuer[]): Given => ({
  chainPem: [own, ...above].map(({ certificatePem }) => certificatePem).join(''),
  privateKeyPem: own.privateKeyPem,
})

/** A chain so long, from its own certificate to its root. */
function chainOf(length: number): Given {
  const all = [top]
  while (all.length < length) all.unshift(issuer(all[0] as Issuer))
  return madeOf(...(all as [Issuer, ...Issuer[]]))
}

const FIT: Readonly<Record<string, Given>> = {
  'an RSA key': madeOf(issuer(top, { key: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey }), top),
  'P-384': madeOf(issuer(top, { key: generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey }), top),
  'no authority allowed beneath it': madeOf(last, top),
  'usages of both ends of TLS': madeOf(issuer(top, { extensions: [...ofAuthority(), usages(SERVER, CLIENT)] }), top),
  'seven above it': chainOf(8),
  'words around its certificate': { ...madeOf(top), chainPem: `subject=top\n${top.certificatePem}\n` },
}

for (const [what, given] of Object.entries(FIT)) {
  test(`an authority with ${what}`, async () => {
    const from = new Authority(given, nowMs)
    const [callee, caller] = [issue(from, 'stock'), issue(from, 'cart')]
    assert.deepEqual(await greeted(callee, caller, from.rootPem), ['cart', 'stock'])
  })
}

const middle = issuer(top)
const broken = toPem('CERTIFICATE', (fromPem('CERTIFICATE', top.certificatePem)[0] as Buffer).subarray(1))
const ed25519 = pemOfKey(generateKeyPairSync('ed25519').privateKey)
const weakRoot = issuer(null, { extensions: [pathOf(0)] })

const UNFIT: Readonly<Record<string, readonly [Given, keyof Given, RegExp]>> = {
  'no certificate': [{ ...madeOf(top), chainPem: '' }, 'chainPem', /no certificate/],
  'what is no certificate': [
    { ...madeOf(top), chainPem: top.certificatePem + broken },
    'chainPem',
    /certificate 2 cannot be read/,
  ],
  'half a certificate': [
    { ...madeOf(top), chainPem: `${top.certificatePem}-----BEGIN CERTIFICATE-----` },
    'chainPem',
    /no certificate/,
  ],
  'no key': [{ ...madeOf(top), privateKeyPem: 'words' }, 'privateKeyPem', /cannot be read/],
  'another’s key': [{ ...madeOf(top), privateKeyPem: middle.privateKeyPem }, 'privateKeyPem', /not the key of/],
  'a key of another kind': [{ ...madeOf(top), privateKeyPem: ed25519 }, 'privateKeyPem', /ed25519, not EC or RSA/],
  'the certificates the wrong way round': [
    { ...madeOf(top, middle), privateKeyPem: middle.privateKeyPem },
    'chainPem',
    /not the last/,
  ],
  'a workload’s certificate': [
    { chainPem: leaf.certificatePem + root.certificatePem, privateKeyPem: leaf.privateKeyPem },
    'chainPem',
    /may not issue/,
  ],
  'a key usage without signing': [
    madeOf(issuer(top, { extensions: [pathOf(3), NO_SIGNING] }), top),
    'chainPem',
    /not issued by|may not issue/,
  ],
  'usages of servers alone': [
    madeOf(issuer(top, { extensions: [...ofAuthority(), usages(SERVER)] }), top),
    'chainPem',
    /not for both ends/,
  ],
  'any usage, which OpenSSL does not take for both': [
    madeOf(issuer(top, { extensions: [...ofAuthority(), usages(ANY)] }), top),
    'chainPem',
    /not for both ends/,
  ],
  'such usages above it': [
    madeOf(...beneath(issuer(top, { extensions: [...ofAuthority(), usages(CLIENT)] })), top),
    'chainPem',
    /not for both ends/,
  ],
  'an end that has passed': [madeOf(issuer(top, { endMs: nowMs - 1000 }), top), 'chainPem', /is over since/],
  'a begin that is to come': [
    madeOf(issuer(top, { beginMs: nowMs + 3_600_000 }), top),
    'chainPem',
    /is not valid before/,
  ],
  'an authority where none is allowed': [madeOf(...beneath(last), top), 'chainPem', /allows 0 .* there are 1/],
  'a root that allows none beneath it': [
    { ...madeOf(issuer(weakRoot)), rootsPem: weakRoot.certificatePem },
    'chainPem',
    /allows 0/,
  ],
  'a short RSA key': [madeOf(issuer(top, { key: weak }), top), 'chainPem', /1024 bits, and 2048 is the least/],
  'nine certificates': [chainOf(9), 'chainPem', /9 certificates up to its root, and 8/],
  'no root': [madeOf(middle), 'chainPem', /nothing leads from/],
  'another root beside it': [{ ...madeOf(middle), rootsPem: root.certificatePem }, 'rootsPem', /nothing leads from/],
  'another root behind it': [
    { ...madeOf(middle), chainPem: middle.certificatePem + root.certificatePem },
    'chainPem',
    /was not issued by/,
  ],
  'roots that are none': [{ ...madeOf(middle), rootsPem: broken }, 'rootsPem', /cannot be read/],
}

function beneath(above: Issuer): [Issuer, Issuer] {
  return [issuer(above), above]
}

for (const [what, [given, part, why]] of Object.entries(UNFIT)) {
  test(`no authority with ${what}, and it is said why`, () => {
    assert.throws(
      () => new Authority(given, nowMs),
      (error: unknown) => error instanceof Unfit && error.part === part && why.test(error.message),
    )
  })
}

test('no key is in what is said of it', () => {
  const privateKeyPem = pemOfKey(newKey()).replace(/[A-Za-z]{20}/, 'x'.repeat(20))
  assert.throws(
    () => new Authority({ ...madeOf(top), privateKeyPem }, nowMs),
    (error: Error) => error.cause === undefined && !privateKeyPem.includes(error.message),
  )
})
