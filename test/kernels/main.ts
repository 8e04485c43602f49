// `npm run test:kernels`: boots Debian's packaged kernels, the newest of each line, and runs smoke.ts in each.
// `npm run test:kernels -- FILE.deb…` boots those of the packages instead.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { layTree, pack } from './initramfs.ts'
import { boot } from './machine.ts'
import { fetch, offered, unpack } from './packages.ts'

const cache = join(import.meta.dirname, '..', '..', '.kernels')
const tailLines = 60

interface Verdict {
  readonly passed: number
  readonly failed: number
}

/** Boots the kernel of one package in `folder`, which is gone afterwards, and says how it went. */
async function judge(deb: string, tree: string, folder: string): Promise<Verdict> {
  mkdirSync(folder)
  try {
    const kernel = unpack(deb, join(folder, 'kernel'))
    const archive = join(folder, 'initramfs')
    pack(tree, kernel, archive)
    const run = await boot(kernel, archive, stop.signal)
    const [, passed, failed] = /^smoke: (\d+) passed, (\d+) failed$/m.exec(run.console)?.map(Number) ?? []
    // one that never came to the end has failed as a whole
    const verdict = passed === undefined || failed === undefined ? { passed: 0, failed: 1 } : { passed, failed }
    const good = verdict.failed === 0 && verdict.passed > 0
    if (!good) console.log(run.console.trimEnd().split('\n').slice(-tailLines).join('\n'))
    const booted = run.bootedS === null ? 'never booted' : `boot ${run.bootedS.toFixed(0)} s`
    const took = `${booted}, in all ${run.totalS.toFixed(0)} s`
    console.log(`${good ? '✓' : '✗'} ${kernel.release}: ${verdict.passed} passed, ${verdict.failed} failed (${took})`)
    const counts = [...run.console.matchAll(/^# (\w+: \d+) instructions verified\r?$/gm)].map(([, count]) => count)
    if (good) console.log(`  instructions verified: ${counts.join(', ')}`)
    return verdict
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function chosen(files: readonly string[]): string[] {
  if (process.arch !== 'x64') throw new Error(`the kernels are made for x86-64, and this machine is ${process.arch}`)
  if (files.length > 0) return files.map((file) => resolve(file))
  const names = offered()
  if (names.length === 0) throw new Error('no package list here names a kernel of Debian (try: apt-get update)')
  return fetch(names, cache)
}

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())

const folder = mkdtempSync(join(tmpdir(), 'weft-kernels-'))
const total = { passed: 0, failed: 0 }
try {
  const debs = chosen(process.argv.slice(2))
  const tree = join(folder, 'tree')
  layTree(tree, join(folder, 'parts'))
  for (const [i, deb] of debs.entries()) {
    if (stop.signal.aborted) break
    const { passed, failed } = await judge(deb, tree, join(folder, `${i}`))
    total.passed += passed
    total.failed += failed
  }
} catch (error) {
  total.failed++
  console.log(`✗ ${(error as Error).message}`)
} finally {
  rmSync(folder, { recursive: true })
}
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed > 0 || total.passed === 0 || stop.signal.aborted ? 1 : 0
