import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { test } from 'node:test'
import { Authority } from './authority.ts'
import { type Issuer, issuer, newKey } from './issuer.fixture.ts'
import { leadsTo, pemOf, readRoots, type Root, ROOTS_MOST, type Standing, succeed } from './roots.ts'

const nowMs = Date.now()
const HOUR_MS = 3_600_000
const [a, b, c] = [issuer(null), issuer(null), issuer(null)]
const over = issuer(null, { endMs: nowMs - 1000 })
const rootOf = ({ certificatePem }: Issuer): Root => readRoots(certificatePem)[0] as Root
const [A, B, C, OVER] = [rootOf(a), rootOf(b), rootOf(c), rootOf(over)]

function leafOf(own: Issuer, ...above: readonly Issuer[]): string {
  const chainPem = [own, ...above].map(({ certificatePem }) => certificatePem).join('')
  const publicKeyDer = createPublicKey(newKey()).export({ format: 'der', type: 'spki' })
  const times = { notBeforeMs: nowMs, notAfterMs: nowMs + HOUR_MS }
  const authority = new Authority({ chainPem, privateKeyPem: own.privateKeyPem }, nowMs)
  return authority.issue({ publicKeyDer, uri: 'spiffe://cluster.local/ns/shop/sa/cart', ...times })
}

test('roots are read each once, in their order', () => {
  assert.deepEqual(readRoots(pemOf([A, B, A])), [A, B])
  assert.deepEqual(readRoots(''), [])
  assert.equal(A.pem, a.certificatePem)
})

test('a text that holds anything else is refused', () => {
  assert.throws(() => readRoots(leafOf(a)), /no authority’s/)
  assert.throws(
    () => readRoots(`${A.pem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`),
    /certificate 2/,
  )
  assert.throws(() => readRoots(`${A.pem}${a.privateKeyPem}`), /what is no certificate/)
  assert.throws(() => readRoots(pemOf(Array.from({ length: 17 }, () => rootOf(issuer(null))))), /17 roots, and 16/)
  assert.throws(() => readRoots(A.pem.repeat(65)), /more than 64/)
})

test('a certificate leads to the root that it was issued under, over what it brings along', () => {
  const middle = issuer(a)
  const low = issuer(middle)
  assert.equal(leadsTo(leafOf(a), [A, B]), 'first')
  assert.equal(leadsTo(leafOf(low, middle, a), [A]), 'first')
  assert.equal(leadsTo(leafOf(low, middle, a), [B, A]), 'other')
  assert.equal(leadsTo(leafOf(a), [B, C]), 'none')
  assert.equal(leadsTo(leafOf(a), []), 'none')
  const [own = ''] = leafOf(low, middle, a).split(/(?<=-----END CERTIFICATE-----\n)/)
  assert.equal(leadsTo(own, [A]), 'none', 'not without those between')
  assert.equal(leadsTo(own + middle.certificatePem, [A]), 'none', 'nor with a gap')
  assert.throws(() => leadsTo('-----BEGIN CERTIFICATE-----', [A]))
})

const name = (root: Root): string =>
  ({ [A.fingerprint]: 'A', [B.fingerprint]: 'B', [C.fingerprint]: 'C' })[root.fingerprint] ?? '?'

function stepped(given: Partial<Standing> & { readonly wanted: Root }): string {
  const { roots, settling, signs } = succeed(
    { published: [], settling: null, inForce: null, settled: false, ...given },
    nowMs,
  )
  const waits =
    settling === null
      ? ''
      : ` ${roots
          .filter((each) => each.fingerprint === settling)
          .map(name)
          .join('')} settles`
  return `${roots.map(name).join('')}${waits}${signs ? ' signs' : ''}`
}

const STEPS: Readonly<Record<string, readonly [Partial<Standing> & { readonly wanted: Root }, string]>> = {
  'the first root of a mesh signs at once': [{ wanted: A }, 'A signs'],
  'one that is the first already': [{ published: [A, B], wanted: A }, 'AB signs'],
  'a new one is told of first, behind the one that signs': [{ published: [A], inForce: A, wanted: B }, 'AB B settles'],
  'it waits': [{ published: [A, B], settling: B.fingerprint, inForce: A, wanted: B }, 'AB B settles'],
  'it signs when all have heard of it, and the old one stays': [
    { published: [A, B], settling: B.fingerprint, inForce: A, wanted: B, settled: true },
    'BA signs',
  ],
  'a leader that is new waits too': [{ published: [A, B], settling: B.fingerprint, wanted: B }, 'AB B settles'],
  'and tells of one that is not told of': [{ published: [A], wanted: B }, 'AB B settles'],
  'one that was told of beforehand signs at once': [{ published: [A, B], inForce: A, wanted: B }, 'BA signs'],
  'another change of mind meanwhile': [
    { published: [A, B], settling: B.fingerprint, inForce: A, wanted: C },
    'ABC C settles',
  ],
  'and back': [{ published: [A, B], settling: B.fingerprint, inForce: A, wanted: A }, 'AB signs'],
  'the signing one comes back when it was removed': [{ published: [B], inForce: A, wanted: A }, 'AB signs'],
  'and goes first when it was moved': [{ published: [B, A], inForce: A, wanted: A }, 'AB signs'],
  'it comes back also while another is told of': [{ published: [C], inForce: A, wanted: B }, 'ACB B settles'],
  'the old one does not come back when it was removed': [{ published: [B], inForce: B, wanted: B }, 'B signs'],
  'roots that are over go': [{ published: [OVER, A, OVER], inForce: A, wanted: A }, 'A signs'],
  'also the one that signed': [{ published: [OVER, B], inForce: OVER, wanted: A }, 'BA A settles'],
  'and are nobody’s to wait for': [{ published: [OVER], wanted: A }, 'A signs'],
}

for (const [what, [given, step]] of Object.entries(STEPS)) {
  test(`succession: ${what}`, () => assert.equal(stepped(given), step))
}

test('there is an end to the roots that are told of', () => {
  const published = Array.from({ length: ROOTS_MOST }, () => rootOf(issuer(null)))
  assert.throws(() => stepped({ published, inForce: published[0], wanted: A }), /16 roots: there is no room/)
  assert.equal(stepped({ published, wanted: published[3] as Root }).length, ROOTS_MOST + ' signs'.length)
})
