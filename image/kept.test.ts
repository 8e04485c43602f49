import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isKept, packageName, productionPackages } from './kept.ts'

test('code, data and licences of a package are kept; what is for its readers and builders is not', () => {
  for (const path of [
    'index.js',
    'dist/a/b.mjs',
    'lib/c.cjs',
    'locales/en.json',
    'a.wasm',
    'LICENSE',
    'docs/NOTICE.md',
  ])
    assert.ok(isKept('any', path), path)
  for (const path of ['index.d.ts', 'index.js.map', 'README.md', 'src/a.ts', 'test/a.js', 'lib/a_test.js', 'a.spec.js'])
    assert.ok(!isKept('any', path), path)
})

test('a package within a package is one of its own', () => {
  assert.ok(!isKept('outer', 'node_modules/inner/index.js'))
  assert.equal(packageName('node_modules/outer/node_modules/@scope/inner'), '@scope/inner')
})

test('what is not for Node is left out of those packages that carry it', () => {
  assert.ok(isKept('yaml', 'dist/index.js'))
  assert.ok(!isKept('yaml', 'browser/dist/index.js'))
  assert.ok(isKept('other', 'browser/index.js'))
})

test('the packages are those of the lock file that are no dependency of development', () => {
  const packages = {
    ...{ '': {}, 'node_modules/b': {}, 'node_modules/a': {}, 'node_modules/a/node_modules/c': {} },
    ...{ 'node_modules/d': { dev: true }, 'node_modules/@types/e': {}, 'node_modules/node': {} },
  }
  const folders = productionPackages(JSON.stringify({ packages }))
  assert.deepEqual(folders, ['node_modules/a', 'node_modules/a/node_modules/c', 'node_modules/b'])
})
