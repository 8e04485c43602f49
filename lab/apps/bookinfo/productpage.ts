// Stand-in for Bookinfo's productpage: asks details and reviews, shows one page, knows who is logged in.
import { html, json, portOf, serveHttp, text, type Answer, type Call } from '../http-app.ts'
import { indexPage, productPage } from './pages.ts'
import { ask, parseJson, passedOn, serviceUrl } from './services.ts'

const SIBLING_TIMEOUT_MS = 3_000
/** Reviews are asked twice: with the timeout above this is the known flaw that the fault-injection task exposes. */
const REVIEWS_ATTEMPTS = 2
/** Largest FLOOD_FACTOR honoured: needless extra requests to reviews for each page. */
const FLOOD_LIMIT = 1_000

const PRODUCTS = [
  {
    id: 0,
    title: 'The Comedy of Errors',
    descriptionHtml:
      '<a href="https://en.wikipedia.org/wiki/The_Comedy_of_Errors">The Comedy of Errors</a>: ' +
      '<b>Shakespeare</b> lets two sets of twins loose in one town and watches everybody mistake everybody.',
  },
]

const flood = Math.min(Number(process.env['FLOOD_FACTOR'] ?? 0) || 0, FLOOD_LIMIT)

interface Part {
  readonly status: number
  readonly value: unknown
}

async function productpage(call: Call): Promise<Answer> {
  const { method, path } = call
  if (path === '/login') return method === 'POST' ? login(call) : text('method not allowed\n', 405)
  if (method !== 'GET' && method !== 'HEAD') return text('method not allowed\n', 405)
  if (path === '/' || path === '/index.html') return html(indexPage())
  if (path === '/health') return text('Product page is healthy')
  if (path === '/logout') return goBack(call, 'session=; Path=/; Max-Age=0; HttpOnly')
  if (path === '/productpage') return html(await front(call))
  if (path === '/api/v1/products') return json(PRODUCTS)
  const product = /^\/api\/v1\/products\/(\d+)(?:\/(reviews|ratings))?$/.exec(path)
  if (!product) return text('not found\n', 404)
  const part = await askPart((product[2] ?? 'details') as PartName, product[1]!, headersFor(call))
  return json(part.value, part.status)
}

async function front(call: Call): Promise<string> {
  const headers = headersFor(call)
  const details = await askPart('details', '0', headers)
  if (flood > 0) await Promise.all(Array.from({ length: flood }, () => askPart('reviews', '0', headers)))
  const reviews = await askPart('reviews', '0', headers)
  return productPage({
    user: userOf(call) ?? '',
    product: PRODUCTS[0]!,
    details: details.value,
    reviews: reviews.value,
  })
}

type PartName = 'details' | 'reviews' | 'ratings'

async function askPart(name: PartName, id: string, headers: Record<string, string>): Promise<Part> {
  let status = 500
  for (let attempt = 0; attempt < (name === 'reviews' ? REVIEWS_ATTEMPTS : 1); attempt++) {
    const reply = await ask(`${serviceUrl(name)}/${name}/${id}`, headers, SIBLING_TIMEOUT_MS)
    const value = reply?.status === 200 ? parseJson(reply.body) : undefined
    if (value !== undefined) return { status: 200, value }
    status = reply && reply.status !== 200 ? reply.status : 500
  }
  return { status, value: { error: `Sorry, product ${name} are currently unavailable for this book.` } }
}

/** The logged-in user is sent on as `end-user`; it wins over such a header of the request itself. */
function headersFor(call: Call): Record<string, string> {
  const user = userOf(call)
  return user ? { ...passedOn(call.headers), 'end-user': user } : passedOn(call.headers)
}

/** Any name and any password are welcome, so the cookie is only encoded, not signed: it proves nothing anyway. */
function login(call: Call): Answer {
  const user = new URLSearchParams(call.body.toString()).get('username') ?? ''
  const session = Buffer.from(JSON.stringify({ user })).toString('base64url')
  return goBack(call, `session=${session}; Path=/; HttpOnly`)
}

function userOf(call: Call): string | null {
  const session = /(?:^|;\s*)session=([^;]+)/.exec(call.headers.cookie ?? '')?.[1]
  const value = session ? parseJson(Buffer.from(session, 'base64url').toString()) : undefined
  const user = (value as { user?: unknown } | null | undefined)?.user
  // A header value of printable ASCII only: anything else in a cookie is nobody.
  return typeof user === 'string' && /^[\x20-\x7e]+$/.test(user) ? user : null
}

function goBack(call: Call, cookie: string): Answer {
  const from = URL.parse(call.headers.referer ?? '')
  const location = from ? from.pathname + from.search : '/productpage'
  return { status: 302, headers: { location, 'set-cookie': cookie }, body: '' }
}

serveHttp('productpage', portOf(9080), productpage)
