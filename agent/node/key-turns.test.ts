import assert from 'node:assert/strict'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { fetcher, isOfNode } from './key-fetch.ts'

test('whoever failed before waits for those who have not, and never takes all turns', async (t) => {
  const open = new Map<string, ServerResponse>()
  let heard = (): void => {}
  const server = createServer(({ url = '' }, response) => {
    open.set(url, response)
    heard()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const fetch = fetcher({ bytesMost: 100, asksNode: true, known: () => null })
  const begin = (name: string, isRetry: boolean) => fetch(`http://127.0.0.1:${port}/${name}`, 5000, isRetry)
  const reaches = async (...names: string[]): Promise<void> => {
    while (open.size < names.length) await new Promise<void>((resolve) => (heard = resolve))
    await new Promise((resolve) => setTimeout(resolve, 20)) // whoever comes beside them would have come
    assert.deepEqual([...open.keys()].sort(), names.map((name) => `/${name}`).sort())
  }
  const end = (name: string): void => {
    open.get(`/${name}`)?.end(name)
    open.delete(`/${name}`)
  }

  const all = ['a', 'b', 'c', 'd', 'e'].map((name) => begin(name, true))
  await reaches('a', 'b', 'c')
  all.push(begin('new', false), begin('newer', false))
  await reaches('a', 'b', 'c', 'new')
  end('a')
  await reaches('b', 'c', 'new', 'newer')
  end('new')
  await reaches('b', 'c', 'newer')
  end('b')
  await reaches('c', 'newer', 'd')
  end('newer')
  end('c')
  await reaches('d', 'e')
  end('d')
  end('e')
  assert.deepEqual(await Promise.all(all), ['a', 'b', 'c', 'd', 'e', 'new', 'newer'])
})

test('where a cloud answers its own machines, nobody is asked', () => {
  for (const ip of ['169.254.169.254', 'fd00:ec2::254', '168.63.129.16', '100.100.100.200', '::ffff:169.254.169.254']) {
    assert.ok(isOfNode(ip), ip)
  }
  for (const ip of ['10.0.0.1', '100.100.100.201', 'fd00:ec3::254', '2001:db8::1']) assert.ok(!isOfNode(ip), ip)
})
