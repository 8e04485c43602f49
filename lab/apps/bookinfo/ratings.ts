// Stand-in for Bookinfo's ratings service: stars by reviewer, kept in memory (v1) or behind a database (v2).
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { json, portOf, serveHttp, type Answer, type Call } from '../http-app.ts'
import { parseJson } from './services.ts'

/** Products whose posted ratings are remembered; the oldest goes first. */
const POSTED_LIMIT = 10_000
const DATABASE_TIMEOUT_MS = 5_000
const DELAYED_MS = 7_000
const UNAVAILABLE_EVERY_MS = 60_000
const UNHEALTHY_EVERY_MS = 900_000

const version = process.env['SERVICE_VERSION'] ?? 'v1'
const posted = new Map<number, unknown>()
let available = true

if (version === 'v-unavailable') setInterval(() => (available = !available), UNAVAILABLE_EVERY_MS).unref()
if (version === 'v-unhealthy') setInterval(() => (available = !available), UNHEALTHY_EVERY_MS).unref()

async function ratings(call: Call): Promise<Answer> {
  if (call.path === '/health') {
    const healthy = available || version !== 'v-unhealthy'
    return healthy ? json({ status: 'Ratings is healthy' }) : json({ status: 'Ratings is not healthy' }, 500)
  }
  if (!/^\/ratings\//.test(call.path)) return json({ error: 'not found' }, 404)
  const id = Number.parseInt(call.path.slice('/ratings/'.length), 10)
  if (Number.isNaN(id)) return json({ error: 'please provide numeric product ID' }, 400)
  if (call.method === 'POST') return post(id, call.body.toString())
  if (call.method !== 'GET' && call.method !== 'HEAD') return json({ error: 'method not allowed' }, 405)
  if (version === 'v2') return fromDatabase()
  if (!available) return unavailable()
  // Two published variants misbehave on every other request, by chance.
  if (version === 'v-faulty' && Math.random() < 0.5) return unavailable()
  if (version === 'v-delayed' && Math.random() < 0.5) await sleep(DELAYED_MS)
  return json(ratingsOf(id))
}

function ratingsOf(id: number) {
  return { id, ratings: posted.get(id) ?? { Reviewer1: 5, Reviewer2: 4 } }
}

function unavailable(): Answer {
  return json({ error: 'Service unavailable' }, 503)
}

function post(id: number, body: string): Answer {
  const given = parseJson(body)
  if (given === undefined) return json({ error: 'please provide valid ratings JSON' }, 400)
  if (version === 'v2') return json({ error: 'Post not implemented for database backed ratings' }, 501)
  if (posted.size >= POSTED_LIMIT) posted.delete(posted.keys().next().value!)
  posted.set(id, given)
  return json(ratingsOf(id))
}

/** Dials the database that the manifest names, so that its traffic exists, but speaks no database protocol. */
async function fromDatabase(): Promise<Answer> {
  const { host, port } = databaseAddress()
  const reached = await new Promise<boolean>((resolve) => {
    const socket = connect({ host, port, timeout: DATABASE_TIMEOUT_MS })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
    socket.once('timeout', () => end(false))
  })
  return json({ error: `could not ${reached ? 'load ratings from' : 'connect to ratings'} database` }, 500)
}

function databaseAddress(): { host: string; port: number } {
  if (process.env['DB_TYPE'] === 'mysql') {
    return { host: process.env['MYSQL_DB_HOST'] ?? 'mysqldb', port: Number(process.env['MYSQL_DB_PORT'] ?? 3306) }
  }
  const url = URL.parse(process.env['MONGO_DB_URL'] ?? 'mongodb://mongodb:27017/test')
  return { host: url?.hostname || 'mongodb', port: Number(url?.port || 27017) }
}

serveHttp('ratings', portOf(9080), ratings)
