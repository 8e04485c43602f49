import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Container, V1Pod } from '@kubernetes/client-node'
import fc from 'fast-check'
import { ConfigError, commandLine, environmentOf, expand, fieldOf } from './env.ts'

const pod: V1Pod = {
  metadata: { name: 'p', namespace: 'shop', uid: 'u', labels: { app: 'web' } },
  spec: { nodeName: 'node-1', containers: [] },
  status: { podIP: '10.244.1.2' },
}
const container = (fields: Partial<V1Container>): V1Container => ({ name: 'c', ...fields })
const find = (kind: string, name: string): Record<string, string> | undefined =>
  kind === 'ConfigMap' && name === 'settings' ? { greeting: 'hello', other: 'x' } : undefined

test('references are replaced by variables that come before, doubled dollars are literal', () => {
  assert.equal(expand('$(A)-$(B)-$$(A)-$A', { A: '1' }), '1-$(B)-$(A)-$A')
  fc.assert(
    fc.property(
      fc.string().filter((text) => !text.includes('$')),
      (text) => expand(text, { A: '1' }) === text,
    ),
  )
})

test('a variable of the prototype is no variable', () => {
  assert.equal(expand('$(constructor)', {}), '$(constructor)')
})

test('env wins over envFrom, envFrom over service links, and later variables see earlier ones', () => {
  const env = environmentOf(
    container({
      envFrom: [{ configMapRef: { name: 'settings' }, prefix: 'P_' }],
      env: [
        { name: 'P_other', value: 'mine' },
        { name: 'BOTH', value: '$(P_greeting) $(P_other)' },
        { name: 'ME', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      ],
    }),
    pod,
    { P_other: 'link', KEPT: 'link' },
    find,
  )
  assert.deepEqual(env, { KEPT: 'link', P_greeting: 'hello', P_other: 'mine', BOTH: 'hello mine', ME: '10.244.1.2' })
})

test('a missing object or key is an error unless it is optional', () => {
  const asks = (optional?: boolean): V1Container =>
    container({
      env: [
        { name: 'A', valueFrom: { configMapKeyRef: { name: 'settings', key: 'none', ...(optional && { optional }) } } },
      ],
    })
  assert.throws(() => environmentOf(asks(), pod, {}, find), ConfigError)
  assert.deepEqual(environmentOf(asks(true), pod, {}, find), {})
  assert.throws(
    () => environmentOf(container({ envFrom: [{ secretRef: { name: 'no' } }] }), pod, {}, find),
    /secret "no" not found/,
  )
})

test('fields of the pod by their path', () => {
  assert.equal(fieldOf(pod, "metadata.labels['app']"), 'web')
  assert.equal(fieldOf(pod, 'spec.nodeName'), 'node-1')
  assert.throws(() => fieldOf(pod, 'spec.containers'), ConfigError)
  assert.throws(() => fieldOf(pod, 'toString'), ConfigError)
})

test('command and args take the place of entrypoint and image arguments as Kubernetes has it', () => {
  const image = { command: ['entry'], args: ['default'] }
  assert.deepEqual(commandLine(container({}), image, {}), ['entry', 'default'])
  assert.deepEqual(commandLine(container({ args: ['a'] }), image, {}), ['entry', 'a'])
  assert.deepEqual(commandLine(container({ command: ['c'] }), image, {}), ['c'])
  assert.deepEqual(commandLine(container({ command: ['c'], args: ['$(X)'] }), null, { X: '1' }), ['c', '1'])
  assert.deepEqual(commandLine(container({}), null, {}), [])
})
