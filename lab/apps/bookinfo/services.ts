// How the four Bookinfo services reach one another: names from the environment, headers passed on, one GET each.
import { get, type IncomingHttpHeaders } from 'node:http'

/** Largest reply one Bookinfo service takes from another. */
const REPLY_LIMIT_BYTES = 1024 * 1024

/** Request headers that every Bookinfo service copies from the request it answers to those it makes. */
const PASSED_ON = [
  'x-request-id',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
  'b3',
  'x-ot-span-context',
  'x-datadog-trace-id',
  'x-datadog-parent-id',
  'x-datadog-sampling-priority',
  'traceparent',
  'tracestate',
  'x-cloud-trace-context',
  'grpc-trace-bin',
  'sw8',
  'end-user',
  'user-agent',
  'cookie',
  'authorization',
  'jwt',
]

export interface Reply {
  readonly status: number
  readonly body: string
}

export function passedOn(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const name of PASSED_ON) {
    const value = headers[name]
    if (typeof value === 'string') kept[name] = value
  }
  return kept
}

/** Base URL of a sibling, from `<NAME>_HOSTNAME`, `<NAME>_SERVICE_PORT` and `SERVICES_DOMAIN`, as the images read them. */
export function serviceUrl(name: 'details' | 'ratings' | 'reviews', env = process.env): string {
  const prefix = name.toUpperCase()
  const domain = env['SERVICES_DOMAIN'] ? `.${env['SERVICES_DOMAIN']}` : ''
  return `http://${env[`${prefix}_HOSTNAME`] || name}${domain}:${env[`${prefix}_SERVICE_PORT`] || '9080'}`
}

/** One GET on a connection of its own, as the originals do. Null when no whole reply came within `timeoutMs`. */
export function ask(url: string, headers: Record<string, string>, timeoutMs: number): Promise<Reply | null> {
  return new Promise((resolve) => {
    const request = get(url, { headers, agent: false, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        body += chunk
        if (body.length > REPLY_LIMIT_BYTES) response.destroy()
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
      response.on('error', () => resolve(null))
      response.on('close', () => resolve(null))
    })
    request.on('error', (error) => {
      console.error(`GET ${url}: ${error.message}`)
      resolve(null)
    })
  })
}

export function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}
