// Files that a node has for itself though all nodes of a lab share one machine: what runs on nodes, and what pods mount as
// hostPath, sees a folder of the lab's state at these places. Every other path of a node is the machine's.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Bind } from './pod/mounts.ts'

/** Where a Kubernetes node's runtimes keep network plug-ins and their configuration, and where the mesh keeps its own. */
export const HOST_FOLDERS = ['/etc/cni', '/opt/cni', '/run/weft', '/var/lib/weft'] as const
/** The lab's own bpffs, a folder a node. */
const BPF = '/sys/fs/bpf'

/** Folders in which a node's own files are. */
export interface HostFiles {
  /** For HOST_FOLDERS, each at its own path below. */
  readonly files: string
  /** On a bpffs, for /sys/fs/bpf. */
  readonly bpf: string
}

/** Where the file really is that a node has at `path` (absolute). Pure. */
export function placeOnNode({ files, bpf }: HostFiles, path: string): string {
  // normalised: `..` must not lead out of what is the node's own, nor into another's
  const plain = join(path).replace(/(?<=.)\/$/, '')
  const isBelow = (folder: string): boolean => plain === folder || plain.startsWith(`${folder}/`)
  if (isBelow(BPF)) return join(bpf, plain.slice(BPF.length))
  return HOST_FOLDERS.some(isBelow) ? join(files, plain) : plain
}

/** Makes the folders of a node. */
export async function makeHostFiles(host: HostFiles): Promise<void> {
  for (const folder of HOST_FOLDERS) await mkdir(join(host.files, folder), { recursive: true })
  await mkdir(host.bpf, { recursive: true })
}

/** Binds that put a node's own files at their places, for a program that runs on the node itself. Pure. */
export function hostBinds(host: HostFiles): Bind[] {
  return [...HOST_FOLDERS, BPF].map((target) => ({
    ...{ source: placeOnNode(host, target), target },
    ...{ readOnly: false, isFile: false },
  }))
}
