// The shop of examples/shop: front asks catalog, catalog asks stock, each with one new connection a call.
// Arguments: port, role (front, catalog, stock). CATALOG and STOCK say where the next one is, VERSION what catalog calls itself.
import { get } from 'node:http'
import { json, podName, portOf, serveHttp } from './http-app.ts'
import type { Answer, Application } from './http-app.ts'

const callTimeoutMs = 15_000
const answerLimitBytes = 64 * 1024

const items = ['warp', 'weft', 'shuttle', 'heddle']

interface Reply {
  readonly status: number
  /** The callee's JSON, or its text where it was none (an error page, for example). */
  readonly body: unknown
}

/** One GET on a connection of its own. A callee that cannot be reached is a 502, as a gateway would say. */
function ask(url: string, headers: Record<string, string>): Promise<Reply> {
  const unreachable = (why: string): Reply => ({ status: 502, body: { error: `${url}: ${why}` } })
  return new Promise((resolve) => {
    const request = get(url, { agent: false, headers, timeout: callTimeoutMs }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        if (text.length > answerLimitBytes) response.destroy(new Error('the answer is too long'))
      })
      response.on('error', (error) => resolve(unreachable(error.message)))
      response.on('end', () => resolve({ status: response.statusCode ?? 502, body: parsed(text) }))
    })
    request.on('timeout', () => request.destroy(new Error('no answer in time')))
    request.on('error', (error) => resolve(unreachable(error.message)))
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text.trim()
  }
}

/** What a callee answers that is not 200 is our answer too: an error is seen where it matters, at the customer. */
function passedOn(made: Record<string, unknown>, name: string, { status, body }: Reply): Answer {
  return json({ ...made, [name]: body }, status)
}

const roles: Record<string, Application> = {
  async front({ headers, request }) {
    const caller = request.socket.remoteAddress?.replace('::ffff:', '')
    const user = headers['end-user']
    const reply = await ask(process.env['CATALOG'] ?? 'http://catalog:8080/', user ? { 'end-user': String(user) } : {})
    return passedOn({ pod: podName(), caller }, 'catalog', reply)
  },

  async catalog() {
    const reply = await ask(process.env['STOCK'] ?? 'http://stock:8080/', {})
    return passedOn({ version: process.env['VERSION'] ?? 'v1', pod: podName(), items }, 'stock', reply)
  },

  stock() {
    return json({ pod: podName(), left: Object.fromEntries(items.map((item, at) => [item, (at + 1) * 7])) })
  },
}

const role = process.argv[3] ?? ''
const application = roles[role]
if (!application) throw new Error(`say which part of the shop: ${Object.keys(roles).join(', ')}`)
serveHttp(role, portOf(8080), (call) => (call.path === '/ready' ? json({ ready: true }) : application(call)))
