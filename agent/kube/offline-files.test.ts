import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Manifests, parseManifests, readTexts } from './offline-files.ts'

const parsed = (text: string): Manifests => parseManifests({ file: 'a.yaml', text }, 'shop')
const names = ({ manifests }: Manifests): string[] =>
  manifests.map(({ object: { kind, metadata } }) => `${kind} ${metadata.namespace}/${metadata.name}`)

const TWO = `# a comment first
apiVersion: v1
kind: Service
metadata: { name: front }
---
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: front
  namespace: other
  labels: { a: b, c: 1 }
spec:
  hosts: [front]
  http:
    - match:
        - headers:
            x.y: { exact: a }
      route:
        - destination:
            host: catalog
`

test('every document is read, and knows the lines of its fields', () => {
  const found = parsed(TWO)
  assert.deepEqual(names(found), ['Service shop/front', 'VirtualService other/front'])
  const [service, rules] = found.manifests
  assert.equal(service?.source?.lineOf(''), 2)
  assert.deepEqual(rules?.object.metadata.labels, { a: 'b' })
  const lines = {
    '': 7,
    'spec.hosts[0]': 14,
    'spec.http[0]': 16,
    'spec.http[0].match[0].headers.x.y.exact': 18,
    'spec.http[0].route[0].destination.host': 21,
    'spec.http[0].route[0].destination.subset': 20, // not there: its parent is
    'spec.http[7].route': 15,
    'nothing.of.it': 7,
  }
  for (const [field, line] of Object.entries(lines)) assert.equal(rules?.source?.lineOf(field), line, field)
})

test('lists are their items, JSON is YAML, aliases are what they name', () => {
  const list = parsed(`apiVersion: v1
kind: List
items:
  - { apiVersion: v1, kind: Service, metadata: { name: a } }
  - { apiVersion: v1, kind: Namespace, metadata: { name: b } }
`)
  assert.deepEqual(names(list), ['Service shop/a', 'Namespace undefined/b'])
  assert.equal(list.manifests[1]?.source?.lineOf('spec'), 5)
  assert.deepEqual(names(parsed('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"b"}}')), [
    'Pod b/a',
  ])
  const aliased = parsed('apiVersion: v1\nkind: Pod\nmetadata: &m\n  name: a\nspec: *m\n')
  assert.equal(aliased.manifests[0]?.source?.lineOf('spec.name'), 4)
})

test('what is no object is told with its line, and the rest is read', () => {
  const rows: readonly [text: string, line: number, reason: RegExp][] = [
    ['a: [}', 1, /./],
    ['apiVersion: v1\nkind: Pod\n', 1, /without metadata.name/],
    ['---\n# nothing\n---\njust text\n', 4, /is no object/],
    ['kind: Pod\nmetadata: { name: a }', 1, /no apiVersion/],
    ['apiVersion: v1\nkind: Pod\nkind: Service\nmetadata: { name: a }', 3, /unique/],
    ['apiVersion: v1\nkind: Pod\nmetadata: { name: a, namespace: 7 }', 1, /namespace is no text/],
  ]
  for (const [text, line, reason] of rows) {
    const { unreadable, manifests } = parsed(`${text}\n---\napiVersion: v1\nkind: Pod\nmetadata: { name: sound }\n`)
    assert.equal(unreadable.length, 1, text)
    assert.equal(unreadable[0]?.line, line, text)
    assert.match(unreadable[0]?.reason ?? '', reason)
    assert.equal(manifests.length, 1, text)
  }
  const bomb = ['a: &a [x, x, x, x, x, x, x, x, x, x]']
  for (const [one, other] of ['ab', 'bc', 'cd', 'de']) {
    bomb.push(`${other}: &${other} [${Array(10).fill(`*${one}`).join()}]`)
  }
  assert.match(parsed(`apiVersion: v1\nkind: Pod\n${bomb.join('\n')}\n`).unreadable[0]?.reason ?? '', /alias/i)
})

test('no text brings it down, and every line is one of the text', () => {
  const words = fc.constantFrom(
    'apiVersion: v1\n',
    'kind: Pod\n',
    'metadata:\n',
    '  name: a\n',
    '---\n',
    '- ',
    '&a ',
    '*a\n',
  )
  const texts = fc.array(fc.oneof(words, fc.string({ maxLength: 5 })), { maxLength: 12 }).map((parts) => parts.join(''))
  fc.assert(
    fc.property(texts, fc.string({ maxLength: 10 }), (text, field) => {
      const { manifests, unreadable } = parsed(text)
      const lines = [
        ...manifests.map(({ source }) => source?.lineOf(field) ?? 0),
        ...unreadable.map(({ line }) => line),
      ]
      for (const line of lines) assert.ok(line >= 1 && line <= text.split(/\r\n|\r|\n/).length + 1, `${line}`)
    }),
  )
})

test('a folder is its manifests at any depth, in order; what is not there is an error', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'weft-files-'))
  t.after(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, 'b'))
  await mkdir(join(folder, '.hidden'))
  for (const file of ['c.yml', 'a.YAML', 'b/z.json', '.hidden/a.yaml', 'notes.md'])
    await writeFile(join(folder, file), file)
  async function* input(): AsyncGenerator<Uint8Array> {
    yield new TextEncoder().encode('in')
    yield new TextEncoder().encode('put')
  }
  const read = await readTexts([folder, '-', join(folder, 'notes.md')], input())
  assert.deepEqual(
    read.map(({ text }) => text),
    ['a.YAML', 'b/z.json', 'c.yml', 'input', 'notes.md'],
  )
  await assert.rejects(readTexts([join(folder, 'nothing')], input()), /no such file/)
})
