import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ApiError } from '../status.ts'
import { readProtobuf } from './protobuf-read.ts'
import { field, message } from './protobuf-write.ts'

const MAGIC = Buffer.from('k8s\0')

function envelope(apiVersion: string, kind: string, raw: Buffer): Buffer {
  return Buffer.concat([MAGIC, field(1, message(field(1, apiVersion), field(2, kind))), field(2, raw)])
}

/** A number in a field: tag, then varint. */
function number(at: number, ...bytes: readonly number[]): Buffer {
  return Buffer.from([at << 3, ...bytes])
}

const NAMED = field(1, field(1, 'x'))

describe('protocol buffers', () => {
  test('become the JSON that the same object would have come as', () => {
    const entry = (key: string, value: string): Buffer => message(field(1, key), field(2, value))
    const body = envelope('v1', 'ConfigMap', message(NAMED, field(2, entry('a', '1')), field(2, entry('b', ''))))
    assert.deepEqual(readProtobuf(body), {
      ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x' }, data: { a: '1', b: '' } },
    })
    const secret = envelope('v1', 'Secret', message(NAMED, field(2, entry('a', 'text'))))
    assert.deepEqual(readProtobuf(secret)['data'], { a: Buffer.from('text').toString('base64') })
  })

  test('leave out what is zero and keep a zero that was meant', () => {
    const spec = message(number(1, 0), number(5, 0), number(7, 0))
    const deployment = envelope(
      'apps/v1',
      'Deployment',
      message(NAMED, field(2, spec), field(3, message(number(1, 0)))),
    )
    assert.deepEqual(readProtobuf(deployment), {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'x' }, spec: { replicas: 0 } },
    })
  })

  test('carry ports by number and by name, and negative numbers', () => {
    const named = message(number(1, 1), field(3, 'http'))
    const numbered = message(number(1, 0), number(2, 0x90, 0x3f))
    const minus = number(3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)
    const ports = [field(1, message(number(3, 80), field(4, named))), field(1, message(minus, field(4, numbered)))]
    const { spec } = readProtobuf(envelope('v1', 'Service', message(NAMED, field(2, message(...ports))))) as any
    assert.deepEqual(spec.ports, [
      { port: 80, targetPort: 'http' },
      { port: -1, targetPort: 8080 },
    ])
  })

  test('are refused for a kind or a field that the table does not have', () => {
    const code = (wanted: number) => (error: unknown) => error instanceof ApiError && error.code === wanted
    assert.throws(() => readProtobuf(envelope('v1', 'PersistentVolume', NAMED)), code(415))
    assert.throws(() => readProtobuf(envelope('v1', 'ConfigMap', message(NAMED, field(99, 'new')))), code(415))
    assert.throws(() => readProtobuf(Buffer.from('{"kind":"ConfigMap"}')), code(400))
    assert.throws(() => readProtobuf(envelope('v1', 'ConfigMap', Buffer.from([0x0a, 0x7f]))), code(400))
  })

  test('whatever the bytes, there is an object or a refusal', () => {
    const kind = fc.constantFrom(['v1', 'Pod'], ['v1', 'Service'], ['apps/v1', 'Deployment'], ['v1', 'Secret'])
    fc.assert(
      fc.property(kind, fc.uint8Array({ maxLength: 200 }), ([apiVersion = '', name = ''], bytes) => {
        try {
          assert.equal(readProtobuf(envelope(apiVersion, name, Buffer.from(bytes))).kind, name)
        } catch (error) {
          assert.ok(error instanceof ApiError, String(error))
        }
      }),
      { numRuns: 2000 },
    )
  })
})
