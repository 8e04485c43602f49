// How much room files take, for whoever asks where the megabytes of the image are.
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/** Bytes of all files below a folder; links count nothing. */
export async function bytesOf(folder: string): Promise<number> {
  let bytes = 0
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await lstat(join(entry.parentPath, entry.name))).size
  }
  return bytes
}

/** The largest packages of a node_modules folder, with their bytes, the largest first. */
export async function sizesOf(modules: string, most: number): Promise<[string, number][]> {
  const names: string[] = []
  for (const name of await readdir(modules)) {
    if (name.startsWith('@')) names.push(...(await readdir(join(modules, name))).map((each) => `${name}/${each}`))
    else names.push(name)
  }
  const sizes = await Promise.all(
    names.map(async (name): Promise<[string, number]> => [name, await bytesOf(join(modules, name))]),
  )
  return sizes.toSorted(([, one], [, other]) => other - one).slice(0, most)
}

/** Bytes in millions, as sizes of images are told. */
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
