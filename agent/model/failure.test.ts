import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type FailureCode, FAILURES, failureOf, MeshError, STEPS } from './failure.ts'

const entries = Object.entries(FAILURES) as [FailureCode, (typeof FAILURES)[FailureCode]][]

test('every failure belongs to a step of the corridor and to somebody', () => {
  for (const [code, { step, blame }] of entries) {
    assert.match(code, /^[A-Z][A-Z_]+$/)
    assert.ok(STEPS.includes(step), code)
    assert.ok(['caller', 'policy', 'upstream', 'mesh', 'kernel'].includes(blame), code)
  }
  assert.equal(new Set(STEPS).size, STEPS.length)
})

test('a status is an HTTP error or none, and its class agrees with whose doing it was', () => {
  for (const [code, { status, blame }] of entries) {
    if (status === 0) continue
    assert.ok(status >= 400 && status <= 599, code)
    if (blame === 'upstream') assert.ok(status >= 500, code)
    if (status < 500) assert.ok(blame === 'caller' || blame === 'policy', code)
  }
})

test('only what fails before a byte of the request has left may be tried elsewhere', () => {
  const connect = STEPS.indexOf('connect')
  for (const [code, { retry, step }] of entries) if (retry) assert.ok(STEPS.indexOf(step) <= connect, code)
  assert.ok(entries.some(([, { retry }]) => retry))
})

test('a response flag is one of Envoy’s, or none', () => {
  const flags = ['-', 'DC', 'DPE', 'DT', 'FI', 'NC', 'NR', 'SI', 'UAEX', 'UC', 'UF', 'UH', 'UO', 'UPE', 'UT']
  for (const [code, { flag }] of entries) assert.ok(flags.includes(flag), code)
})

test('whatever was thrown becomes a failure of the table, and what is not one is a bug of the mesh', () => {
  const known = new MeshError('NO_ENDPOINT', 'nobody there', new Error('deeper'))
  assert.equal(failureOf(known), known)
  assert.equal(known.kind.status, 503)
  assert.equal((known.cause as Error).message, 'deeper')
  const thrown = new TypeError('x is undefined')
  const bug = failureOf(thrown)
  assert.deepEqual([bug.code, bug.message, bug.cause], ['MESH_BUG', 'x is undefined', thrown])
  for (const odd of ['text', 7, null, undefined, { a: 1 }]) assert.equal(failureOf(odd).code, 'MESH_BUG')
})
