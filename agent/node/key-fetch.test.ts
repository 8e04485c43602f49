import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { fetcher, type FetchOptions, isOfNode } from './key-fetch.ts'

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const OPTIONS = { bytesMost: 1000, asksNode: true, known: () => null }

test('a text is fetched, by way of three others at most, and of no more than so many bytes', async (t) => {
  const url = await serve(t, ({ url: path = '' }, response) => {
    const hops = /^\/hop(\d+)$/.exec(path)
    if (hops !== null)
      response.writeHead(302, { location: hops[1] === '1' ? '/end' : `hop${Number(hops[1]) - 1}` }).end()
    else if (path === '/loop') response.writeHead(301, { location: '/loop' }).end()
    else if (path === '/away') response.writeHead(307, { location: 'file:///etc/passwd' }).end()
    else if (path === '/none') response.writeHead(404).end('none')
    else if (path === '/huge') response.end('x'.repeat(1001))
    else if (path === '/early')
      response.writeHead(200, { 'content-length': '100' }).write('x', () => response.destroy())
    else response.end('text')
  })
  const fetch = fetcher(OPTIONS)
  assert.equal(await fetch(`${url}/end`, 5000), 'text')
  assert.equal(await fetch(`${url}/hop3`, 5000), 'text')
  const cases: [path: string, reason: RegExp][] = [
    ['/hop4', /sent elsewhere more than 3 times/],
    ['/loop', /sent elsewhere more than 3 times/],
    ['/away', /no http or https URL/],
    ['/none', /status 404/],
    ['/huge', /longer than 1000 bytes/],
    ['/early', /aborted|ends early/],
  ]
  for (const [path, reason] of cases) await assert.rejects(fetch(url + path, 5000), reason, path)
  await assert.rejects(fetch('no url', 5000), /no http or https URL/)
  await assert.rejects(fetch('ftp://127.0.0.1/', 5000), /no http or https URL/)
})

test('who does not answer, or not to the end, is not waited for any longer', async (t) => {
  const url = await serve(t, ({ url: path }, response) => {
    if (path === '/slow') setInterval(() => response.write('x'), 20).unref()
  })
  for (const path of ['/silent', '/slow']) {
    await assert.rejects(fetcher(OPTIONS)(url + path, 100), /no answer in 100 ms/)
  }
})

test('the node itself is not asked, neither by address nor by name nor by way of another', async (t) => {
  const url = await serve(t, (_, response) => response.end('text'))
  const { port } = new URL(url)
  const fetch = fetcher({ ...OPTIONS, asksNode: false })
  for (const host of ['127.0.0.1', '0x7f.1', '[::1]', '[::ffff:127.0.0.1]', 'localhost', '169.254.169.254']) {
    await assert.rejects(fetch(`http://${host}:${port}/`, 5000), /address of the node itself/, host)
  }
  const known = fetcher({ ...OPTIONS, asksNode: false, known: () => '127.0.0.1' })
  await assert.rejects(known(`http://idp.shop:${port}/`, 5000), /address of the node itself/)
  for (const ip of ['10.0.0.1', '192.0.2.1', '240.0.0.1', '2001:db8::1', 'fd00::1'])
    assert.equal(isOfNode(ip), false, ip)
})

test('a host that the mesh knows is dialled where the mesh has it', async (t) => {
  const url = await serve(t, ({ headers }, response) => response.end(headers.host))
  const { port } = new URL(url)
  const fetch = fetcher({ ...OPTIONS, known: (host) => (host === 'idp.shop.svc' ? '127.0.0.1' : null) })
  assert.equal(await fetch(`http://idp.shop.svc:${port}/`, 5000), `idp.shop.svc:${port}`)
  const resolve = ((host: string, _: unknown, answer: (error: Error | null, found?: unknown) => void) => {
    if (host === 'idp.dev') answer(null, [{ address: '127.0.0.1', family: 4 }])
    else answer(Object.assign(new Error(host), { code: host === 'idp.shop' ? 'ENOTFOUND' : 'EAI_AGAIN' }))
  }) as unknown as NonNullable<FetchOptions['resolve']>
  const asked: string[] = []
  const own = (host: string, isLost: boolean): string | null => {
    asked.push(`${host} ${isLost}`)
    return isLost ? '127.0.0.1' : null
  }
  const shortly = fetcher({ ...OPTIONS, known: own, resolve })
  for (const host of ['idp.dev', 'idp.shop']) {
    assert.equal(await shortly(`http://${host}:${port}/`, 5000), `${host}:${port}`)
  }
  await assert.rejects(shortly(`http://idp.late:${port}/`, 5000), /idp\.late/)
  assert.deepEqual(asked, ['idp.dev false', 'idp.shop false', 'idp.shop true', 'idp.late false'])
  await assert.rejects(fetch(`http://other.invalid:${port}/`, 5000), /other\.invalid/)
})

test('four fetches are under way at most, and one for all who want the same', async (t) => {
  const open: (() => void)[] = []
  let [asked, most] = [0, 0]
  const url = await serve(t, (_, response) => {
    asked++
    most = Math.max(
      most,
      open.push(() => response.end('text')),
    )
    setTimeout(() => open.shift()?.(), 20)
  })
  const fetch = fetcher(OPTIONS)
  const all = Array.from({ length: 20 }, (_, index) => fetch(`${url}/${index % 10}`, 5000))
  assert.deepEqual(new Set(await Promise.all(all)), new Set(['text']))
  assert.deepEqual([asked, most], [10, 4])
})
