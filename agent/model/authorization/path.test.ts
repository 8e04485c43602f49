import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { call, where } from './authorization.fixture.ts'
import { compileCondition } from './condition.ts'
import { Look } from './look.ts'
import { normalizedTarget, readings, WAYS } from './path.ts'
import { PATH_NORMALIZATIONS } from '../mesh-settings.ts'

function isFound(value: string, target: string, isWide: boolean): boolean {
  const look = new Look()
  look.at(call({ target }))
  return compileCondition(where('request.path', [value]), isWide).test(look)
}

test('most paths have one reading alone', () => {
  for (const path of ['/', '/a/b.c/d', '/.well-known/x', '*', '', '/a_b-c~d/!$&()+,:@=', '/a/', '/a.']) {
    assert.equal(readings(path).length, 0, path)
  }
  assert.equal(readings('/a'), readings('/b'), 'and nothing is made for that')
})

test('a path is read in every way that a server may read it', () => {
  const cases: Record<string, readonly string[]> = {
    '/%61': ['/a'],
    '/a%2fb': ['/a/b'],
    '/a%5cb': ['/a\\b', '/a/b'],
    '/a/../b': ['/b'],
    '/a/./b': ['/a/b'],
    '/a/..': ['/'],
    '/../../a': ['/a'],
    '//a': ['/a'],
    '/a//../b': ['/a/b', '/b'],
    '/a\\b': ['/a/b'],
    '/a;x=1/b': ['/a/b'],
    '/a/..;/b': ['/a/../b', '/b'],
    // some take parameters out before they decode, and what is escaped in them is never a slash
    '/a%3ab;%2f': ['/a%3ab', '/a:b;/', '/a:b/', '/a:b'],
    '/a#b': ['/a'],
    '/%252e': ['/%2e', '/.', '/'],
    '/a%20b': ['/a b'],
    '/c%c3%a9': ['/c\xc3\xa9'],
    '/a%c0%afb': ['/a/b'],
    '/a%00.png': ['/a\0.png', '/a'],
  }
  for (const [path, expected] of Object.entries(cases))
    assert.deepEqual(new Set(readings(path)), new Set(expected), path)
})

test('however often a path is escaped, its plainest reading is found, and it costs in proportion to the length', () => {
  const escaped = (depth: number): string => `/%${'25'.repeat(depth)}61dmin`
  for (const depth of [0, 1, 2, 3, 4, 40]) assert.ok(readings(escaped(depth)).includes('/admin'), `${depth} times`)
  const before = process.cpuUsage()
  for (const trick of ['%25', '%2e/', '/..', ';/', '//', '\\..', '%'])
    readings(`/${trick.repeat(60_000 / trick.length)}`)
  for (const { part } of WAYS) part(`/${';'.repeat(60_000)}`)
  assert.ok(process.cpuUsage(before).user < 1e6)
})

/** Another spelling of a path that a decoding, resolving and merging server takes for the same. */
const segment = fc.stringMatching(/^[a-z0-9]{1,4}$/)
const disguise = fc
  .tuple(fc.array(segment, { minLength: 1, maxLength: 4 }), fc.infiniteStream(fc.nat({ max: 99 })))
  .map(([segments, dice]) => {
    const roll = (): number => dice.next().value as number
    const letter = (one: string): string => {
      const hex = one.charCodeAt(0).toString(16)
      const chance = roll()
      if (chance < 70) return one
      return chance < 80 ? one.toUpperCase() : `%${'25'.repeat(chance % 4)}${chance < 90 ? hex : hex.toUpperCase()}`
    }
    const slash = (): string => {
      const chance = roll()
      if (chance < 60) return '/'
      const others = ['//', '/./', '/%2e/', '\\', '%2f', '%5C', '/x/../', '/x%2F..%2f', '/%252e/', '/x/..;v=1/', '/.;/']
      return others[chance % others.length] as string
    }
    const text = segments
      .map((one) => `${slash()}${[...one].map(letter).join('')}${roll() < 10 ? ';k=v' : ''}`)
      .join('')
    return { plain: `/${segments.join('/')}`, disguised: text.startsWith('/') ? text : `/${text}` }
  })

test('no spelling of a path gets round what denies it, and none of what it is not gets through', () => {
  fc.assert(
    fc.property(disguise, ({ plain, disguised }) => {
      assert.equal(isFound(plain, disguised, true), true, disguised)
      assert.equal(isFound(`${plain.slice(0, 2)}*`, disguised, true), true, disguised)
      // who may have this one path alone has it to the letter, or not at all
      if (disguised !== plain) assert.equal(isFound(plain, disguised, false), false, disguised)
    }),
    { numRuns: 3000, seed: 7 },
  )
})

test('what is allowed by its beginning does not lead out of it', () => {
  for (const target of [
    '/public/../admin',
    '/public/%2e%2e/admin',
    '/public/..%2fadmin',
    '/public/..;/admin',
    '/public/..%252fadmin',
    '/public\\..\\admin',
  ]) {
    assert.equal(isFound('/public/*', target, false), false, target)
    assert.equal(isFound('/admin', target, true), true, target)
  }
  for (const target of ['/public/a', '/public/a%20b', '/public/a;v=1', '/public/a//b', '/public/x/../a']) {
    assert.equal(isFound('/public/*', target, false), true, target)
  }
})

test('a path that a value is written as is allowed by it', () => {
  for (const value of ['/a%20b', '/a%2Fb', '/a//b', '/a;v=1', '/x%2541', '/a/../b']) {
    assert.equal(isFound(value, value, false), true, value)
    assert.equal(isFound(`${value}/*`, `${value}/c`, false), !value.includes('..'), value)
    assert.equal(isFound(value, value, true), true, value)
  }
  assert.equal(isFound('/a%2Fb', '/a/b', false), false)
  assert.equal(isFound('/{*}/a%20b', '/x/a%20b', false), true)
  assert.equal(isFound('/é', '/%c3%a9', true), true)
  assert.equal(isFound('/a%2a', '/abc', true), false, 'an escaped star is none')
})

test('what is allowed in an odd spelling is not allowed in what another server takes that for', () => {
  assert.equal(isFound('/a%2Fb/*', '/a%2Fb/../../a/b/secret', false), false)
  assert.equal(isFound('/a;v=1/*', '/a;v=1/../a/secret', false), false)
})

test('who denies an odd spelling does not deny the usual one', () => {
  for (const [value, usual] of [
    ['//*', '/a'],
    ['/a%2F*', '/a/b'],
    ['/a/.*', '/a/b'],
    ['*;v=1', '/a'],
  ] as const) {
    assert.equal(isFound(value, usual, true), false, value)
  }
})

test('templates stand for segments', () => {
  for (const [template, path, expected] of [
    ['/foo/{*}', '/foo/bar', true],
    ['/foo/{*}', '/foo/', false],
    ['/foo/{*}', '/foo/bar/', false],
    ['/foo/{*}', '/foo/bar/baz', false],
    ['/foo/{**}', '/foo/', true],
    ['/foo/{**}', '/foo/a/b', true],
    ['/foo/{**}/', '/foo/bar/', true],
    ['/foo/{**}/', '/foo//', true],
    ['/foo/{**}/', '/foo/bar', false],
    ['/foo/{*}/bar/{**}', '/foo/buzz/bar/', true],
    ['/foo/{*}/bar/{**}', '/foo/buzz/bar/baz', true],
    ['/foo/{*}/bar/{**}', '/foo/buzz/barbaz', false],
    ['/{*}/{*}', '/a/b', true],
    ['/{*}/{*}', '/a', false],
    ['/{**}/end', '/a/b/end', true],
    ['/{**}/end', '/a/b/end/x', false],
  ] as const) {
    for (const isWide of [true, false]) {
      if (path.includes('//') && !isWide) continue // it is `/foo/` too
      assert.equal(isFound(template, path, isWide), expected, `${template} ${path} ${isWide}`)
    }
  }
  assert.equal(isFound('/Foo/{*}', '/foO/x', true), true)
})

test('a template that cannot be meant is refused', () => {
  for (const value of [
    '/*/baz/{*}',
    '/**/baz/{*}',
    '/{**}/foo/{*}',
    '/foo/{*}.txt',
    '/{*}{*}',
    'a/{*}',
    '/a?/{*}',
    '/{x}/{*}',
    '/{**}/{**}',
    '/a//{*}',
    '/a/{*}/{*',
  ]) {
    assert.throws(() => isFound(value, '/', true), /cannot be meant/, value)
  }
})

test('a target goes on as the mesh has it', () => {
  const cases: readonly (readonly [string, base: string | null, merge: string | null, decode: string | null])[] = [
    ['/a/b?x=//../%2e', '/a/b?x=//../%2e', '/a/b?x=//../%2e', '/a/b?x=//../%2e'],
    ['/a/../b?q', '/b?q', '/b?q', '/b?q'],
    ['/a/%2e%2E/b', '/b', '/b', '/b'],
    ['/a\\b', '/a/b', '/a/b', '/a/b'],
    ['/a//b', '/a//b', '/a/b', '/a/b'],
    ['/a//../b', '/a/b', '/a/b', '/a/b'],
    ['/a%2fb%5Cc', '/a%2fb%5Cc', '/a%2fb%5Cc', '/a/b/c'],
    ['/%61%2d%5f%7e%30%5A', '/a-_~0Z', '/a-_~0Z', '/a-_~0Z'],
    ['/%20%40%25%5b%7b', '/%20%40%25%5b%7b', '/%20%40%25%5b%7b', '/%20%40%25%5b%7b'],
    ['/%252e%252e/a', '/%252e%252e/a', '/%252e%252e/a', '/%252e%252e/a'],
    ['/a/..%2f..%2fb', '/a/..%2f..%2fb', '/a/..%2f..%2fb', '/b'],
    ['/a/.', '/a/', '/a/', '/a/'],
    ['/a/..', '/', '/', '/'],
    ['/..', '/', '/', '/'],
    ['/.well-known/a', '/.well-known/a', '/.well-known/a', '/.well-known/a'],
    ['/a;v/..;/b', '/a;v/..;/b', '/a;v/..;/b', '/a;v/..;/b'],
    ['/a%00', null, null, null],
    ['/a#b', null, null, null],
    ['*', '*', '*', '*'],
    ['host:443', 'host:443', 'host:443', 'host:443'],
    ['/%zz%', '/%zz%', '/%zz%', '/%zz%'],
  ]
  for (const [target, ...expected] of cases) {
    const got = PATH_NORMALIZATIONS.map((how) => normalizedTarget(target, how))
    assert.deepEqual(got, [expected[0] === null ? null : target, ...expected], target)
  }
})

test('a target that went on once goes on as it is', () => {
  const part = fc.constantFrom('/', '//', '.', '..', '%2e', '%2F', '%5c', '\\', 'a', '%61', '%25', '?', ';', '%')
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 12 }),
      fc.constantFrom(...PATH_NORMALIZATIONS.slice(0, 3)),
      (parts, how) => {
        const once = normalizedTarget(`/${parts.join('')}`, how) ?? '/'
        // an escape may come of two, which a second look would decode: none does twice
        if (!/%(25|$|[^0-9a-f])/i.test(once)) assert.equal(normalizedTarget(once, how), once)
        assert.ok(once.startsWith('/'))
      },
    ),
    { numRuns: 2000, seed: 7 },
  )
})
