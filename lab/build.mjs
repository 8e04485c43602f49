// `npm run build`: the TypeScript of agent/ and lab/ as plain JavaScript in dist/, with the files it reads at run time
// beside it, so that every relative path is the same in both places.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = join(root, 'dist')
const assets = ['package.json', 'lab/images.yaml', 'examples', 'build/Release/weft.node']

rmSync(dist, { recursive: true, force: true })
const { status } = spawnSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
})
if (status !== 0) process.exit(status ?? 1)
for (const asset of assets) {
  if (existsSync(join(root, asset))) cpSync(join(root, asset), join(dist, asset), { recursive: true })
}
