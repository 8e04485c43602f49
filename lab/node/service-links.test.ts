import assert from 'node:assert/strict'
import { test } from 'node:test'
import { serviceLinks } from './service-links.ts'

test('a pod is told the services of its namespace and the API server, in the words of the kubelet', () => {
  const service = (namespace: string, name: string, clusterIP: string): object => ({
    metadata: { namespace, name },
    spec: { clusterIP, ports: [{ name: 'http-main', port: 80 }] },
  })
  const env = serviceLinks(
    [
      service('shop', 'my-web', '10.96.0.20'),
      service('other', 'hid', '10.96.0.21'),
      service('default', 'kubernetes', '10.96.0.1'),
      service('shop', 'bare', 'None'),
    ],
    'shop',
  )
  assert.equal(env['MY_WEB_SERVICE_HOST'], '10.96.0.20')
  assert.equal(env['MY_WEB_SERVICE_PORT_HTTP_MAIN'], '80')
  assert.equal(env['MY_WEB_PORT_80_TCP_ADDR'], '10.96.0.20')
  assert.equal(env['KUBERNETES_SERVICE_HOST'], '10.96.0.1')
  assert.ok(!Object.keys(env).some((name) => name.startsWith('HID') || name.startsWith('BARE')))
})
