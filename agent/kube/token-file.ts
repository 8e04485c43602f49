// Users whose kubeconfig names a file with their token. Whoever issues such tokens replaces them before they end, so the
// file is read again and again. The client library knows no `tokenFile` of a kubeconfig: without this, such a user
// would come without credentials.
// Source: Kubernetes' Config (v1) "AuthInfo.tokenFile".

import { readFileSync } from 'node:fs'
import type { OutgoingHttpHeaders } from 'node:http'
import { dirname, resolve } from 'node:path'
import type { KubeConfig, User } from '@kubernetes/client-node'
import { parse } from 'yaml'

/** As often as Kubernetes' own clients do. */
const READ_AGAIN_MS = 60_000

/** Lets users of this kubeconfig file, which the configuration was read from, come with the token of their file. */
export function useTokenFiles(config: KubeConfig, kubeconfig: string, nowMs = (): number => performance.now()): void {
  const files = tokenFilesIn(kubeconfig)
  if (files.size === 0) return
  // a token that stands there besides is of less account than the file, and the library would send it
  config.users = config.users.map(({ token, ...user }) => (files.has(user.name) ? user : { ...user, token }) as User)
  const authenticate = (user: User): TokenFile | undefined => files.get(user.name)
  config.addAuthenticator({
    isAuthProvider: (user) => authenticate(user) !== undefined,
    applyAuthentication: (user, options: { headers?: OutgoingHttpHeaders }) => {
      const token = authenticate(user)?.read(nowMs()) ?? ''
      options.headers = { ...options.headers, Authorization: `Bearer ${token}` }
      return Promise.resolve()
    },
  })
}

/** The token files that a kubeconfig file names, by user; a path is relative to the kubeconfig. */
function tokenFilesIn(kubeconfig: string): ReadonlyMap<string, TokenFile> {
  const { users } = (parse(readFileSync(kubeconfig, 'utf8')) ?? {}) as {
    users?: readonly { readonly name: string; readonly user?: { readonly tokenFile?: unknown } | null }[] | null
  }
  const files = new Map<string, TokenFile>()
  for (const { name, user } of users ?? []) {
    const path = user?.tokenFile
    if (typeof path === 'string' && path !== '') files.set(name, new TokenFile(resolve(dirname(kubeconfig), path)))
  }
  return files
}

/** A file with a token in it. */
class TokenFile {
  readonly #path: string
  #token = ''
  #readMs = -Infinity

  constructor(path: string) {
    this.#path = path
  }

  /** The token; while the file cannot be read, the one that was read last. Throws where there never was one. */
  read(nowMs: number): string {
    if (nowMs - this.#readMs < READ_AGAIN_MS) return this.#token
    try {
      const token = readFileSync(this.#path, 'utf8').trim()
      if (token === '') throw new Error(`no token in ${this.#path}`)
      this.#token = token
      this.#readMs = nowMs
    } catch (error) {
      if (this.#token === '') throw error
    }
    return this.#token
  }
}
