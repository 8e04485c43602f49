// Stand-in for Bookinfo's details service: facts about a book, own (v1) or asked from a book index outside (v2).
import { get as getPlain } from 'node:http'
import { get as getSecure } from 'node:https'
import { json, portOf, serveHttp, type Answer, type Call } from '../http-app.ts'
import { passedOn } from './services.ts'

const OUTSIDE_TIMEOUT_MS = 5_000
const OUTSIDE_REPLY_LIMIT_BYTES = 1024 * 1024
const OUTSIDE_HOST = 'www.googleapis.com'
const OUTSIDE_ISBN = '0486424618'

async function details(call: Call): Promise<Answer> {
  if (call.path === '/health') return json({ status: 'Details is healthy' })
  const id = /^\/details\/(\d+)$/.exec(call.path)?.[1]
  if (id === undefined) {
    return call.path.startsWith('/details')
      ? json({ error: 'please provide numeric product id' }, 400)
      : json({ error: 'not found' }, 404)
  }
  if (process.env['ENABLE_EXTERNAL_BOOK_SERVICE'] !== 'true') return json(ownBook(Number(id)))
  try {
    return json(outsideBook(Number(id), await askOutside(passedOn(call.headers))))
  } catch (error) {
    return json({ error: error instanceof Error ? error.message : String(error) }, 400)
  }
}

function ownBook(id: number) {
  return {
    id,
    author: 'William Shakespeare',
    year: 1595,
    type: 'paperback',
    pages: 200,
    publisher: 'PublisherA',
    language: 'English',
    'ISBN-10': '1234567890',
    'ISBN-13': '123-1234567890',
  }
}

/** The index's first volume. `DO_NOT_ENCRYPT=true` leaves TLS to whoever carries the connection, as in the image. */
function askOutside(headers: Record<string, string>): Promise<string> {
  const get = process.env['DO_NOT_ENCRYPT'] === 'true' ? getPlain : getSecure
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const options = {
    host: OUTSIDE_HOST,
    path: `/books/v1/volumes?q=isbn:${OUTSIDE_ISBN}`,
    headers,
    agent: false as const,
    signal: AbortSignal.timeout(OUTSIDE_TIMEOUT_MS),
  }
  get(options, (response) => {
    let body = ''
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => {
      body += chunk
      if (body.length > OUTSIDE_REPLY_LIMIT_BYTES) response.destroy(new Error('the book index sent too much'))
    })
    response.on('end', () => resolve(body))
    response.on('error', reject)
  }).on('error', reject)
  return promise
}

function outsideBook(id: number, body: string) {
  const answer = JSON.parse(body) as { items?: { volumeInfo?: Record<string, unknown> }[] }
  const volume = answer.items?.[0]?.volumeInfo
  if (!volume) throw new Error('the book index knows no such book')
  const numbers = (volume['industryIdentifiers'] ?? []) as { type: string; identifier: string }[]
  const number = (type: string) => numbers.find((each) => each.type === type)?.identifier
  return {
    id,
    author: (volume['authors'] as string[] | undefined)?.[0],
    year: volume['publishedDate'],
    type: volume['printType'] === 'BOOK' ? 'paperback' : 'unknown',
    pages: volume['pageCount'],
    publisher: volume['publisher'],
    language: volume['language'] === 'en' ? 'English' : 'unknown',
    'ISBN-10': number('ISBN_10'),
    'ISBN-13': number('ISBN_13'),
  }
}

serveHttp('details', portOf(9080), details)
