// `npm run build`: the TypeScript of agent/ and lab/ as plain JavaScript in dist/, with the files it reads at run time
// beside it, so that every relative path is the same in both places.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = join(root, 'dist')

/** What the compiler does not carry over: data files of both trees, the examples, and the addon where it is built. */
function assets() {
  const files = ['agent', 'lab'].flatMap((tree) =>
    readdirSync(join(root, tree), { recursive: true }).map((path) => join(tree, String(path))),
  )
  const read = files.filter((path) => /\.(yaml|json)$/.test(path))
  return [...read, 'package.json', 'examples', 'build/Release/weft.node', 'build/Release/weft-cni'].filter((path) =>
    existsSync(join(root, path)),
  )
}

rmSync(dist, { recursive: true, force: true })
const compiler = join(root, 'node_modules', '.bin', 'tsc')
const { status } = spawnSync(compiler, ['-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' })
if (status !== 0) process.exit(status ?? 1)
for (const path of assets()) cpSync(join(root, path), join(dist, path), { recursive: true })
