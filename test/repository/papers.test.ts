import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repository, textOf, writtenFiles } from './sources.ts'

const documents = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md']
const folders = 'agent|native|bpf|charts|image|lab|test|examples|\\.ci'

/** Paths as documents name them: in backquotes or as the target of a link, from the root of the repository. */
function pathsIn(text: string): string[] {
  const quoted = [...text.matchAll(new RegExp(`(?:^|[\\s\`(])((?:${folders})/[\\w./-]*)`, 'gm'))].map(
    ([, path]) => path,
  )
  const linked = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path]) => path)
  return [...quoted, ...linked].filter((path) => path !== undefined).map((path) => path.replace(/[.,]+$/, ''))
}

for (const document of documents) {
  test(`every path that ${document} names exists`, () => {
    const paths = pathsIn(textOf(document))
    assert.deepEqual(
      paths.filter((path) => !existsSync(join(repository, path))),
      [],
    )
  })

  test(`every npm script that ${document} names exists`, () => {
    const { scripts } = JSON.parse(textOf('package.json'))
    const named = [...textOf(document).matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name ?? '')
    assert.deepEqual(
      named.filter((name) => !(name in scripts)),
      [],
    )
  })
}

test('paths are found in prose, code blocks and links', () => {
  const text =
    'See `agent/model/route.ts`, and\n  lab/setup.mjs, [the law](ARCHITECTURE.md) or [web](https://x.y/agent/z).'
  assert.deepEqual(pathsIn(text), ['agent/model/route.ts', 'lab/setup.mjs', 'ARCHITECTURE.md'])
})

test('no file holds a path of the machine it was written on', () => {
  // nodes of GKE keep the programs of CNI in a home
  const machine = new RegExp(
    ['/work', '/home(?!/kubernetes/bin)', '/root', '/Users'].map((folder) => `${folder}/[\\w.-]+`).join('|'),
  )
  const found = writtenFiles().flatMap((file) => {
    const [path] = textOf(file).match(machine) ?? []
    return path === undefined ? [] : [`${file}: ${path}`]
  })
  assert.deepEqual(found, [])
})

test('the lock file names no registry, so that it works with every mirror', () => {
  const lock = textOf('package-lock.json')
  assert.ok(!lock.includes('"resolved"'), 'no resolved lines')
  assert.ok(lock.includes('"integrity"'), 'but digests')
})

test('every dependency has one exact version', () => {
  const { dependencies, devDependencies } = JSON.parse(textOf('package.json'))
  const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
    ([, version]) => !/^\d+\.\d+\.\d+$/.test(String(version)),
  )
  assert.deepEqual(loose, [])
})
