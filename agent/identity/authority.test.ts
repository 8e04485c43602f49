import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { type Authority as AnyAuthority, authority as anyAuthority } from '../../test/proxy/certificates.ts'
import { Authority, makeRoot } from './authority.ts'
import { fromPem, toPem } from './der.ts'

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
    assert.deepEqual(await greeted(callee, caller, from.rootsPem), ['cart', 'stock'], what)
  }
})

/** Whom the server and the client were shown. */
async function greeted(callee: Issued, caller: Issued, ca: string): Promise<string[]> {
  const name = (socket: TLSSocket): string => socket.getPeerX509Certificate()?.subjectAltName?.split('/').at(-1) ?? ''
  const mutual = { requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3', ca } as const
  const server = createServer({ ...mutual, cert: callee.certificatePem, key: callee.privateKeyPem })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>
  const own = { cert: caller.certificatePem, key: caller.privateKeyPem }
  const client = connect({ ...mutual, ...own, port, host: '127.0.0.1', checkServerIdentity: () => undefined })
  await once(client, 'secureConnect')
  const [there] = await accepted
  const seen = [name(there), name(client)]
  client.destroy()
  there.destroy()
  server.close()
  return seen
}

test('what cannot stand for a trust domain is refused, and said why', () => {
  const { certificatePem, privateKeyPem } = root
  const other = makeRoot({ trustDomain: 'elsewhere', days: 1, nowMs })
  const leaf = issue(open(certificatePem, privateKeyPem), 'cart')
  const over = makeRoot({ trustDomain: 'cluster.local', days: 1, nowMs: nowMs - 2 * DAY_MS })
  const middle = anyAuthority('middle', anyAuthority('top'))
  const broken = toPem('CERTIFICATE', (fromPem('CERTIFICATE', certificatePem)[0] as Buffer).subarray(1))
  assert.throws(() => open('', privateKeyPem), /no certificate/)
  assert.throws(() => open(certificatePem, other.privateKeyPem), /private key is not that/)
  assert.throws(() => open(certificatePem, 'words'), Error)
  assert.throws(() => open(leaf.certificatePem, leaf.privateKeyPem, certificatePem), /no authority’s/)
  assert.throws(() => open(over.certificatePem, over.privateKeyPem), /is over/)
  assert.throws(() => open(middle.certificatePem, keyOf(middle)), /nothing leads/)
  assert.throws(() => open(middle.certificatePem + certificatePem, keyOf(middle)), /nothing leads/)
  assert.throws(() => open(certificatePem + broken, privateKeyPem), Error)
  assert.throws(() => open(`${certificatePem}-----BEGIN CERTIFICATE-----`, privateKeyPem), /cannot be read/)
})
