import assert from 'node:assert/strict'
import fc from 'fast-check'
import { test } from 'node:test'
import { readExposition } from './exposition.ts'

test('names, labels, escapes and figures are read', () => {
  const text = [
    '# HELP istio_requests_total requests',
    '# TYPE istio_requests_total counter',
    'istio_requests_total{reporter="source",response_code="200"} 12',
    'odd{path="C:\\\\a\\"b\\nc",} 1.5e3 1700000000000',
    'up 1',
    'le_inf{le="+Inf"} +Inf',
    '',
  ].join('\n')
  assert.deepEqual(readExposition(text), [
    { name: 'istio_requests_total', labels: { reporter: 'source', response_code: '200' }, value: 12 },
    { name: 'odd', labels: { path: 'C:\\a"b\nc' }, value: 1500 },
    { name: 'up', labels: {}, value: 1 },
    { name: 'le_inf', labels: { le: '+Inf' }, value: Infinity },
  ])
})

test('what is no sample is refused, not guessed', () => {
  for (const text of ['no value', 'x{a=b} 1', 'x{a="b} 1', 'x 1 2 3', 'x{} one', '<html>', 'x{a="b" "c"} 1']) {
    assert.throws(() => readExposition(text), /not /, text)
  }
})

test('any label value survives being written and read', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (value) => {
      fc.pre(!/[\r\u2028\u2029]/.test(value))
      const written = value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
      assert.equal(readExposition(`x{l="${written}"} 1`)[0]?.labels['l'], value)
    }),
  )
})
