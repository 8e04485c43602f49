// An issuer of tokens and an authorizer in one, for tests. HTTP on 8080: `/keys` is its key set, `/rotate` has it sign by
// another key from then on, `/token?NAME=VALUE…` gives a token with these claims (numbers are numbers). `/check/…` is asked
// whether a request may pass: `x-pass: yes` lets it, `x-pass: slow` is answered after a second, all else is denied.
import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

interface Key {
  readonly id: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

function freshKey(): Key {
  return { id: randomUUID(), ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) }
}

let key = freshKey()

function token(claims: Readonly<Record<string, string | number>>): string {
  const encoded = [{ alg: 'ES256', kid: key.id }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  )
  const text = encoded.join('.')
  const signature = sign('sha256', Buffer.from(text), { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
  return `${text}.${signature.toString('base64url')}`
}

async function check({ headers, url = '' }: IncomingMessage, response: ServerResponse): Promise<void> {
  const pass = headers['x-pass']
  if (pass === 'slow') await sleep(1000)
  if (pass === 'yes') return void response.setHeader('x-user', `known by ${url}`).end()
  response.statusCode = 401
  response.setHeader('x-why', 'no pass').end('show your pass\n')
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://issuer')
  if (pathname.startsWith('/check/')) return void check(request, response)
  if (pathname === '/rotate') key = freshKey()
  if (pathname === '/keys') {
    response.setHeader('content-type', 'application/json')
    const jwk = { ...key.publicKey.export({ format: 'jwk' }), kid: key.id, alg: 'ES256', use: 'sig' }
    return void response.end(JSON.stringify({ keys: [jwk] }))
  }
  const claims = [...searchParams].map(([name, value]) => [name, /^\d+$/.test(value) ? Number(value) : value])
  response.end(token(Object.fromEntries(claims) as Record<string, string | number>))
})
server.listen(8080)
