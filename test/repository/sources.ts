// The project's own files, read once for the tests that judge them: imports, text, paths.
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export const repository = join(import.meta.dirname, '..', '..')

const written = [
  '*.{json,js,md,gyp}',
  '.ci/*',
  '{agent,lab,test,native,bpf,examples,charts}/**/*.{ts,mjs,js,json,yaml,md,c,h,cc}',
]
const made = /(^|\/)(node_modules|build|dist|\.lab)\//

/** Every file that people of this project wrote, relative to the repository. */
export function writtenFiles(): string[] {
  return globSync(written, { cwd: repository })
    .filter((file) => !made.test(file) && file !== 'package-lock.json')
    .sort()
}

export const textOf = (file: string): string => readFileSync(join(repository, file), 'utf8')

const importing = /^(?:import|export)\s[^'"]*?from\s+'(\.[^']+)'|^import\s+'(\.[^']+)'/gms

/** What a file imports of the project's own values at load time: type imports vanish, `import()` comes later. */
export function importsOf(file: string, text: string): string[] {
  const found = [...text.matchAll(importing)].filter(([statement]) => !/^(import|export)\s+type\b/.test(statement))
  return found.map(([, named, bare]) => join(dirname(file), named ?? bare ?? ''))
}

/** One cycle of the graph as the files on it, first again at the end; undefined where there is none. */
export function cycleIn(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>()
  const walk = (file: string, path: readonly string[]): string[] | undefined => {
    const at = path.indexOf(file)
    if (at >= 0) return [...path.slice(at), file]
    if (done.has(file)) return undefined
    for (const next of graph.get(file) ?? []) {
      const cycle = walk(next, [...path, file])
      if (cycle) return cycle
    }
    done.add(file)
    return undefined
  }
  for (const file of graph.keys()) {
    const cycle = walk(file, [])
    if (cycle) return cycle
  }
  return undefined
}
