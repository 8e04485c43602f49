// Unpacks an image from an OCI archive into a folder: its root file system, and what it says of how it is to be run.
// Source: OCI Image Format Specification (image layout, manifest, layer filesystem changesets, image configuration).
import { createHash } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { mustRun } from '../run.ts'

/** An unpacked image. `command` is its ENTRYPOINT, `args` its CMD. */
export interface UnpackedImage {
  readonly rootfs: string
  readonly command: readonly string[]
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly platform?: { readonly architecture?: string }
}

/** The parts of an image's configuration that are honoured. */
interface ImageConfig {
  readonly config?: {
    readonly Entrypoint?: string[] | null
    readonly Cmd?: string[] | null
    readonly Env?: string[] | null
  }
}

const ROOTFS = 'rootfs'
const RECORD = 'image.json'
const WHITEOUT = '.wh.'
/** An image has so many layers at most (overlay file systems take no more). */
const LAYERS_MOST = 128

/** Unpacks the only image of an archive (or the first for this machine) into `folder`, which must not exist. Rejects with a sentence. */
export async function unpackImage(archive: string, folder: string): Promise<UnpackedImage> {
  const layout = join(folder, 'layout')
  const rootfs = join(folder, ROOTFS)
  await mkdir(layout, { recursive: true })
  await mkdir(rootfs)
  await mustRun('tar', ['-xf', archive, '-C', layout])
  const { manifests } = await readJson<{ manifests: Descriptor[] }>(join(layout, 'index.json'))
  const chosen = manifests.find(({ platform }) => platform?.architecture === undefined || isOurs(platform.architecture))
  if (chosen === undefined) throw new Error(`${archive}: no image for ${process.arch}`)
  const manifest = await readJson<{ config: Descriptor; layers: Descriptor[] }>(await blob(layout, chosen))
  if (manifest.layers.length > LAYERS_MOST) throw new Error(`${archive}: more than ${LAYERS_MOST} layers`)
  for (const layer of manifest.layers) await apply(await blob(layout, layer), layer, rootfs)
  const { config = {} } = await readJson<ImageConfig>(await blob(layout, manifest.config))
  await rm(layout, { recursive: true })
  const image: UnpackedImage = {
    ...{ rootfs, command: config.Entrypoint ?? [], args: config.Cmd ?? [] },
    env: Object.fromEntries(
      (config.Env ?? []).map((line) => [line.split('=', 1)[0] ?? '', line.replace(/^[^=]*=/, '')]),
    ),
  }
  await writeFile(join(folder, RECORD), JSON.stringify(image))
  return image
}

/** What unpackImage() left in a folder. Rejects where it is not there. */
export const readImage = (folder: string): Promise<UnpackedImage> => readJson<UnpackedImage>(join(folder, RECORD))

/** The folder that an image was unpacked to, by its reference: `images` has those by their names, registry and organisation left out. */
export function unpackedFolder(images: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.entries(images).find(([each]) => `/${name}`.endsWith(`/${each}`))?.[1]
}

const isOurs = (architecture: string): boolean => architecture === (process.arch === 'x64' ? 'amd64' : process.arch)

async function readJson<T>(file: string): Promise<T> {
  return JSON.parse(await readFile(file, 'utf8')) as T
}

/** The file of a descriptor, once it is known to be what the descriptor says. */
async function blob(layout: string, { digest }: Descriptor): Promise<string> {
  const [, hex] = /^sha256:([0-9a-f]{64})$/.exec(digest) ?? []
  if (hex === undefined) throw new Error(`digest "${digest}": only sha256 is known`)
  const file = join(layout, 'blobs/sha256', hex)
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  if (hash.digest('hex') !== hex) throw new Error(`blob ${digest}: its content is another`)
  return file
}

/** Puts a layer on those below it: what it takes away first, then what it brings. */
async function apply(file: string, { mediaType }: Descriptor, rootfs: string): Promise<void> {
  const packed = mediaType.endsWith('+gzip') || mediaType.endsWith('.gzip') ? ['-z'] : []
  if (!/[.+](tar|gzip)$/.test(mediaType)) throw new Error(`layer of type ${mediaType}: only tar and gzip are known`)
  // by grep: what a tool says is kept up to a bound only
  const names = await mustRun('/bin/sh', ['-c', `tar -t "$@" | grep -F ${WHITEOUT} || :`, 'sh', ...packed, '-f', file])
  for (const path of names.split('\n').filter((each) => basename(each).startsWith(WHITEOUT))) {
    const folder = join(rootfs, dirname(path))
    const name = basename(path).slice(WHITEOUT.length)
    const opaque = name === `${WHITEOUT}.opq` && existsSync(folder)
    for (const each of opaque ? await readdir(folder) : [name]) {
      await rm(join(folder, each), { recursive: true, force: true })
    }
  }
  const exact = ['-p', '--numeric-owner', '--same-owner', '--keep-directory-symlink', `--exclude=${WHITEOUT}*`]
  await mustRun('tar', ['-x', ...packed, ...exact, '-f', file, '-C', rootfs])
}
