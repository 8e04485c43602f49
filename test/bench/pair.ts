// The pair: each proxy twice, the caller's and the callee's, and mutual TLS between the two. Its certificates, and whether
// the handshakes were of the kind that is measured.

import { execFile } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { authority, issue } from '../proxy/certificates.ts'
import { IDENTITIES } from './cluster.ts'
import type { Proxy } from './proxies.ts'

const run = promisify(execFile)

/** What a request between the two reuses of those before it. Without a connection each makes one of its own. */
export type Reuse = 'connection' | 'session' | 'nothing'

/** Peers tell ends of a chain by this name where they do not look at URIs. */
const CALLEE_NAME = 'callee.bench'

/** Writes what each end shows (`caller.pem`, `callee.pem`, keys beside them) and the root of both (`root.pem`). */
export function writeCertificates(folder: string): void {
  const root = authority('bench')
  writeFileSync(join(folder, 'root.pem'), root.certificatePem)
  for (const end of ['caller', 'callee'] as const) {
    const dnsNames = end === 'callee' ? [CALLEE_NAME] : []
    const { certificatePem, privateKeyPem } = issue(root, { uris: [IDENTITIES[end]], dnsNames })
    writeFileSync(join(folder, `${end}.pem`), certificatePem)
    writeFileSync(join(folder, `${end}.pem.key`), privateKeyPem, { mode: 0o600 })
  }
}

/** Handshakes of a pair that were resumed, by its callee's own word, since it was started. */
export async function resumptionsOf({ name, callee }: Proxy): Promise<number> {
  if (callee === null) throw new Error(`${name} is no pair`)
  switch (name) {
    case 'nginx':
      return linesWith('"session_reused":"r"', callee.log)
    case 'haproxy':
      return linesWith('resumed:1', callee.log)
    case 'envoy':
      return envoyResumptions(callee.log)
    case 'weft':
    case 'weft-node':
      return weftResumptions(callee)
  }
}

/** Of a log with a line a request, where each request made a connection. */
async function linesWith(mark: string, log: string): Promise<number> {
  // grep ends with 1 where there is no such line
  const { stdout } = await run('/bin/sh', ['-c', 'grep -cF -- "$0" "$1" || true', mark, log])
  return Number(stdout)
}

/** Its listeners count; the admin socket lies beside the log. */
async function envoyResumptions(log: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const socketPath = log.replace(/log$/, 'sock')
  request({ socketPath, path: '/stats?filter=^listener.*ssl.session_reused$' }, (answer) => {
    text(answer).then(resolve, reject)
  })
    .on('error', reject)
    .end()
  return [...(await promise).matchAll(/: (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0)
}

/** Where Weft writes them when it is asked by SIGUSR2. */
export const resumptionsFile = (log: string): string => `${log}.resumptions`

const ASK_TRIES = 200
const ASK_POLL_MS = 25

async function weftResumptions({ pid, log }: { readonly pid: number; readonly log: string }): Promise<number> {
  const file = resumptionsFile(log)
  rmSync(file, { force: true })
  process.kill(pid, 'SIGUSR2')
  for (let tries = 0; tries < ASK_TRIES; tries++) {
    if (existsSync(file)) return Number(readFileSync(file, 'utf8'))
    await sleep(ASK_POLL_MS)
  }
  throw new Error(`${file} has not been written`)
}
