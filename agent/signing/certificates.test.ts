import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Denied } from '../identity/keep.ts'
import { issuer } from '../identity/issuer.fixture.ts'
import { status, ToldApi } from '../kube/api.fixture.ts'
import { KubeError } from '../kube/client.ts'
import { askForCertificate } from './certificates.ts'
import { REQUESTS_PATH, SIGNER_NAME } from './signing-request.ts'

const ONE = `${REQUESTS_PATH}/weft-one`
const PEM = issuer(null).certificatePem
const base64 = (text: string): string => Buffer.from(text).toString('base64')
const metadata = { name: 'weft-one', uid: 'u', resourceVersion: '1' }
const made = { status: 201, body: { metadata, spec: {} } }
const answer = (given: object) => ({ status: 200, body: { metadata, spec: {}, status: given } })
const condition = (type: string, reason: string, message: string) => ({
  conditions: [{ type, status: 'True', reason, message }],
})
const isDenied = (message: string) => (error: unknown) => error instanceof Denied && error.message === message

test('a request is made as the API wants it, and its certificate is what comes of it', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  api.answers.set(REQUESTS_PATH, made)
  const approved = condition('Approved', 'Granted', '')
  api.answers.set(ONE, [answer({}), answer(approved), answer({ ...approved, certificate: base64(PEM) })])
  assert.equal(await askForCertificate(client, 'request', { expirationSeconds: 600 }), PEM)
  const [{ method = '', body = '' } = {}, ...looks] = api.asks
  assert.equal(method, 'POST')
  assert.deepEqual(JSON.parse(body), {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { generateName: 'weft-' },
    spec: {
      request: base64('request'),
      signerName: SIGNER_NAME,
      usages: ['digital signature', 'client auth', 'server auth'],
      expirationSeconds: 600,
    },
  })
  assert.deepEqual(
    looks.map((ask) => `${ask.method} ${ask.path}`),
    Array.from({ length: 3 }, () => `GET ${ONE}`),
  )
})

test('a denial and a failed signature are told with their reason, and are no other failure', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  api.answers.set(REQUESTS_PATH, made)
  api.answers.set(ONE, [
    answer(condition('Denied', 'NotGranted', 'no pod runs so')),
    answer(condition('Failed', 'NotGranted', 'its pod is gone')),
  ])
  await assert.rejects(askForCertificate(client, 'request'), isDenied('NotGranted: no pod runs so'))
  await assert.rejects(askForCertificate(client, 'request'), isDenied('NotGranted: its pod is gone'))
  api.answers.set(REQUESTS_PATH, status(403, 'may not'))
  await assert.rejects(
    askForCertificate(client, 'request'),
    (error) => error instanceof KubeError && error.status === 403,
  )
})

test('an API that is away for a moment has not lost the request; one that does not know it any more has', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  api.answers.set(REQUESTS_PATH, made)
  api.answers.set(ONE, [status(500, 'away'), status(429, 'busy'), answer({ certificate: base64(PEM) })])
  assert.equal(await askForCertificate(client, 'request'), PEM)
  api.answers.set(ONE, status(404, 'gone'))
  await assert.rejects(askForCertificate(client, 'request'), /gone/)
})

test('the answer is waited for no longer than told, also by an API that says nothing', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  api.answers.set(REQUESTS_PATH, made)
  api.answers.set(ONE, answer({}))
  await assert.rejects(askForCertificate(client, 'request', { withinMs: 300 }), /weft-one was not signed within 300 ms/)
  api.stalls.set(ONE, '{')
  await assert.rejects(askForCertificate(client, 'request', { withinMs: 300 }), /weft-one was not signed within 300 ms/)
  api.stalls.set(REQUESTS_PATH, '')
  await assert.rejects(askForCertificate(client, 'request', { withinMs: 300 }), /the API took no request within 300 ms/)
})

test('whoever asks may call it off', async (t) => {
  const api = new ToldApi()
  const client = await api.start(t)
  api.answers.set(REQUESTS_PATH, made)
  api.stalls.set(ONE, '')
  const over = new AbortController()
  setTimeout(() => over.abort(new Error('the pod is gone')), 100)
  const begunMs = performance.now()
  await assert.rejects(askForCertificate(client, 'request', { signal: over.signal }), /the pod is gone/)
  await assert.rejects(askForCertificate(client, 'request', { signal: over.signal }), /the pod is gone/)
  assert.ok(performance.now() - begunMs < 2000)
})
