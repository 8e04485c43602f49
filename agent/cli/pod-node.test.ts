import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KubeError } from '../kube/client.ts'
import { nodeOf, podNamed } from './pod-node.ts'

test('a pod is named by its namespace and its name', () => {
  assert.deepEqual(podNamed('shop/web-1'), { namespace: 'shop', pod: 'web-1' })
  for (const text of ['', 'web', '/web', 'shop/', 'a/b/c']) assert.equal(podNamed(text), null, text)
})

test('the node of a pod is what Kubernetes says', async () => {
  const asked: string[] = []
  const ask = (answer: object | Error): Promise<string> => {
    const get = (path: string): Promise<object> => {
      asked.push(path)
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
    }
    return nodeOf({ get }, { namespace: 'shop', pod: 'a b' })
  }
  assert.equal(await ask({ spec: { nodeName: 'node-1' } }), 'node-1')
  assert.deepEqual(asked, ['/api/v1/namespaces/shop/pods/a%20b'])
  await assert.rejects(ask({ spec: {} }), /^Error: pod shop\/a b is on no node yet$/)
  await assert.rejects(ask(new KubeError(404, 'gone')), /^Error: there is no pod shop\/a b$/)
  await assert.rejects(ask(new KubeError(403, 'no')), KubeError)
})
