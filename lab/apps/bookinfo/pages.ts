// The pages of the productpage stand-in: values in, HTML out.

const TOP_STARS = 5

export interface ProductPage {
  readonly user: string
  readonly product: { readonly title: string; readonly descriptionHtml: string }
  readonly details: unknown
  readonly reviews: unknown
}

interface Review {
  reviewer?: unknown
  text?: unknown
  rating?: { stars?: unknown; color?: unknown; error?: unknown }
}

export function indexPage(): string {
  return page(`<h1>A bookshop of four services</h1>
<p>productpage asks details and reviews; reviews asks ratings.</p>
<ul>
<li><a href="/productpage?u=normal">The shop, as anybody</a></li>
<li><a href="/productpage?u=test">The shop, as a tester</a></li>
</ul>`)
}

export function productPage({ user, product, details, reviews }: ProductPage): string {
  return page(`${sessionBar(user)}
<h1>${escapeHtml(product.title)}</h1>
<p>Summary: ${product.descriptionHtml}</p>
<section id="details">
${detailsPart(details)}
</section>
<section id="reviews">
${reviewsPart(reviews)}
</section>`)
}

function sessionBar(user: string): string {
  if (user) return `<p id="session">Signed in as ${escapeHtml(user)} (<a href="/logout">sign out</a>)</p>`
  return `<form id="session" method="post" action="/login">
<input name="username" placeholder="user"> <input name="passwd" type="password" placeholder="password">
<button>Sign in</button></form>`
}

function detailsPart(details: unknown): string {
  const failure = errorOf(details)
  if (failure) return `<h4>Error fetching product details!</h4>\n<p class="error">${escapeHtml(failure)}</p>`
  const rows = Object.entries(details as Record<string, unknown>)
    .filter(([name]) => name !== 'id')
    .map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${shown(value)}</dd>`)
  return `<h4>Book Details</h4>\n<dl>\n${rows.join('\n')}\n</dl>`
}

function reviewsPart(reviews: unknown): string {
  const failure = errorOf(reviews)
  if (failure) return `<h4>Error fetching product reviews!</h4>\n<p class="error">${escapeHtml(failure)}</p>`
  const { podname, clustername, reviews: list } = reviews as Record<string, unknown>
  const parts = (Array.isArray(list) ? (list as Review[]) : []).map(reviewPart)
  const cluster = clustername ? ` of cluster ${shown(clustername)}` : ''
  return `<h4>Book Reviews</h4>
${parts.join('\n')}
<p class="served-by">Reviews served by: ${shown(podname ?? 'unknown')}${cluster}</p>`
}

function reviewPart({ reviewer, text, rating }: Review): string {
  const words = `<p>${shown(text ?? '')}</p>`
  return `<blockquote>${words}<small>${shown(reviewer ?? '')}</small>${ratingPart(rating)}</blockquote>`
}

function ratingPart(rating: Review['rating']): string {
  if (!rating) return ''
  if (typeof rating.stars !== 'number') return `<p class="error">${shown(rating.error ?? '')}</p>`
  const full = Math.max(0, Math.min(TOP_STARS, Math.round(rating.stars)))
  const color = shown(rating.color ?? 'black')
  return `<p class="stars" style="color: ${color}">${'★'.repeat(full)}${'☆'.repeat(TOP_STARS - full)}</p>`
}

function errorOf(part: unknown): string | null {
  const value = part as { error?: unknown } | null
  if (typeof value !== 'object' || value === null) return 'the answer is not an object'
  return typeof value.error === 'string' ? value.error : null
}

function page(body: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Simple Bookstore App</title>
<style>body { font-family: sans-serif; max-width: 48rem; margin: 2rem auto } .error { color: #a00 }
dl { display: grid; grid-template-columns: 8rem 1fr } .stars { font-size: 1.4rem; margin: 0 }</style></head>
<body>
${body}
</body>
</html>
`
}

/** A value of another service's answer, safe between tags and in a quoted attribute. */
function shown(value: unknown): string {
  return escapeHtml(typeof value === 'string' ? value : JSON.stringify(value ?? ''))
}

function escapeHtml(raw: string): string {
  return raw.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
}
