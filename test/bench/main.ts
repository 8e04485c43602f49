// `npm run bench`: Weft beside nginx, haproxy and Envoy, one after another, round after round, on the same machine and the
// same servers. What counts is the ratio within one round.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import yargs from 'yargs'
import { hideBin } from 'yargs/helpers'
import { installEnvoy } from './envoy.ts'
import { flows } from './flows.ts'
import { http } from './http.ts'
import { latency } from './latency.ts'
import { memory } from './memory.ts'
import { mtls } from './mtls.ts'
import { present, PROXY_NAMES, versions } from './proxies.ts'
import { table, targets } from './report.ts'
import { tls } from './tls.ts'
import type { Outcome, Pace, Say } from './work.ts'

type Work = (names: ReturnType<typeof present>, pace: Pace, say: Say) => Promise<Outcome>

/** Kinds of work, and the proxies that each is done by. */
const WORKS: Readonly<Record<string, Work>> = { http, flows, latency, memory, tls, mtls }

const given = await yargs(hideBin(process.argv))
  .options({
    only: { type: 'string', array: true, default: Object.keys(WORKS), choices: Object.keys(WORKS), describe: 'Work' },
    peers: { type: 'string', array: true, default: [...PROXY_NAMES], choices: PROXY_NAMES, describe: 'Proxies' },
    rounds: { type: 'number', default: 7, describe: 'How often each proxy is measured' },
    seconds: { type: 'number', default: 3, describe: 'Length of a measurement' },
    'warm-up': { type: 'number', default: 3, describe: 'Seconds of load ahead of the first measurement' },
    out: { type: 'string', default: join(import.meta.dirname, 'results/latest.json'), describe: 'Where figures go' },
  })
  .strict()
  .parse()

const say = (line: string): void => void process.stderr.write(`${line}\n`)
const missing = given.peers.includes('envoy') ? installEnvoy() : null
if (missing !== null) say(`Envoy is not measured: ${missing}`)

const { rounds, seconds } = given
const names = present().filter((name) => given.peers.includes(name))
const outcomes: Outcome[] = []
for (const work of given.only) {
  const outcome = await (WORKS[work] as Work)(names, { rounds, seconds, warmUpSeconds: given['warm-up'] }, say)
  outcomes.push(outcome)
  process.stdout.write(`${table(outcome)}\n\n`)
  for (const fault of outcome.faults) process.stdout.write(`✗ ${fault}\n`)
}
const ran = versions()
const lines = Object.entries(ran).map(([what, text]) => `${what}: ${text}`)
process.stdout.write(`${targets(outcomes)}\n\n${lines.join('\n')}\n`)
if (missing !== null) process.stdout.write(`envoy: not measured (${missing})\n`)
mkdirSync(dirname(given.out), { recursive: true })
const works = outcomes.map(({ title, figures, verdicts }) => ({ title, figures, verdicts }))
writeFileSync(
  given.out,
  `${JSON.stringify({ at: new Date().toISOString(), ...ran, rounds, seconds, works }, null, 2)}\n`,
)
if (outcomes.some(({ faults }) => faults.length > 0)) process.exitCode = 1
