// The agent and what it uses of packages, bundled: a few files in the place of a thousand, and nothing that is never called. It
// is the image's largest saving of memory: every thread loads its own copy of code. What gave code keeps name, version, licence.
import { build, type Metafile, type Plugin } from 'esbuild'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** What is started: the command, and the thread that carries connections. All else is imported. */
const ENTRIES = ['agent/main.ts', 'agent/worker.ts']
/** What an installation without a lab looks for in vain. */
const ABSENT = /\/lab\/main\.ts$/
const LICENCE = /^(licen[cs]e|notice|copying|unlicense)/i

/** Packages whose modules only define things, though their package.json does not say so: what is not used of them is left out. */
const PURE: Readonly<Record<string, string>> = {
  '@kubernetes/client-node': '900 generated classes; one module does something (polyfill.js), and that for Node 18',
}

/** CommonJS code asks for Node's modules by `require`, which a module does not have. */
const BANNER = `import { createRequire as requireIn } from 'node:module'; const require = requireIn(import.meta.url);`

/**
 * Writes `agent/*.js` and, in `node_modules`, what is known of each package that gave code. `project` is the clone with its
 * packages, `home` where the project is in the image. Rejects with esbuild's error where a module or a name is missing.
 */
export async function bundleAgent(project: string, home: string): Promise<void> {
  const { metafile } = await build({
    ...{ absWorkingDir: project, outdir: join(home, 'agent'), entryPoints: ENTRIES, entryNames: '[name]' },
    ...{ bundle: true, splitting: true, metafile: true, logLevel: 'silent', chunkNames: '[name]-[hash]' },
    ...{
      platform: 'node',
      format: 'esm',
      target: 'esnext',
      banner: { js: BANNER },
      plugins: [placed(project), pure()],
    },
    preserveSymlinks: true, // where node_modules is a link, too, paths are the project's own
  })
  for (const folder of contributors(metafile)) recordPackage(join(project, folder), join(home, folder))
}

/** What scanners and lawyers look for: package.json as far as it says what this is, and the licence. */
function recordPackage(source: string, target: string): void {
  mkdirSync(target, { recursive: true })
  const { name, version, license } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as Manifest
  writeFileSync(join(target, 'package.json'), `${JSON.stringify({ name, version, license }, null, 2)}\n`)
  for (const file of readdirSync(source)) if (LICENCE.test(file)) copyFileSync(join(source, file), join(target, file))
}

interface Manifest {
  readonly name: string
  readonly version: string
  readonly license?: unknown
}

/** Folders of the packages that code of the bundles comes from, relative to the project. Pure. */
export function contributors({ outputs }: Pick<Metafile, 'outputs'>): string[] {
  const folders = new Set<string>()
  for (const { inputs } of Object.values(outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]
      if (folder !== undefined && bytesInOutput > 0) folders.add(folder)
    }
  }
  return [...folders].toSorted()
}

/**
 * Code of the file at `path`, below `agent/`, as it has to be in a file of `agent/` itself: what it finds beside it, it finds as if
 * it were in its place still, a `.js` file. Pure.
 */
export function placedCode(path: string, code: string): string {
  const file = path.replace(/\.ts$/, '.js')
  const folder = dirname(join('/', file)).replace(/\/$/, '')
  const places: Readonly<Record<string, string>> = {
    url: `new URL(${JSON.stringify(file)}, import.meta.url).href`,
    filename: `(import.meta.dirname + ${JSON.stringify(`/${file}`)})`,
    dirname: `(import.meta.dirname + ${JSON.stringify(folder)})`,
  }
  return code.replaceAll(/\bimport\.meta\.(url|filename|dirname)\b/g, (_, name: string) => places[name] ?? '')
}

/** Our own files where they are bundled: told their place, and without the lab. */
function placed(project: string): Plugin {
  const agent = join(project, 'agent/')
  return {
    name: 'placed',
    setup(bundler) {
      bundler.onResolve({ filter: ABSENT }, ({ path }) => ({ path, external: true }))
      bundler.onLoad({ filter: /\/agent\/.*\.ts$/ }, async ({ path }) => {
        if (!path.startsWith(agent)) return undefined
        return { contents: placedCode(path.slice(agent.length), await readFile(path, 'utf8')), loader: 'ts' }
      })
    },
  }
}

/** Lets modules of the pure packages go that nothing is used of. */
function pure(): Plugin {
  const names = Object.keys(PURE)
  return {
    name: 'pure',
    setup(bundler) {
      bundler.onResolve({ filter: /^\.{1,2}\/.*\.js$/ }, ({ path, importer, resolveDir }) => {
        const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(importer)?.[1] // the innermost
        if (name === undefined || !names.includes(name)) return undefined
        return { path: join(resolveDir, path), sideEffects: false } // esbuild would be asked ten thousand times
      })
      bundler.onResolve(
        { filter: new RegExp(`^(?:${names.join('|')})(?:/|$)`) },
        async ({ path, pluginData, ...from }) => {
          if (pluginData === PURE) return undefined // asked by the line below
          return { ...(await bundler.resolve(path, { ...from, pluginData: PURE })), sideEffects: false }
        },
      )
    },
  }
}
