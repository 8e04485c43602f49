// A certificate with its key, as a node holds it; and the folder in which it outlives the agent.

import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Lifetime } from './renewal.ts'

/** Nobody but the agent reads it. */
const FOLDER_MODE = 0o700
const FILE_MODE = 0o600

/** What stands for a local identity. Times in milliseconds since 1970. */
export interface Held extends Lifetime {
  readonly uri: string
  /** The certificate, then what leads to a root. */
  readonly certificatePem: string
  readonly privateKeyPem: string
}

/** Throws where the certificate is another's, the key is another certificate's, or it is over. */
export function readHeld(uri: string, certificatePem: string, privateKeyPem: string, nowMs: number): Held {
  const own = new X509Certificate(certificatePem)
  if (own.subjectAltName !== `URI:${uri}`) throw new Error(`the certificate is not that of ${uri}`)
  if (!own.checkPrivateKey(createPrivateKey(privateKeyPem))) throw new Error('the private key is not the certificate’s')
  const [notBeforeMs, notAfterMs] = [own.validFromDate.getTime(), own.validToDate.getTime()]
  if (notAfterMs <= nowMs) throw new Error('the certificate is over')
  return { uri, certificatePem, privateKeyPem, notBeforeMs, notAfterMs }
}

/** Certificates and keys in a folder, which is to be on a tmpfs: keys never reach a disk. */
export class HeldFolder {
  readonly #path: string

  /** Makes the folder, where it is not there. Throws where it cannot be had for the agent alone. */
  constructor(path: string) {
    this.#path = path
    mkdirSync(path, { recursive: true, mode: FOLDER_MODE })
    chmodSync(path, FOLDER_MODE) // one that was there before
  }

  /** What was kept, or null: nothing, or nothing that can be used. */
  load(uri: string, nowMs: number): Held | null {
    try {
      const text = readFileSync(this.#fileOf(uri), 'utf8')
      const at = text.indexOf('-----BEGIN PRIVATE KEY-----')
      return readHeld(uri, text.slice(0, at), text.slice(at), nowMs)
    } catch {
      return null // a new one is asked for, whatever is wrong with it
    }
  }

  /** Keeps it: whole, or not at all. Throws what the file system says. */
  save({ uri, certificatePem, privateKeyPem }: Held): void {
    const file = this.#fileOf(uri)
    writeFileSync(`${file}.new`, certificatePem + privateKeyPem, { mode: FILE_MODE })
    renameSync(`${file}.new`, file)
  }

  /** Removes what is kept for others than these: keys of accounts that went while no agent ran. */
  keepOnly(uris: ReadonlySet<string>): void {
    const wanted = new Set([...uris].map((uri) => this.#fileOf(uri)))
    for (const name of readdirSync(this.#path)) {
      const file = join(this.#path, name)
      if (!wanted.has(file)) rmSync(file, { force: true })
    }
  }

  remove(uri: string): void {
    rmSync(this.#fileOf(uri), { force: true })
  }

  #fileOf(uri: string): string {
    return join(this.#path, `${createHash('sha256').update(uri).digest('hex')}.pem`)
  }
}
