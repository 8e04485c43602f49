// Builds the addon for the Node that the project runs on (node_modules/node), from the headers that ship with it, and the
// CNI plug-in, which is a program of its own that needs no library of the machine it is put on.
// Plain JavaScript, because it runs before that Node is known to work: any Node >= 20 will do.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const addon = join(root, 'build/Release/weft.node')
const plugin = join(root, 'build/Release/weft-cni')
const node = join(root, `node_modules/node/node_modules/node-linux-${process.arch}`)
const headers = join(node, 'include/node')

function say(text) {
  console.log(`native: ${text}`)
}

/** npm's own setting of where Node's headers lie would win over ours: theirs may be of another Node, and of another OpenSSL. */
const { npm_config_nodedir: _, ...env } = process.env

function run(command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: root, env, encoding: 'utf8' })
  if (status === 0) return
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`)
  say(`${command} ${args.join(' ')} failed: ${error?.message ?? `exit ${status}`}`)
  process.exit(1)
}

function sources() {
  const ours = readdirSync(join(root, 'native')).filter((name) => /\.(cc|c|h)$/.test(name))
  return ['binding.gyp', 'bpf/mesh.h', ...ours.map((name) => join('native', name))].map((name) => join(root, name))
}

function newest(files) {
  return Math.max(...files.map((file) => statSync(file).mtimeMs))
}

if (!existsSync(join(headers, 'node_api.h'))) {
  say('the headers of node_modules/node are missing: npm rebuild node')
  run('npm', ['rebuild', 'node'])
}
if (!existsSync(join(headers, 'node_api.h'))) {
  say(`no headers at ${headers}: the package "node" did not install for ${process.arch}`)
  process.exit(1)
}
if (existsSync(addon) && statSync(addon).mtimeMs >= newest([...sources(), join(headers, 'node_version.h')])) {
  say('build/Release/weft.node is up to date')
} else {
  const started = Date.now()
  const gyp = join(root, 'node_modules/node-gyp/bin/node-gyp.js')
  // node-gyp itself wants a newer Node than the machine's may be
  run(join(node, 'bin/node'), [gyp, 'configure', 'build', '--jobs', 'max', '--nodedir', node])
  say(`built build/Release/weft.node in ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

/** What the plug-in is made of. */
const parts = readdirSync(join(root, 'native/cni')).map((name) => join(root, 'native/cni', name))
if (existsSync(plugin) && statSync(plugin).mtimeMs >= newest(parts)) {
  say('build/Release/weft-cni is up to date')
} else {
  const flags = ['-std=c17', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Os', '-static', '-s']
  mkdirSync(dirname(plugin), { recursive: true })
  run('gcc', [...flags, '-o', plugin, ...parts.filter((name) => name.endsWith('.c'))])
  say('built build/Release/weft-cni')
}
