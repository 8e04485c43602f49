import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { certifies, materialOf, namesWanted, type OwnTls, ownTlsIn, serverNameOf } from './client-tls.ts'
import type { ClientTls } from './traffic-policy.ts'
import { world } from './world.fixture.ts'
import { clientTls } from './traffic-policy.fixture.ts'

const own = (wish: Partial<ClientTls> = {}, mode: OwnTls['mode'] = 'SIMPLE'): OwnTls => ({
  ...clientTls(mode, wish),
  mode,
})

test('whom a server is asked for is the rule’s sni, else the host, and never an address', () => {
  const host = 'ext.default.svc.cluster.local'
  assert.equal(serverNameOf(own(), host), host)
  assert.equal(serverNameOf(own({ sni: 'api.example' }), host), 'api.example')
  assert.equal(serverNameOf(own(), '10.0.0.1'), null)
  assert.equal(serverNameOf(own({ sni: 'fd00::1' }), host), null)
})

test('the certificate must name one of subjectAltNames, else whom the server was asked for', () => {
  assert.deepEqual(namesWanted(own(), 'a.example'), ['a.example'])
  assert.deepEqual(namesWanted(own({ sni: 'b.example' }), 'a.example'), ['b.example'])
  assert.deepEqual(namesWanted(own({ sni: 'b.example', subjectAltNames: ['c', 'd'] }), 'a.example'), ['c', 'd'])
  assert.equal(namesWanted(own({ subjectAltNames: ['c'], insecureSkipVerify: true }), 'a.example'), null)
})

test('a certificate is for its names, its addresses and its URIs, and for nothing that looks like them', () => {
  const shown = {
    uris: ['spiffe://td/ns/a/sa/b'],
    dnsNames: ['api.example.com', '*.Shop.example.com', '*.com', '*a.example.org', '10.0.0.9', 'x.*.example.com'],
    ips: ['10.0.0.1', 'FD00:0:0:0:0:0:0:1'],
  }
  const table: [wanted: string, is: boolean][] = [
    ['api.example.com', true],
    ['API.example.com.', true],
    ['example.com', false],
    ['web.shop.example.com', true],
    ['a.web.shop.example.com', false],
    ['shop.example.com', false],
    ['.shop.example.com', false],
    ['other.com', false],
    ['ba.example.org', false],
    ['x.y.example.com', false],
    ['spiffe://td/ns/a/sa/b', true],
    ['spiffe://td/ns/a/sa/B', false],
    ['10.0.0.1', true],
    ['10.0.0.9', false],
    ['fd00::1', true],
    ['::ffff:10.0.0.1', true],
    ['', false],
  ]
  for (const [wanted, is] of table) assert.equal(certifies(shown, [wanted]), is, wanted)
  assert.equal(certifies(shown, []), false)
  assert.equal(certifies(shown, ['nobody', 'api.example.com']), true)
})

test('a star stands for one label', () => {
  const label = fc.stringMatching(/^[a-z0-9]{1,8}$/)
  fc.assert(
    fc.property(fc.array(label, { minLength: 1, maxLength: 4 }), (labels) => {
      const shown = { uris: [], ips: [], dnsNames: ['*.shop.example'] }
      assert.equal(certifies(shown, [`${labels.join('.')}.shop.example`]), labels.length === 1)
    }),
  )
})

test('settings share certificates and roots where all that leads to them is the same, and only there', () => {
  const by = (namespace: string): Pick<ClientTls, 'by'> => {
    return { by: { object: { kind: 'DestinationRule', namespace, name: 'x' }, field: 'spec.trafficPolicy.tls' } }
  }
  const same = [
    own(),
    own({ sni: 'a' }),
    own({ subjectAltNames: ['a'] }),
    own({ clientCertificate: 'unused' }),
    own(by('b')),
  ]
  assert.equal(new Set(same.map(materialOf)).size, 1)
  const files = { clientCertificate: '/c', privateKey: '/k' }
  const others = [
    own(),
    own({ caCertificates: '/ca' }),
    own({ insecureSkipVerify: true }),
    own({ credentialName: 's', ...by('a') }),
    own({ credentialName: 's', ...by('b') }),
    own({ credentialName: 's', ...by('a') }, 'MUTUAL'),
    own(files, 'MUTUAL'),
    own({ ...files, privateKey: '/other' }, 'MUTUAL'),
  ]
  assert.equal(new Set(others.map(materialOf)).size, others.length)
})

test('TLS of its own is found at every level of a rule', () => {
  const inventory = world()
    .destinationRule({
      host: 'a',
      policy: {
        tls: clientTls('SIMPLE', { sni: 'top' }),
        ports: [{ port: 1, tls: clientTls('MUTUAL', { sni: 'port' }) }],
      },
      subsets: [
        { name: 'v1', policy: { tls: clientTls('ISTIO_MUTUAL', { sni: 'mesh' }) } },
        { name: 'v2', policy: { ports: [{ port: 2, tls: clientTls('SIMPLE', { sni: 'deep' }) }] } },
        { name: 'v3' },
      ],
    })
    .inventory()
  const found = inventory.destinationRules.flatMap(ownTlsIn)
  assert.deepEqual(
    found.map(({ sni }) => sni),
    ['top', 'port', 'deep'],
  )
})
