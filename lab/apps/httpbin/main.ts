// Stand-in for httpbin: tells a client what it sent, and answers in the way that it asks for. No files, images or auth.
import { randomUUID } from 'node:crypto'
import { html, json, podName, portOf, serveHttp, text, type Answer, type Call } from '../http-app.ts'
import { address, echo, one, pairs } from './echo.ts'
import { bytes, delay, drip, status, stream, streamBytes } from './made.ts'

/** Longest chain of redirects; a longer one is cut to it. */
const REDIRECT_LIMIT = 20

type Route = readonly [
  methods: string,
  path: RegExp,
  answer: (call: Call, ...parts: string[]) => ReturnType<typeof httpbin>,
]

const ANY = 'GET HEAD POST PUT PATCH DELETE OPTIONS'
const READ = 'GET HEAD'

const ROUTES: readonly Route[] = [
  [READ, /^\/$/, () => html(index())],
  [READ, /^\/(?:get|head)$/, (call) => json(echo(call, 'brief'))],
  ['POST', /^\/post$/, (call) => json(echo(call, 'whole'))],
  ['PUT', /^\/put$/, (call) => json(echo(call, 'whole'))],
  ['PATCH', /^\/patch$/, (call) => json(echo(call, 'whole'))],
  ['DELETE', /^\/delete$/, (call) => json(echo(call, 'whole'))],
  [ANY, /^\/anything(?:\/.*)?$/, (call) => json(echo(call, 'whole'))],
  [READ, /^\/headers$/, (call) => json({ headers: echo(call, 'brief').headers })],
  [READ, /^\/ip$/, (call) => json({ origin: address(call) })],
  [READ, /^\/user-agent$/, (call) => json({ 'user-agent': call.headers['user-agent'] ?? '' })],
  [READ, /^\/hostname$/, () => json({ hostname: podName() })],
  [READ, /^\/uuid$/, () => json({ uuid: randomUUID() })],
  [READ, /^\/html$/, () => html('<!doctype html>\n<title>A page</title>\n<h1>A page</h1>\n<p>It says little.</p>\n')],
  [READ, /^\/json$/, () => json({ kind: 'shopping list', items: [{ name: 'bread', count: 2 }, { name: 'tea' }] })],
  [ANY, /^\/status\/([^/]+)$/, (_call, wanted) => status(wanted)],
  [ANY, /^\/delay\/([^/]+)$/, (call, seconds) => delay(call, seconds)],
  [READ, /^\/bytes\/(\d+)$/, (call, count) => bytes(call, Number(count))],
  [READ, /^\/stream-bytes\/(\d+)$/, (call, count) => streamBytes(call, Number(count))],
  [READ, /^\/stream\/(\d+)$/, (call, count) => stream(call, Number(count))],
  [READ, /^\/drip$/, (call) => drip(call)],
  [READ, /^\/(?:relative-)?redirect\/(\d+)$/, (_call, count) => redirect(Number(count))],
  [READ, /^\/cookies$/, (call) => json({ cookies: cookies(call) })],
  [READ, /^\/cookies\/set$/, (call) => setCookies(call.query)],
  [READ, /^\/cookies\/delete$/, (call) => setCookies(call.query, 'Path=/; Max-Age=0')],
  ['GET HEAD POST', /^\/response-headers$/, responseHeaders],
]

function httpbin(call: Call): Answer | 'sent' | Promise<Answer | 'sent'> {
  const found = ROUTES.filter(([, path]) => path.test(call.path))
  const route = found.find(([methods]) => methods.split(' ').includes(call.method))
  if (route) return route[2](call, ...(route[1].exec(call.path) ?? []).slice(1))
  if (found.length === 0) return text('not found\n', 404)
  return { ...text('method not allowed\n', 405), headers: { allow: found.map(([methods]) => methods).join(' ') } }
}

function index(): string {
  return `<!doctype html>\n<title>httpbin</title>\n<h1>httpbin</h1>\n<ul>\n${ROUTES.map(
    ([methods, path]) => `<li>${methods}: <code>${path.source.replace(/[&<>]/g, '')}</code></li>`,
  ).join('\n')}\n</ul>\n`
}

function redirect(count: number): Answer {
  const left = Math.min(count, REDIRECT_LIMIT)
  if (left < 1) return text('the count must be at least 1\n', 400)
  return { status: 302, headers: { location: left === 1 ? '/get' : `/redirect/${left - 1}` } }
}

function cookies(call: Call): Record<string, string> {
  const given = (call.headers.cookie ?? '').split(/;\s*/).filter(Boolean)
  return Object.fromEntries(
    given.map((pair) => [pair.split('=', 1)[0] ?? '', pair.includes('=') ? pair.slice(pair.indexOf('=') + 1) : '']),
  )
}

function setCookies(given: Iterable<readonly [string, string]>, attributes = 'Path=/'): Answer {
  // encodeURIComponent keeps line ends and semicolons of the query out of the header.
  const lines = [...given].map(
    ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}; ${attributes}`,
  )
  return { status: 302, headers: { location: '/cookies', 'set-cookie': lines } }
}

function responseHeaders(call: Call): Answer {
  const headers: Record<string, string[]> = {}
  for (const [name, value] of call.query) {
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name) || /[^\t\x20-\x7e]/.test(value)) return text('not a header\n', 400)
    if (/^(content-length|transfer-encoding|connection)$/i.test(name)) return text('not a header to choose\n', 400)
    headers[name] = [...(headers[name] ?? []), value]
  }
  const answer = json(one(pairs(call.query)))
  return { ...answer, headers: { ...answer.headers, ...headers } }
}

serveHttp('httpbin', portOf(8080), httpbin)
