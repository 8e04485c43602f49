// A pod's volumes as folders of its state folder, and a container's mounts of them.
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type {
  V1Container,
  V1KeyToPath,
  V1Pod,
  V1ServiceAccountTokenProjection,
  V1Volume,
} from '@kubernetes/client-node'
import type { HostFiles } from '../host-files.ts'
import { ConfigError, fieldOf } from './env.ts'
import { hostPathPlace } from './host-path.ts'
import type { Bind } from './mounts.ts'
import type { Sandbox } from './sandbox.ts'
import { type AskToken, type TokenFile, writeToken } from './token.ts'

/** The values of a ConfigMap or Secret, by key. */
export type Files = Readonly<Record<string, Buffer>>
/** Reads a ConfigMap or Secret of the pod's namespace; undefined where there is none. */
export type LoadFiles = (kind: 'ConfigMap' | 'Secret', name: string) => Promise<Files | undefined>

/** What volumes are filled from. */
export interface Contents {
  readonly load: LoadFiles
  readonly askFor: (projection: V1ServiceAccountTokenProjection) => AskToken
  /** The node's own files. */
  readonly host: HostFiles
}

/** The pod's volumes: where each is, and the tokens in them, which are to be kept fresh. */
export interface Volumes {
  readonly places: Map<string, string>
  readonly tokens: readonly TokenFile[]
}

/** Makes the folder of each of the pod's volumes and fills it. Throws ConfigError for one that cannot be had. */
export async function makeVolumes(pod: V1Pod, sandbox: Sandbox, contents: Contents): Promise<Volumes> {
  const places = new Map<string, string>()
  const tokens: TokenFile[] = []
  for (const volume of pod.spec?.volumes ?? []) {
    if (volume.hostPath) {
      places.set(volume.name, await hostPathPlace(volume.hostPath, contents.host))
      continue
    }
    const folder = join(sandbox.folder, 'volumes', volume.name)
    await mkdir(folder, { recursive: true, mode: 0o777 })
    tokens.push(...(await fill(folder, volume, pod, contents)))
    places.set(volume.name, folder)
  }
  return { places, tokens }
}

/** Returns the tokens among what it wrote. */
async function fill(folder: string, volume: V1Volume, pod: V1Pod, { load, askFor }: Contents): Promise<TokenFile[]> {
  if (volume.emptyDir || volume.ephemeral) return []
  const tokens: TokenFile[] = []
  const sources = volume.projected ? (volume.projected.sources ?? []) : [volume]
  for (const source of sources) {
    const { configMap, secret, downwardAPI } = source
    const secretName =
      secret && ('secretName' in secret ? secret.secretName : 'name' in secret ? secret.name : undefined)
    if (configMap) {
      await fillFrom(folder, await need(load, 'ConfigMap', configMap.name ?? '', configMap.optional), configMap.items)
    } else if (secret) {
      await fillFrom(folder, await need(load, 'Secret', secretName ?? '', secret.optional), secret.items)
    } else if (downwardAPI) {
      for (const item of downwardAPI.items ?? []) {
        await writeInto(folder, item.path, Buffer.from(item.fieldRef ? fieldOf(pod, item.fieldRef.fieldPath) : ''))
      }
    } else if ('serviceAccountToken' in source && source.serviceAccountToken) {
      const path = await placeIn(folder, source.serviceAccountToken.path)
      tokens.push(await writeToken(path, askFor(source.serviceAccountToken)))
    } else {
      throw new ConfigError(
        `volume "${volume.name}": the lab has emptyDir, configMap, secret, downwardAPI, projected and hostPath`,
      )
    }
  }
  return tokens
}

async function need(load: LoadFiles, kind: 'ConfigMap' | 'Secret', name: string, optional?: boolean): Promise<Files> {
  const values = await load(kind, name)
  if (values === undefined && !optional) throw new ConfigError(`${kind.toLowerCase()} "${name}" not found`)
  return values ?? {}
}

async function fillFrom(folder: string, values: Files, items: V1KeyToPath[] | undefined): Promise<void> {
  const files = items ?? Object.keys(values).map((key) => ({ key, path: key }))
  for (const { key, path } of files) {
    const value = values[key]
    if (value === undefined) throw new ConfigError(`references non-existent key: ${key}`)
    await writeInto(folder, path, value)
  }
}

async function writeInto(folder: string, path: string, bytes: Buffer): Promise<void> {
  await writeFile(await placeIn(folder, path), bytes)
}

/** Where a file of a volume is; its folder is made. */
async function placeIn(folder: string, path: string): Promise<string> {
  if (path.startsWith('/') || path.split('/').includes('..')) throw new ConfigError(`path "${path}" leaves its volume`)
  await mkdir(dirname(join(folder, path)), { recursive: true })
  return join(folder, path)
}

/** The binds of one container: its volume mounts, and the pod's three files of /etc. */
export async function bindsOf(container: V1Container, sandbox: Sandbox, places: Map<string, string>): Promise<Bind[]> {
  const etc = ['resolv.conf', 'hosts', 'hostname'].map((name) => ({
    source: join(sandbox.folder, 'etc', name),
    target: `/etc/${name}`,
    readOnly: container.securityContext?.readOnlyRootFilesystem === true, // they are part of the root
    isFile: true,
  }))
  const mounts: Bind[] = []
  for (const mount of container.volumeMounts ?? []) {
    const place = places.get(mount.name)
    if (place === undefined) throw new ConfigError(`volume "${mount.name}" of a mount is not in the pod`)
    const source = mount.subPath === undefined ? place : join(place, mount.subPath)
    if (mount.subPath?.split('/').includes('..')) throw new ConfigError(`subPath "${mount.subPath}" leaves its volume`)
    let found = await stat(source).catch(() => undefined)
    if (!found) {
      await mkdir(source, { recursive: true })
      found = await stat(source)
    }
    const target = mount.mountPath.replace(/\/+$/, '') || '/'
    mounts.push({ source, target, readOnly: mount.readOnly ?? false, isFile: !found.isDirectory() })
  }
  return [...etc.filter((bind) => !mounts.some((mount) => mount.target === bind.target)), ...mounts]
}
