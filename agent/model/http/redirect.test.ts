import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Redirect, StringMatch } from '../policy.ts'
import { locationOf } from './redirect.ts'
import { request } from '../request.fixture.ts'
import { match } from '../world.fixture.ts'

const KEPT: Redirect = {
  kind: 'redirect',
  uri: null,
  prefix: null,
  authority: null,
  port: null,
  scheme: null,
  code: 301,
}
const prefix = (value: string): StringMatch => ({ kind: 'prefix', value })

interface Case {
  readonly to: Partial<Redirect>
  readonly is: string
  readonly host?: string
  readonly target?: string
  readonly uri?: StringMatch
}

const CASES: readonly Case[] = [
  { to: {}, is: 'http://shop:8080/a/b?c=d' },
  { to: { uri: '/new' }, is: 'http://shop:8080/new?c=d' },
  { to: { uri: '/new?e=f' }, is: 'http://shop:8080/new?e=f' },
  { to: { uri: 'new' }, is: 'http://shop:8080/new?c=d' },
  { to: { uri: '/ü ö' }, is: 'http://shop:8080/%C3%BC%20%C3%B6?c=d' },
  { to: { uri: '/a\r\nset-cookie: b' }, is: 'http://shop:8080/a%0D%0Aset-cookie:%20b?c=d' },
  { to: { prefix: '/x' }, uri: prefix('/a'), is: 'http://shop:8080/x/b?c=d' },
  { to: { prefix: '/x/' }, is: 'http://shop:8080/x/a/b?c=d' },
  { to: { prefix: '/x' }, uri: { kind: 'exact', value: '/a/b' }, is: 'http://shop:8080/x?c=d' },
  { to: { authority: 'new' }, is: 'http://new/a/b?c=d' },
  { to: { authority: 'new:81' }, is: 'http://new:81/a/b?c=d' },
  { to: { authority: 'new:81', port: 82 }, is: 'http://new:82/a/b?c=d' },
  { to: { port: 82 }, is: 'http://shop:82/a/b?c=d' },
  { to: { port: 80 }, is: 'http://shop/a/b?c=d' },
  { to: { port: 443, scheme: 'https' }, is: 'https://shop/a/b?c=d' },
  { to: { port: 443 }, is: 'http://shop:443/a/b?c=d' },
  { to: { port: 'protocol' }, is: 'http://shop/a/b?c=d' },
  { to: { port: 'protocol', scheme: 'https' }, is: 'https://shop/a/b?c=d' },
  { to: { port: 'request' }, is: 'http://shop:8000/a/b?c=d' },
  { to: { scheme: 'https' }, is: 'https://shop:8080/a/b?c=d' },
  { to: { scheme: 'https' }, host: 'shop:80', is: 'https://shop/a/b?c=d' },
  { to: {}, host: 'shop:80', is: 'http://shop:80/a/b?c=d' },
  { to: { port: 82 }, host: '[fd00::1]', is: 'http://[fd00::1]:82/a/b?c=d' },
  { to: { port: 82 }, host: '[fd00::1]:80', is: 'http://[fd00::1]:82/a/b?c=d' },
  { to: { uri: '/new' }, target: '/plain', is: 'http://shop:8080/new' },
  { to: { scheme: 'https' }, target: '/\xfc', is: 'https://shop:8080/%FC' },
]

for (const { to, is, host = 'shop:8080', target = '/a/b?c=d', uri = null } of CASES) {
  test(`${JSON.stringify(to)} redirects http://${host}${target} to ${is}`, () => {
    const asked = request({ authority: host, target, port: 8000 })
    assert.equal(locationOf({ ...KEPT, ...to }, { request: asked, match: match({ uri }) }, 8000), is)
  })
}

test('whatever a rule and a request say, a location is visible ASCII', () => {
  const text = fc.option(fc.string({ unit: 'binary', maxLength: 20 }))
  fc.assert(
    fc.property(text, text, text, (uri, by, authority) => {
      const redirect = { ...KEPT, uri, prefix: by, authority }
      assert.match(locationOf(redirect, { request: request({ target: '/a' }), match: null }, 80), /^[\x21-\x7e]+$/)
    }),
  )
})
