// Every command of the guides, run in their order in one cluster: the documents are what an operator has.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { PROJECT } from '../../lab/state.ts'
import { TestLab } from '../lab/lab.ts'
import { findHelm, NO_HELM } from '../helm.ts'
import { type Block, blocksOf, missingIn } from './blocks.ts'

/** In the order in which they can be followed. */
const GUIDES = [
  'install',
  'first-steps',
  'gradual-mtls',
  'resource-limits',
  'security',
  'troubleshooting',
  'migration',
  'uninstall',
]
const BLOCK_TIMEOUT_MS = 150_000

const DOCS = join(PROJECT, 'docs')
const helm = findHelm()

let lab: TestLab
let folder: string

before(async () => {
  if (helm === null) return
  lab = await TestLab.make()
  await lab.up('', '--nodes', '2')
  folder = await shims()
})
after(async () => {
  if (helm !== null) await lab.end()
})

/** A folder of programs ahead of the machine's: helm, and a kubectl whose `exec` is the lab's. */
async function shims(): Promise<string> {
  const at = join(dirname(lab.place.folder), 'bin')
  await mkdir(at, { recursive: true })
  const lines = [
    '#!/bin/bash',
    '# kubectl --namespace NS exec POD -- COMMAND: the lab does not serve exec by its API',
    'if [ "$1" = --namespace ] && [ "$3" = exec ]; then',
    '  namespace=$2; pod=$4; shift 5',
    `  cd ${dirname(lab.place.folder)} && exec ${process.execPath} ${join(PROJECT, 'lab/main.ts')} exec "$namespace/$pod" -- "$@"`,
    'fi',
    `PATH=\${PATH#${at}:} exec kubectl "$@"`,
  ]
  const programs = {
    kubectl: lines.join('\n'),
    ...(helm === null || helm === 'helm' ? {} : { helm: `#!/bin/sh\nexec ${helm} "$@"` }),
  }
  for (const [name, text] of Object.entries(programs)) {
    await writeFile(join(at, name), `${text}\n`)
    await chmod(join(at, name), 0o755)
  }
  return at
}

/** Runs a block as it would be pasted, in a clone of the project. Resolves to what it printed; throws that where it fails. */
function paste({ commands }: Block): Promise<string> {
  const env = {
    ...process.env,
    KUBECONFIG: lab.place.kubeconfig,
    HELM_CACHE_HOME: join(folder, 'cache'),
    PATH: [folder, dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter),
  }
  return new Promise((resolve, reject) => {
    const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe']
    const child = spawn('bash', ['-e', '-o', 'pipefail', '-c', commands], {
      cwd: PROJECT,
      env,
      stdio,
      timeout: BLOCK_TIMEOUT_MS,
    })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (bytes: Buffer) => (stdout += bytes.toString()))
    child.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout)
      else reject(new Error(`${commands}\nended with ${signal ?? `exit code ${code}`}:\n${stdout}${stderr}`))
    })
  })
}

for (const guide of GUIDES) {
  test(`docs/${guide}.md does what it says`, async (t) => {
    if (helm === null) return t.skip(NO_HELM)
    const beganMs = performance.now()
    const blocks = blocksOf(await readFile(join(DOCS, `${guide}.md`), 'utf8'))
    assert.ok(blocks.length > 0)
    for (const block of blocks) {
      const output = await paste(block)
      const missing = missingIn(output, block.prints)
      assert.equal(missing, null, `line ${block.line}: "${missing}" is not in what it printed:\n${output}`)
    }
    t.diagnostic(`${blocks.length} blocks of commands in ${((performance.now() - beganMs) / 1000).toFixed(1)} s`)
  })
}

test('no other document has commands that nobody runs', async () => {
  const known = new Set(GUIDES)
  const names = (await readdir(DOCS)).filter((name) => name.endsWith('.md')).map((name) => name.replace(/\.md$/, ''))
  const texts = await Promise.all(
    names.map(async (name) => [name, await readFile(join(DOCS, `${name}.md`), 'utf8')] as const),
  )
  const strangers = texts.filter(([name, text]) => !known.has(name) && blocksOf(text).length > 0)
  assert.deepEqual(
    strangers.map(([name]) => name),
    [],
  )
})
