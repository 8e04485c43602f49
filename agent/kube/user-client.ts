// The Kubernetes API as a person's command asks it: by the kubeconfig that kubectl finds, and through it ports of pods.

import { existsSync } from 'node:fs'
import type { RequestOptions } from 'node:https'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { KubeConfig } from '@kubernetes/client-node'
import { clientOf, type KubeClient, KubeError, readAnswer, serverOf } from './client.ts'
import { openPort, type PodPort, portPath } from './port-forward.ts'
import { useTokenFiles } from './token-file.ts'

export interface UserClient extends KubeClient {
  /** The bearer token that the user comes with; null where the kubeconfig proves it in another way. Throws KubeError. */
  bearer(): Promise<string | null>
  /**
   * A connection to a port of a pod, through the API server. What the other side of it says (nobody listens there) comes as
   * its error. Rejects with KubeError where the API server does not open it; aborted by `signal`, also later.
   */
  forward(to: PodPort, signal: AbortSignal): Promise<Duplex>
}

/** Reads a kubeconfig file; without one, what kubectl would read: KUBECONFIG, then the home folder. Throws where it cannot. */
export function connectAsUser(file: string | null): UserClient {
  const config = file === null ? foundConfig() : new KubeConfig()
  if (file !== null) {
    config.loadFromFile(file)
    useTokenFiles(config, file)
  }
  const source = file ?? 'the kubeconfig'
  const base = serverOf(config, source)
  const credentials = async (): Promise<RequestOptions> => {
    const options: RequestOptions = {}
    await config.applyToHTTPSOptions(options).catch((error: unknown) => {
      throw error instanceof KubeError
        ? error
        : new KubeError(0, error instanceof Error ? error.message : String(error))
    })
    return options
  }
  return {
    ...clientOf(config, source),
    bearer: async () => bearerIn((await credentials()).headers),
    forward: async (to, signal) => openPort(base + portPath(to), await credentials(), { signal, refused: readAnswer }),
  }
}

function foundConfig(): KubeConfig {
  const config = new KubeConfig()
  config.loadFromDefault()
  const named = (process.env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '')
  const files = named.length > 0 ? named : [join(homedir(), '.kube', 'config')]
  for (const path of files) if (existsSync(path)) useTokenFiles(config, path)
  return config
}

function bearerIn(headers: RequestOptions['headers']): string | null {
  const all = Object.entries(headers ?? {})
  const [, value] = all.find(([name]) => name.toLowerCase() === 'authorization') ?? []
  return /^bearer +(\S+) *$/i.exec(String(value ?? ''))?.[1] ?? null
}
