// `npm test`: every test of the repository, in five passes. Tests beside pure code run in parallel; of what stands under
// test/, what needs nothing of the machine runs three files at a time, labs run two and the rest one (together.ts says
// which); the last pass looks whether the others left anything behind.
// `npm test -- PATH…` runs only the files whose path starts with one of the words.
import { globSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative } from 'node:path'
import { run } from 'node:test'
import { emptyTally, joined, lineOf, skipsBeyond, type Tally, tallyLines } from './tally.ts'
import { type Company, companyOf, longestFirst } from './together.ts'
import { tracesNow } from './traces.ts'

const repository = join(import.meta.dirname, '..', '..')
const leftBehind = 'test/repository/left-behind.test.ts'
/** A test takes no longer; a file whose tests are over and that does not end is deadline.ts' to end. */
const testTimeoutMs = 240_000
const ROOMS = ['agent', 'charts', 'image', 'lab', 'test']
const skipsFile = join(import.meta.dirname, 'skips.json')

interface Pass {
  readonly name: string
  readonly files: readonly string[]
  readonly concurrency: number
}

function passes(words: readonly string[]): Pass[] {
  const wanted = (file: string): boolean => words.length === 0 || words.some((word) => file.startsWith(word))
  const all = globSync(`{${ROOMS.join(',')}}/**/*.test.ts`, { cwd: repository }).sort()
  const files = all.filter(wanted).filter((file) => file !== leftBehind)
  const of = (company: Company): string[] => files.filter((file) => companyOf(file) === company)
  const [together, labs, alone] = [longestFirst(of('together')), longestFirst(of('two labs')), of('alone')]
  const last = together.length + labs.length + alone.length > 0 ? [leftBehind] : []
  return [
    { name: 'beside the code', files: of('beside the code'), concurrency: availableParallelism() },
    { name: 'across rooms', files: together, concurrency: 1 + Math.min(2, availableParallelism()) }, // mostly they wait
    { name: 'in labs', files: labs, concurrency: Math.min(2, availableParallelism()) },
    { name: 'in the kernel', files: alone, concurrency: 1 },
    { name: 'nothing left behind', files: last, concurrency: 1 },
  ].filter(({ files: chosen }) => chosen.length > 0)
}

async function runPass({ name, files, concurrency }: Pass): Promise<Tally> {
  console.log(`\n${name}: ${files.length} files, ${concurrency} at a time`)
  const tally = emptyTally()
  const events = run({
    files: files.map((file) => join(repository, file)),
    concurrency,
    timeout: testTimeoutMs,
    signal: stop.signal,
    execArgv: ['--import', join(import.meta.dirname, 'deadline.ts')],
  })
  for await (const event of events) {
    const line = lineOf(event, tally, (file) => relative(repository, file))
    if (line !== undefined) console.log(line)
  }
  return tally
}

// Whoever stops us wants the files that run to end too.
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())

const started = performance.now()
// The last pass compares with this: what was there before is not ours to answer for.
process.env['WEFT_TRACES_BEFORE'] = JSON.stringify(tracesNow())
let total = emptyTally()
for (const pass of passes(process.argv.slice(2))) total = joined(total, await runPass(pass))

const allowed = JSON.parse(readFileSync(skipsFile, 'utf8')) as Record<string, number>
const excess = skipsBeyond(total.skips, allowed)
for (const failure of total.failures) console.log(`\n✗ ${failure}`)
for (const skip of total.skips) console.log(`skipped: ${skip}`)
for (const line of excess) console.log(`✗ ${line} (${relative(repository, skipsFile)})`)
if (total.tests === 0) console.log('\n✗ no test ran')
console.log(tallyLines(total, performance.now() - started).join('\n'))
process.exitCode = total.failed + total.cancelled > 0 || excess.length > 0 || total.tests === 0 ? 1 : 0
