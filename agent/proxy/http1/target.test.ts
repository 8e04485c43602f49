import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressed, isAuthority } from './target.ts'

test('each form of a target is understood with the methods that have it', () => {
  const cases: [string, string, string | null, object | null][] = [
    ['GET', '/a?b', 'h', { target: '/a?b', authority: 'h' }],
    ['GET', '/a', null, { target: '/a', authority: 'dialled:80' }],
    ['OPTIONS', '*', 'h', { target: '*', authority: 'h' }],
    ['GET', '*', 'h', null],
    ['GET', 'HTTP://there:81/a', 'h', { target: '/a', authority: 'there:81' }],
    ['CONNECT', 'there:81', 'other', { target: 'there:81', authority: 'there:81' }],
    ['CONNECT', '[::1]:81', 'h', { target: '[::1]:81', authority: '[::1]:81' }],
    ['GET', 'http://there', 'h', { target: '/', authority: 'there' }],
    ['OPTIONS', 'http://there', 'h', { target: '*', authority: 'there' }],
    ['GET', 'http://there?q', 'h', { target: '/?q', authority: 'there' }],
    ['GET', 'http://', 'h', null],
    ['GET', 'http:///a', 'h', null],
    ['GET', 'http://me@there/', 'h', null],
    ['GET', 'ftp://there/', 'h', null],
    ['GET', 'there:80', 'h', null],
    ['GET', 'a/b', 'h', null],
    ['GET', 'http://there/', 'bad host', null],
  ]
  for (const [method, target, host, expected] of cases) {
    const got = addressed(method, target, host, 'dialled:80')
    if (expected === null) assert.equal(typeof got, 'string', target)
    else assert.deepEqual(got, expected)
  }
})

test('an authority is a host with or without a port', () => {
  for (const text of ['a', 'a.b:80', 'a:', '[::1]', '[::1]:8080', '127.0.0.1', 'a_b', 'a:65535', 'a%20b']) {
    assert.equal(isAuthority(text), true, text)
  }
  const bad = [
    '',
    ':80',
    'a:b',
    'a:80:80',
    'a@b',
    'a/b',
    'a b',
    'a\\b',
    '[',
    '[]',
    '[::1',
    '[::1]a',
    '[g]',
    'a:65536',
    'a:000080',
    '\xe9',
    'a?',
    'a#',
  ]
  for (const text of bad) assert.equal(isAuthority(text), false, text)
})
