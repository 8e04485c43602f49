import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { test, type TestContext } from 'node:test'
import { running, type Json } from './running.ts'

const image = (name: string) => `docker.io/istio/examples-bookinfo-${name}:1.20.3`

/** Where a service finds its siblings in these tests. */
const at = (name: string, port: number | undefined) => ({
  [`${name}_HOSTNAME`]: '127.0.0.1',
  [`${name}_SERVICE_PORT`]: String(port),
})

async function getJson(url: string, headers: Record<string, string> = {}) {
  const response = await fetch(url, { headers })
  return { status: response.status, body: (await response.json()) as Json }
}

/** A sibling that the test plays itself: answers with `answer` and remembers the headers it was asked with. */
async function sibling(t: TestContext, answer: (path: string) => { status: number; body: unknown; delayMs?: number }) {
  const seen: { path: string; headers: IncomingHttpHeaders }[] = []
  const server = createServer((request, response) => {
    seen.push({ path: request.url ?? '', headers: request.headers })
    const { status, body, delayMs = 0 } = answer(request.url ?? '')
    setTimeout(() => response.writeHead(status).end(JSON.stringify(body)), delayMs)
  })
  await new Promise<void>((resolve) => server.listen(0, resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { seen, port: (server.address() as { port: number }).port }
}

const starsOf = (body: Json) => body['reviews'].map((review: Json) => review.rating)

test('details has the facts of a book and says when it is asked for none', async (t) => {
  const { url } = await running(t, image('details-v1'))
  const { body } = await getJson(`${url}/details/0`)
  assert.deepEqual(Object.keys(body).sort(), [
    ...['ISBN-10', 'ISBN-13', 'author', 'id', 'language', 'pages', 'publisher', 'type', 'year'],
  ])
  assert.equal(body['id'], 0)
  assert.equal((await getJson(`${url}/details/first`)).status, 400)
  assert.equal((await getJson(`${url}/health`)).status, 200)
})

test('ratings remembers what was posted, and refuses what is no rating', async (t) => {
  const { url } = await running(t, image('ratings-v1'))
  assert.deepEqual((await getJson(`${url}/ratings/0`)).body, { id: 0, ratings: { Reviewer1: 5, Reviewer2: 4 } })
  const posted = await fetch(`${url}/ratings/7`, { method: 'POST', body: '{"Reviewer1":1}' })
  assert.equal(posted.status, 200)
  assert.deepEqual((await getJson(`${url}/ratings/7`)).body, { id: 7, ratings: { Reviewer1: 1 } })
  assert.equal((await fetch(`${url}/ratings/7`, { method: 'POST', body: 'five' })).status, 400)
  assert.equal((await getJson(`${url}/ratings/none`)).status, 400)
})

test('ratings v2 says that it cannot reach its database', async (t) => {
  const { url } = await running(t, image('ratings-v2'), ['0'], { MONGO_DB_URL: 'mongodb://127.0.0.1:1/test' })
  const { status, body } = await getJson(`${url}/ratings/0`)
  assert.equal(status, 500)
  assert.match(body['error'], /could not connect/)
})

test('reviews shows no stars in v1, black ones in v2 and red ones in v3', async (t) => {
  const ratings = await running(t, image('ratings-v1'))
  const env = { ...at('RATINGS', ratings.ports[0]), HOSTNAME: 'reviews-pod', CLUSTER_NAME: 'box' }
  const [v1, v2, v3] = await Promise.all(
    ['reviews-v1', 'reviews-v2', 'reviews-v3'].map((name) => running(t, image(name), ['0'], env)),
  )
  assert.deepEqual(starsOf((await getJson(`${v1!.url}/reviews/0`)).body), [undefined, undefined])
  const black = (await getJson(`${v2!.url}/reviews/0`)).body
  assert.deepEqual(
    starsOf(black),
    [5, 4].map((stars) => ({ stars, color: 'black' })),
  )
  assert.deepEqual([black['id'], black['podname'], black['clustername']], ['0', 'reviews-pod', 'box'])
  const red = (await getJson(`${v3!.url}/reviews/0`)).body
  assert.deepEqual(
    starsOf(red),
    [5, 4].map((stars) => ({ stars, color: 'red' })),
  )
})

test('reviews says that ratings are unavailable when they fail, and passes the headers of its caller on', async (t) => {
  const ratings = await sibling(t, () => ({ status: 503, body: {} }))
  const { url } = await running(t, image('reviews-v3'), ['0'], at('RATINGS', ratings.port))
  const { status, body } = await getJson(`${url}/reviews/0`, {
    'end-user': 'jason',
    traceparent: '00-1-2-01',
    odd: 'x',
  })
  assert.equal(status, 200)
  assert.deepEqual(starsOf(body), Array(2).fill({ error: 'Ratings service is currently unavailable' }))
  assert.equal(ratings.seen[0]?.headers['end-user'], 'jason')
  assert.equal(ratings.seen[0]?.headers['traceparent'], '00-1-2-01')
  assert.equal(ratings.seen[0]?.headers['odd'], undefined)
})

test('reviews with red stars gives slow ratings up after two and a half seconds', async (t) => {
  const ratings = await sibling(t, () => ({ status: 200, body: {}, delayMs: 6_000 }))
  const { url } = await running(t, image('reviews-v3'), ['0'], at('RATINGS', ratings.port))
  const started = performance.now()
  const { body } = await getJson(`${url}/reviews/0`)
  const tookMs = performance.now() - started
  assert.ok(tookMs > 2_400 && tookMs < 5_000, `${tookMs} ms`)
  assert.match(JSON.stringify(body), /currently unavailable/)
})

test('productpage shows details, reviews, their stars and who served them', async (t) => {
  const [ratings, details] = await Promise.all([running(t, image('ratings-v1')), running(t, image('details-v1'))])
  const reviews = await running(t, image('reviews-v3'), ['0'], {
    ...at('RATINGS', ratings.ports[0]),
    HOSTNAME: 'pod-3',
  })
  const siblings = {
    ...at('DETAILS', details.ports[0]),
    ...at('REVIEWS', reviews.ports[0]),
    ...at('RATINGS', ratings.ports[0]),
  }
  const { url } = await running(t, image('productpage-v1'), ['0'], siblings)
  const page = await (await fetch(`${url}/productpage`)).text()
  assert.match(page, /<title>Simple Bookstore App<\/title>/)
  assert.match(page, /Book Details/)
  assert.equal(page.match(/color: red">★★★★/g)?.length, 2)
  assert.match(page, /Reviews served by: pod-3/)
  assert.equal((await getJson(`${url}/api/v1/products`)).body[0].id, 0)
  assert.equal((await getJson(`${url}/api/v1/products/0`)).body['pages'], 200)
  assert.equal((await getJson(`${url}/api/v1/products/0/reviews`)).body['podname'], 'pod-3')
  assert.equal((await getJson(`${url}/api/v1/products/0/ratings`)).body['ratings'].Reviewer1, 5)
  assert.equal((await fetch(`${url}/health`)).status, 200)
})

test('productpage tells its siblings who is logged in, until logout', async (t) => {
  const other = await sibling(t, (path) => ({ status: 200, body: path.startsWith('/reviews') ? { reviews: [] } : {} }))
  const { url } = await running(t, image('productpage-v1'), ['0'], {
    ...at('DETAILS', other.port),
    ...at('REVIEWS', other.port),
  })
  const body = new URLSearchParams({ username: 'jason', passwd: 'any' })
  const referer = `${url}/productpage?u=test`
  const login = await fetch(`${url}/login`, { method: 'POST', body, headers: { referer }, redirect: 'manual' })
  assert.equal(login.status, 302)
  assert.equal(login.headers.get('location'), '/productpage?u=test')
  const cookie = login.headers.getSetCookie()[0]!.split(';')[0]!
  assert.match(await (await fetch(`${url}/productpage`, { headers: { cookie } })).text(), /Signed in as jason/)
  assert.deepEqual(
    other.seen.map(({ path, headers }) => [path, headers['end-user']]),
    [
      ['/details/0', 'jason'],
      ['/reviews/0', 'jason'],
    ],
  )
  const logout = await fetch(`${url}/logout`, { headers: { cookie }, redirect: 'manual' })
  assert.match(logout.headers.getSetCookie()[0]!, /^session=;.*Max-Age=0/)
  await fetch(`${url}/productpage`, { headers: { 'end-user': 'ann', 'x-request-id': 'one' } })
  assert.equal(other.seen.at(-1)?.headers['end-user'], 'ann')
  assert.equal(other.seen.at(-1)?.headers['x-request-id'], 'one')
})

test('productpage apologises for each part that failed, and asks reviews twice', async (t) => {
  const other = await sibling(t, () => ({ status: 500, body: {} }))
  const { url } = await running(t, image('productpage-v1'), ['0'], {
    ...at('DETAILS', other.port),
    ...at('REVIEWS', other.port),
  })
  const page = await fetch(`${url}/productpage`)
  const shown = await page.text()
  assert.equal(page.status, 200)
  assert.match(shown, /Sorry, product details are currently unavailable for this book\./)
  assert.match(shown, /Sorry, product reviews are currently unavailable for this book\./)
  assert.deepEqual(
    other.seen.map(({ path }) => path),
    ['/details/0', '/reviews/0', '/reviews/0'],
  )
  assert.equal((await fetch(`${url}/api/v1/products/0`)).status, 500)
})

test('a page cannot be made to carry markup by the services behind it', async (t) => {
  const evil = '<script>alert(1)</script>'
  const other = await sibling(t, (path) => ({
    status: 200,
    body: path.startsWith('/reviews') ? { podname: evil, reviews: [{ reviewer: evil, text: evil }] } : { author: evil },
  }))
  const { url } = await running(t, image('productpage-v1'), ['0'], {
    ...at('DETAILS', other.port),
    ...at('REVIEWS', other.port),
  })
  assert.doesNotMatch(await (await fetch(`${url}/productpage`)).text(), /<script>/)
})
