// The shop's customer. Runs inside the pod `customer`, calls front and writes one JSON line an answer.
//   customer.ts --count N --concurrency C [--user NAME]   that many calls, then it ends
//   customer.ts --rate N                                  N calls a second until nobody reads; each fourth as kai
import { get } from 'node:http'
import { parseArgs } from 'node:util'

/** What the customer saw of one call. */
export interface Answer {
  readonly user: string
  /** HTTP status; 0 where the connection failed. */
  readonly status: number
  /** Which catalog answered; empty where none did. */
  readonly version: string
  /** The caller's address, as front saw it. */
  readonly caller: string
  readonly tookMs: number
}

const front = process.env['FRONT'] ?? 'http://front:8080/'
const callTimeoutMs = 20_000
const pendingBound = 64
const answerBound = 64 * 1024

interface Page {
  readonly caller?: string
  readonly catalog?: { readonly version?: string }
}

function call(user: string): Promise<Answer> {
  const started = performance.now()
  const answer = (status: number, text = ''): Answer => {
    const page = pageOf(text)
    const tookMs = Math.round((performance.now() - started) * 10) / 10
    return { user, status, version: page.catalog?.version ?? '', caller: page.caller ?? '', tookMs }
  }
  return new Promise((resolve) => {
    const headers = user === '' ? {} : { 'end-user': user }
    const request = get(front, { agent: false, headers, timeout: callTimeoutMs }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        if (text.length > answerBound) response.destroy(new Error('the answer is too long'))
      })
      response.on('error', () => resolve(answer(0)))
      response.on('end', () => resolve(answer(response.statusCode ?? 0, text)))
    })
    request.on('timeout', () => request.destroy(new Error('no answer in time')))
    request.on('error', () => resolve(answer(0)))
  })
}

function pageOf(text: string): Page {
  try {
    return JSON.parse(text) as Page
  } catch {
    return {}
  }
}

const tell = (answer: Answer): boolean => process.stdout.write(`${JSON.stringify(answer)}\n`)

async function burst(count: number, concurrency: number, user: string): Promise<void> {
  let left = count
  const shopper = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      tell(await call(user))
    }
  }
  await Promise.all(Array.from({ length: concurrency }, shopper))
}

function stroll(perSecond: number): void {
  let [turn, pending] = [0, 0]
  setInterval(() => {
    turn += 1
    if (pending >= pendingBound) return
    pending += 1
    void call(turn % 4 === 0 ? 'kai' : '').then((answer) => {
      pending -= 1
      tell(answer)
    })
  }, 1000 / perSecond)
}

const { values } = parseArgs({
  options: {
    count: { type: 'string' },
    concurrency: { type: 'string', default: '1' },
    user: { type: 'string', default: '' },
    rate: { type: 'string' },
  },
})
// Whoever read has gone: so do we.
process.stdout.on('error', () => process.exit(0))
if (values.rate !== undefined) stroll(Number(values.rate))
else await burst(Number(values.count), Number(values.concurrency), values.user)
