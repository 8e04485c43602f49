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

/** Bytes in millions, as sizes of images are told. */
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
