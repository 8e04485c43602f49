// `npm run bench`: Weft beside nginx and haproxy, one after another, round after round, on the same machine and the same
// upstream. What counts is the ratio within one run: CPU time of the proxy's process for each request.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import yargs from 'yargs'
import { hideBin } from 'yargs/helpers'
import { compare, KINDS, type Kind } from './compare.ts'
import { versions } from './proxies.ts'
import { isSound, table } from './report.ts'

const KIND_NAMES = Object.keys(KINDS) as Kind[]

const given = await yargs(hideBin(process.argv))
  .options({
    rounds: { type: 'number', default: 7, describe: 'How often each proxy is measured' },
    seconds: { type: 'number', default: 3, describe: 'Length of a measurement' },
    rows: { type: 'string', array: true, default: KIND_NAMES, choices: KIND_NAMES, describe: 'Bytes of an answer' },
    'warm-up': { type: 'number', default: 3, describe: 'Seconds of load ahead of the first measurement' },
    out: { type: 'string', default: join(import.meta.dirname, 'results/latest.json'), describe: 'Where figures go' },
  })
  .strict()
  .parse()

const { rounds, seconds } = given
const rows = await compare(given.rows, { rounds, seconds, warmUpSeconds: given['warm-up'] }, (line) =>
  process.stderr.write(`${line}\n`),
)
const ran = versions()
mkdirSync(dirname(given.out), { recursive: true })
writeFileSync(
  given.out,
  `${JSON.stringify({ at: new Date().toISOString(), ...ran, rounds, seconds, rows }, null, 2)}\n`,
)
const lines = Object.entries(ran).map(([what, text]) => `${what}: ${text}`)
process.stdout.write(`${table(rows)}\n\n${lines.join('\n')}\n`)
if (!rows.every(isSound)) process.exitCode = 1
