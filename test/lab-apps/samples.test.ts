import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { running, type Json } from './running.ts'

test('helloworld says its version and its pod', async (t) => {
  const { url } = await running(t, 'docker.io/istio/examples-helloworld-v2', ['0'], { HOSTNAME: 'pod-9' })
  assert.equal(await (await fetch(`${url}/hello`)).text(), 'Hello version: v2, instance: pod-9\n')
  assert.equal((await fetch(`${url}/health`)).status, 200)
  assert.equal((await fetch(`${url}/other`)).status, 404)
})

test('tcp-echo answers every line on each of its ports with its prefix, and closes after its peer', async (t) => {
  const { ports } = await running(t, 'docker.io/istio/tcp-echo-server:1.3', ['0,0,0', 'two'])
  assert.equal(new Set(ports).size, 3)
  for (const port of ports) {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
    socket.write('one\nhal')
    socket.end('f')
    assert.equal(await text(socket), 'two one\ntwo half')
  }
})

test('httpbin tells what it was sent', async (t) => {
  const { url } = await running(t, 'docker.io/kong/httpbin')
  const body = new URLSearchParams({ a: '1' })
  const post = await fetch(`${url}/post?x=1&x=2`, { method: 'POST', body, headers: { 'x-note': 'n' } })
  const answer = (await post.json()) as Json
  assert.deepEqual(answer['args'], { x: ['1', '2'] })
  assert.deepEqual(answer['form'], { a: '1' })
  assert.equal(answer['headers']['X-Note'], 'n')
  assert.equal(answer['origin'], '127.0.0.1')
  assert.equal(answer['url'], `${url}/post?x=1&x=2`)
  const anything = await fetch(`${url}/anything/deep`, { method: 'DELETE', body: '{"b":[2]}' })
  assert.deepEqual(((await anything.json()) as Json).json, { b: [2] })
  assert.equal((await fetch(`${url}/post`)).status, 405)
  assert.equal((await fetch(`${url}/nothing`)).status, 404)
})

test('go-httpbin shows each value as a list', async (t) => {
  const { url } = await running(t, 'docker.io/mccutchen/go-httpbin:v2.15.0')
  const answer = (await (await fetch(`${url}/get?x=1`, { headers: { 'x-note': 'n' } })).json()) as Json
  assert.deepEqual(answer['args'], { x: ['1'] })
  assert.deepEqual(answer['headers']['X-Note'], ['n'])
})

test('httpbin answers with the status, size and pace that were asked for', async (t) => {
  const { url } = await running(t, 'kennethreitz/httpbin')
  for (const code of [200, 204, 304, 404, 503]) assert.equal((await fetch(`${url}/status/${code}`)).status, code)
  assert.equal((await fetch(`${url}/status/503:1,200:0`)).status, 503)
  assert.equal((await fetch(`${url}/status/99`)).status, 400)
  const bytes = await (await fetch(`${url}/bytes/1000?seed=4`)).arrayBuffer()
  const streamed = await (await fetch(`${url}/stream-bytes/1000?seed=4&chunk_size=7`)).arrayBuffer()
  assert.equal(bytes.byteLength, 1000)
  assert.deepEqual(streamed, bytes)
  assert.equal((await (await fetch(`${url}/stream/3`)).text()).trim().split('\n').length, 3)
  assert.equal(await (await fetch(`${url}/drip?numbytes=5&duration=0.1`)).text(), '*****')
  const started = performance.now()
  assert.equal((await fetch(`${url}/delay/0.3`)).status, 200)
  assert.ok(performance.now() - started >= 290)
})

test('httpbin redirects, sets cookies and answers with chosen headers', async (t) => {
  const { url } = await running(t, 'kennethreitz/httpbin')
  const followed = await fetch(`${url}/redirect/3`)
  assert.equal(followed.url, `${url}/get`)
  const set = await fetch(`${url}/cookies/set?a=b%0d%0ac`, { redirect: 'manual' })
  assert.deepEqual(set.headers.getSetCookie(), ['a=b%0D%0Ac; Path=/'])
  const cookies = await fetch(`${url}/cookies`, { headers: { cookie: 'a=1; b=2=3' } })
  assert.deepEqual(await cookies.json(), { cookies: { a: '1', b: '2=3' } })
  const chosen = await fetch(`${url}/response-headers?x-one=1&x-one=2`)
  assert.equal(chosen.headers.get('x-one'), '1, 2')
  assert.equal((await fetch(`${url}/response-headers?content-length=1`)).status, 400)
})

test('a request body beyond the limit is refused', async (t) => {
  const { url } = await running(t, 'kennethreitz/httpbin')
  const response = await fetch(`${url}/post`, { method: 'POST', body: Buffer.alloc(4 * 1024 * 1024 + 1) })
  assert.equal(response.status, 413)
})

test('SIGTERM lets a request in flight end, takes no new connection and exits with 0', async (t) => {
  const app = await running(t, 'kennethreitz/httpbin')
  const agent = new Agent({ keepAlive: true })
  t.after(() => agent.destroy())
  const answered = new Promise<number | undefined>((resolve, reject) => {
    get(`${app.url}/delay/0.5`, { agent }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode))
    }).on('error', reject)
  })
  await new Promise((resolve) => setTimeout(resolve, 200))
  const stopped = app.stop()
  await new Promise((resolve) => setTimeout(resolve, 100))
  const late = connect({ host: '127.0.0.1', port: app.ports[0]! })
  const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNREFUSED')
  assert.equal(await answered, 200)
  const ended = performance.now()
  assert.equal(await stopped, 0)
  assert.ok(performance.now() - ended < 2_000, 'a kept-alive connection must not hold the exit up')
})

test('a port that is taken ends the application with an error', async (t) => {
  const first = await running(t, 'istio/examples-helloworld-v1')
  await assert.rejects(running(t, 'istio/examples-helloworld-v1', [String(first.ports[0])]), /EADDRINUSE/)
})
