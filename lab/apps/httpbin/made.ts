// Answers that httpbin makes to order: a status, a size, a pace.
import { setTimeout as sleep } from 'node:timers/promises'
import { json, text, type Answer, type Call } from '../http-app.ts'
import { echo } from './echo.ts'

const DELAY_LIMIT_MS = 10_000
const DRIP_LIMIT_MS = 60_000
const BYTES_LIMIT = 10 * 1024 * 1024
const LINES_LIMIT = 100
const DEFAULT_CHUNK = 10 * 1024
/** Statuses that carry no body by definition (RFC 9110, 15.3.5 and 15.4.5). */
const BODILESS = new Set([204, 304])

/** `code`, or a weighted choice such as `200:0.9,503:0.1`. */
export function status(wanted: string): Answer {
  const choices = wanted.split(',').map((part) => {
    const [code, weight] = part.split(':')
    return { code: Number(code), weight: Number(weight ?? 1) }
  })
  const valid = choices.every(({ code, weight }) => Number.isInteger(code) && code >= 200 && code <= 599 && weight >= 0)
  if (!valid) return text('a status is a number from 200 to 599\n', 400)
  const code = chosen(choices)
  const headers: Record<string, string> = [301, 302, 303, 307, 308].includes(code) ? { location: '/redirect/1' } : {}
  return BODILESS.has(code) ? { status: code, headers } : { ...text('', code), headers }
}

function chosen(choices: readonly { code: number; weight: number }[]): number {
  let left = Math.random() * choices.reduce((sum, { weight }) => sum + weight, 0)
  for (const { code, weight } of choices) {
    left -= weight
    if (left < 0) return code
  }
  return choices.at(-1)!.code
}

/** Waits `seconds` (fractions allowed, at most ten) and then answers like /get or /anything. */
export async function delay(call: Call, seconds: string): Promise<Answer> {
  const ms = Number(seconds) * 1000
  if (!(ms >= 0)) return text('a delay is a number of seconds\n', 400)
  await sleep(Math.min(ms, DELAY_LIMIT_MS))
  return json(echo(call, 'whole'))
}

export function bytes(call: Call, count: number): Answer {
  const headers = { 'content-type': 'application/octet-stream' }
  return { headers, body: sequence(Math.min(count, BYTES_LIMIT), Number(call.query.get('seed') ?? Date.now())) }
}

/** `count` bytes without a content-length, in chunks of `chunk_size`. */
export async function streamBytes(call: Call, count: number): Promise<'sent'> {
  const body = sequence(Math.min(count, BYTES_LIMIT), Number(call.query.get('seed') ?? Date.now()))
  const size = Math.max(1, Number(call.query.get('chunk_size')) || DEFAULT_CHUNK)
  call.response.writeHead(200, { 'content-type': 'application/octet-stream' })
  for (let start = 0; start < body.length && !call.response.destroyed; start += size) {
    await written(call, body.subarray(start, start + size))
  }
  call.response.end()
  return 'sent'
}

/** `count` lines, each the request as JSON with the line's number. */
export async function stream(call: Call, count: number): Promise<'sent'> {
  call.response.writeHead(200, { 'content-type': 'application/json' })
  for (let id = 0; id < Math.min(count, LINES_LIMIT) && !call.response.destroyed; id++) {
    await written(call, Buffer.from(`${JSON.stringify({ id, ...echo(call, 'brief') })}\n`))
  }
  call.response.end()
  return 'sent'
}

/** After `delay` seconds, `numbytes` bytes spread over `duration` seconds, answered with `code`. */
export async function drip(call: Call): Promise<Answer | 'sent'> {
  const number = (name: string, fallback: number) => Number(call.query.get(name) ?? fallback)
  const count = number('numbytes', 10)
  const durationMs = number('duration', 2) * 1000
  const delayMs = number('delay', 0) * 1000
  const code = number('code', 200)
  const sound = count >= 1 && count <= BYTES_LIMIT && durationMs >= 0 && delayMs >= 0 && code >= 200 && code <= 599
  if (!sound || durationMs + delayMs > DRIP_LIMIT_MS) return text('out of range\n', 400)
  await sleep(delayMs)
  call.response.writeHead(code, { 'content-type': 'application/octet-stream', 'content-length': count })
  call.response.flushHeaders()
  for (let sent = 0; sent < count && !call.response.destroyed; sent++) {
    if (sent > 0) await sleep(durationMs / count)
    await written(call, Buffer.from('*'))
  }
  call.response.end()
  return 'sent'
}

/** Resolves once the response takes more, or is gone. */
async function written(call: Call, chunk: Buffer): Promise<void> {
  const { response } = call
  if (response.write(chunk) || response.destroyed) return
  await new Promise<void>((resolve) => {
    response.once('drain', resolve)
    response.once('close', resolve)
  })
}

/** The same bytes for the same seed (a linear congruential sequence). */
function sequence(count: number, seed: number): Buffer {
  const out = Buffer.allocUnsafe(count)
  let state = (seed || 1) >>> 0
  for (let index = 0; index < count; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    out[index] = state >>> 24
  }
  return out
}
