import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { bundleAgent, contributors, placedCode } from './bundle.ts'

test('packages that gave code are told, with those inside others; what gave none is not', () => {
  const input = (bytesInOutput: number): { bytesInOutput: number } => ({ bytesInOutput })
  const output = {
    ...{ bytes: 1, imports: [], exports: [] },
    inputs: {
      'agent/main.ts': input(9),
      'node_modules/b/lib/x.js': input(1),
      'node_modules/@scope/a/index.js': input(1),
      'node_modules/b/node_modules/@scope/c/index.js': input(1),
      'node_modules/unused/index.js': input(0),
    },
  }
  const folders = ['node_modules/@scope/a', 'node_modules/b', 'node_modules/b/node_modules/@scope/c']
  assert.deepEqual(contributors({ outputs: { 'main.js': output, 'other.js': output } }), folders)
})

test('a file finds what is beside it as if it were in its place, as JavaScript', () => {
  const place = (path: string, code: string): string => placedCode(path, code)
  assert.equal(place('node/a.ts', 'f(import.meta.url)'), 'f(new URL("node/a.js", import.meta.url).href)')
  assert.equal(place('node/a.ts', 'import.meta.dirname'), '(import.meta.dirname + "/node")')
  assert.equal(place('a.ts', 'import.meta.dirname'), '(import.meta.dirname + "")')
  assert.equal(place('node/a.ts', 'import.meta.filename'), '(import.meta.dirname + "/node/a.js")')
  assert.equal(place('node/a.ts', 'import.meta.main'), 'import.meta.main')
})

/** Files of a folder with what is in them, by path. */
function contents(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = files.map(({ parentPath, name }) => join(parentPath, name)).toSorted()
  return Object.fromEntries(paths.map((path) => [path.slice(folder.length), readFileSync(path, 'utf8')]))
}

test('a bundle is the same wherever it is made, names no folder of the machine, and tells whose code it has', async (t) => {
  const project = dirname(import.meta.dirname)
  const folders = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'weft-bundle-')))
  t.after(() => folders.forEach((folder) => rmSync(folder, { recursive: true })))
  await Promise.all(folders.map((folder) => bundleAgent(project, folder)))
  const [one = {}, other] = folders.map(contents)
  assert.deepEqual(one, other)
  for (const [path, text] of Object.entries(one)) assert.ok(!text.includes(`${project}/`), path)
  assert.ok('/agent/main.js' in one && '/agent/worker.js' in one)
  const { name, version } = JSON.parse(one['/node_modules/@kubernetes/client-node/package.json'] ?? '') as {
    name: string
    version: string
  }
  assert.equal(name, '@kubernetes/client-node')
  assert.match(version, /^\d+\.\d+\.\d+/)
  assert.ok('/node_modules/@kubernetes/client-node/LICENSE' in one)
  const classes = Object.values(one).filter((text) => /\bclass V1PodSpec\b/.test(text))
  assert.equal(classes.length, 0, 'generated classes that nothing uses')
})
