// Stand-in for Bookinfo's reviews service: two reviews, with stars from ratings where ENABLE_RATINGS says so (v2, v3).
import { json, podName, portOf, serveHttp, type Answer, type Call } from '../http-app.ts'
import { ask, parseJson, passedOn, serviceUrl } from './services.ts'

/** The published images wait longer for ratings when their stars are black; the fault-injection walk-through needs it. */
const BLACK_TIMEOUT_MS = 10_000
const COLORED_TIMEOUT_MS = 2_500

const REVIEWS = [
  { reviewer: 'Reviewer1', text: 'Two pairs of twins, one afternoon, and not a dull page among them.' },
  { reviewer: 'Reviewer2', text: 'Loud, quick and silly. I laughed often and was seldom moved.' },
]

const rated = process.env['ENABLE_RATINGS']?.toLowerCase() === 'true'
const color = process.env['STAR_COLOR'] || 'black'
const timeoutMs = color === 'black' ? BLACK_TIMEOUT_MS : COLORED_TIMEOUT_MS

async function reviews(call: Call): Promise<Answer> {
  if (call.path === '/health') return json({ status: 'Reviews is healthy' })
  const id = /^\/reviews\/(\d+)$/.exec(call.path)?.[1]
  if (id === undefined) return json({ error: 'not found' }, 404)
  const stars = rated ? await askStars(id, passedOn(call.headers)) : {}
  return json({
    id,
    podname: podName(),
    clustername: process.env['CLUSTER_NAME'] ?? null,
    reviews: REVIEWS.map((review) => (rated ? { ...review, rating: ratingOf(stars[review.reviewer]) } : review)),
  })
}

function ratingOf(stars: unknown) {
  if (typeof stars !== 'number') return { error: 'Ratings service is currently unavailable' }
  return { stars, color }
}

/** Stars by reviewer; empty when ratings did not answer well in time. */
async function askStars(id: string, headers: Record<string, string>): Promise<Record<string, unknown>> {
  const reply = await ask(`${serviceUrl('ratings')}/ratings/${id}`, headers, timeoutMs)
  if (reply?.status !== 200) return {}
  const answer = parseJson(reply.body) as { ratings?: Record<string, unknown> } | undefined
  return answer?.ratings ?? {}
}

serveHttp('reviews', portOf(9080), reviews)
