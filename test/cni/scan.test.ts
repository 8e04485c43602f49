// The plug-in's scanner against JSON.parse, on a build that watches its own memory and arithmetic.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import fc from 'fast-check'

const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'weft-scan-'))
const program = join(folder, 'scan-lines')
const RUN_MS = 60_000
/** Documents, half of them spoilt. */
const DOCUMENTS = 4_000

before(async () => {
  const sources = ['test/cni/scan-lines.c', 'native/cni/scan.c'].map((path) => join(root, path))
  const watched = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-g', '-O1']
  const flags = ['-std=c17', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', ...watched]
  await promisify(execFile)('gcc', [...flags, '-o', program, ...sources], { timeout: RUN_MS })
})
after(() => rmSync(folder, { recursive: true }))

/** What the scanner says of each document. */
function scanned(documents: readonly Buffer[]): Promise<string[]> {
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'pipe'], timeout: RUN_MS })
  let [said, complaint] = ['', '']
  child.stdout.on('data', (text: Buffer) => (said += text.toString()))
  child.stderr.on('data', (text: Buffer) => (complaint += text.toString()))
  child.stdin.on('error', () => undefined).end(documents.map((each) => `${each.toString('hex')}\n`).join(''))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(said.split('\n').slice(0, -1))
      else reject(new Error(`exit ${code}: ${complaint.slice(0, 4000)}`))
    })
  })
}

/** What it should say: whether it is an object, and the two members; undefined where none is told. */
function judged(document: Buffer): { readonly prevResult: unknown; readonly socket: unknown } | null {
  try {
    const json: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(document))
    if (typeof json !== 'object' || json === null || Array.isArray(json)) return null
    const { prevResult, socket } = json as { readonly prevResult?: unknown; readonly socket?: unknown }
    return { prevResult, socket }
  } catch {
    return null
  }
}

const isUtf8 = (document: Buffer): boolean => Buffer.compare(Buffer.from(document.toString('utf8')), document) === 0

const escaped = (text: string): string =>
  JSON.stringify(text).replace(/[/a-f]/g, (c) =>
    c === '/' ? '\\/' : `\\u00${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )

/** Configurations, as libraries may write them. */
const configuration = fc
  .record(
    {
      socket: fc.oneof(fc.string({ unit: 'grapheme' }), fc.string(), fc.jsonValue()),
      prevResult: fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue()),
      timeoutSeconds: fc.oneof(fc.nat(), fc.double(), fc.string()),
      other: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  .chain((json) =>
    fc.constantFrom(
      JSON.stringify(json),
      ` ${JSON.stringify(json, null, '\t')}\r\n`,
      `{"socket" : ${typeof json.socket === 'string' ? escaped(json.socket) : '1'} ,"x":[1e5,-0.1E-2,true,null]}`,
    ),
  )

/** One of the bytes that mean something is put, or a piece taken out or doubled, somewhere. */
const spoilt = fc
  .tuple(configuration, fc.nat(), fc.nat(8), fc.constantFrom(...'{}[]",:\\u0-.eE+ tfn\u0000\n', ''))
  .map(([text, at, length, put]) => {
    const bytes = Buffer.from(text)
    const from = at % (bytes.length + 1)
    return Buffer.concat([bytes.subarray(0, from), Buffer.from(put), bytes.subarray(from + length)])
  })

test('what is an object, and what its members are, is as JSON.parse has it, and nothing is out of bounds', async () => {
  const whole = configuration.map((text) => Buffer.from(text))
  const documents = fc.sample(fc.oneof(whole, spoilt), DOCUMENTS).filter(isUtf8)
  const says = await scanned(documents)
  assert.equal(says.length, documents.length)
  let objects = 0
  documents.forEach((document, index) => {
    const [mark, result = '', socket = ''] = (says[index] as string).split(' ')
    const expected = judged(document)
    assert.equal(mark, expected === null ? '-' : '+', document.toString())
    if (expected === null) return
    objects++
    const found = result === '' ? undefined : (JSON.parse(Buffer.from(result, 'hex').toString()) as unknown)
    assert.deepEqual(found, expected.prevResult, document.toString())
    const text = Buffer.from(socket, 'hex').toString()
    const isTold = typeof expected.socket === 'string' && isPath(expected.socket)
    assert.equal(text, isTold ? expected.socket : '', document.toString())
  })
  assert.ok(objects > DOCUMENTS / 4 && objects < DOCUMENTS, `${objects} objects`)
})

/** What can be a C string of the program's room. */
const isPath = (text: string): boolean => !text.includes('\0') && text.isWellFormed() && Buffer.byteLength(text) < 24

test('what is nested too deep is no configuration', async () => {
  const nested = (depth: number): Buffer => Buffer.from(`{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`)
  const says = await scanned([nested(126), nested(200), nested(15_000), Buffer.from(''), Buffer.from('{'.repeat(9000))])
  assert.deepEqual(
    says.map((each) => each.trim()),
    ['+', '-', '-', '-', '-'],
  )
})
