// Makes a bare machine ready for one target (demo, test, check, weft …) and then becomes it. Plain JavaScript on purpose:
// it runs on the Node that happens to be there (20 or newer), before anything is installed.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const bin = join(root, 'node_modules', '.bin')
const kernelFloor = [6, 1]
const installTimeoutMs = 10 * 60_000
/** Debian asks this program before a package starts its service; status 101 says no (invoke-rc.d). */
const servicePolicy = '/usr/sbin/policy-rc.d'

/** Ubuntu has no package with kubectl: then it comes from the Kubernetes project itself, checked by its digest. */
const kubectlUrl = `https://dl.k8s.io/release/v1.32.4/bin/linux/${process.arch === 'x64' ? 'amd64' : 'arm64'}/kubectl`
const kubectlItself = 'kubectl-from-dl.k8s.io'
const kubectlPath = '/usr/local/bin/kubectl'

/**
 * What each target needs: `tools` are groups of the table below, `root` says whether it touches the kernel, `run` is the
 * TypeScript program that the pinned Node then executes; `helm` says whether it wants that, too.
 */
const targets = {
  demo: { tools: ['build', 'lab'], root: true, run: 'lab/demo/main.ts' },
  test: {
    tools: ['build', 'lab', 'bpf', 'peers', 'image', 'runtimes'],
    helm: true,
    root: true,
    run: 'test/repository/run.ts',
  },
  check: { tools: ['build', 'bpf'], root: false, run: 'test/repository/check.ts' },
  weft: { tools: ['build', 'lab'], root: false, run: 'agent/main.ts' },
  fuzz: { tools: ['build'], root: false, run: 'test/fuzz.ts' },
  churn: { tools: ['build'], root: false, run: 'test/proxy/churn.ts' },
  bench: { tools: ['build', 'peers'], root: false, run: 'test/bench/main.ts' },
  kernels: { tools: ['build', 'bpf', 'kernels'], root: false, run: 'test/kernels/main.ts' },
  image: { tools: ['build', 'image'], root: false, run: 'image/main.ts' },
  packages: { tools: ['build', 'lab', 'bpf', 'peers', 'image', 'runtimes'], helm: true, root: false, run: null },
}

/** Debian has no helm. Built cold it takes some minutes, once for all. */
const helmPackage = 'helm.sh/helm/v4/cmd/helm@v4.3.1'

/** Command or header → the apt packages that bring it, first choice first (names differ between Debian and Ubuntu). */
const tools = {
  build: { 'g++': ['g++'], make: ['make'], python3: ['python3'] },
  lab: {
    ip: ['iproute2'],
    ss: ['iproute2'],
    nft: ['nftables'],
    nsenter: ['util-linux'],
    setpriv: ['util-linux'],
    ps: ['procps'],
    curl: ['curl'],
    kubectl: ['kubernetes-client', 'kubectl', kubectlItself],
  },
  bpf: {
    clang: ['clang'],
    'llvm-strip': ['llvm'],
    bpftool: ['bpftool', `linux-tools-${release()} linux-tools-common`, 'linux-tools-generic linux-tools-common'],
    'clang-format': ['clang-format'],
    '/usr/include/bpf/bpf_helpers.h': ['libbpf-dev'],
  },
  peers: {
    nginx: ['nginx'],
    '/usr/lib/nginx/modules/ngx_stream_module.so': ['libnginx-mod-stream'],
    haproxy: ['haproxy'],
    wrk: ['wrk'],
    iperf3: ['iperf3'],
    taskset: ['util-linux'],
    tcpdump: ['tcpdump'],
    prometheus: ['prometheus'],
    promtool: ['prometheus'],
  },
  image: {
    buildah: ['buildah'],
    crun: ['crun'],
    mmdebstrap: ['mmdebstrap'],
    strip: ['binutils'],
  },
  runtimes: {
    crun: ['crun'],
    podman: ['podman'],
  },
  kernels: {
    'qemu-system-x86_64': ['qemu-system-x86'],
    busybox: ['busybox-static'],
    ip: ['iproute2'],
    depmod: ['kmod'],
    xz: ['xz-utils'],
    cpio: ['cpio'],
  },
}

class SetupError extends Error {}

const say = (line) => process.stderr.write(`setup: ${line}\n`)

/** True where `name` (a command on PATH, or an absolute path) is there. */
function present(name) {
  if (name.startsWith('/')) return existsSync(name)
  // Ubuntu's bpftool is a script that looks for the one of the running kernel: only its answer tells.
  if (name === 'bpftool') return spawnSync(name, ['version'], { env: withPath() }).status === 0
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Runs a program with our terminal; throws one sentence when it fails. */
function run(what, command, args, env = process.env) {
  say(`${what}: ${[command, ...args].join(' ')}`)
  const stdio = ['inherit', process.stderr, 'inherit']
  const { status, error } = spawnSync(command, args, { cwd: root, stdio, env, timeout: installTimeoutMs })
  if (error) throw new SetupError(`${what} failed: ${error.message}`)
  if (status !== 0) throw new SetupError(`${what} failed: ${command} ended with status ${status}`)
}

function checkMachine(target) {
  if (process.platform !== 'linux') throw new SetupError(`Weft needs Linux; this is ${process.platform}.`)
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const [floorMajor, floorMinor] = kernelFloor
  if (major < floorMajor || (major === floorMajor && minor < floorMinor)) {
    throw new SetupError(`Weft needs Linux ${kernelFloor.join('.')} or newer; this kernel is ${release()}.`)
  }
  if (!target.root) return
  if (process.getuid() !== 0) {
    throw new SetupError('network namespaces and BPF programs need root: run this again with sudo.')
  }
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  if (!mounts.some((line) => line.split(' ')[2] === 'cgroup2')) {
    throw new SetupError('no cgroup2 file system is mounted (try: mount -t cgroup2 none /sys/fs/cgroup).')
  }
}

/** The apt packages that the target needs and the machine does not have. */
function missingPackages(target) {
  const missing = target.tools.flatMap((group) => Object.entries(tools[group]).filter(([name]) => !present(name)))
  return missing.map(([name, choices]) => ({ name, choices }))
}

async function ensurePackages(target, yes) {
  const missing = missingPackages(target)
  if (missing.length === 0) return
  const names = missing.map(({ name }) => name).join(', ')
  if (!present('apt-get')) throw new SetupError(`these are missing: ${names}; install them (there is no apt-get here).`)
  if (process.getuid() !== 0)
    throw new SetupError(`these are missing: ${names}; run this again with sudo to install them.`)
  const first = missing.map(({ choices }) => choices[0]).join(' ')
  if (!yes && !(await agreed(`these are missing: ${names}. Install with apt: ${first}?`))) {
    throw new SetupError(`these are missing: ${names}; install them (apt-get install ${first}) or say --yes.`)
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  run('package lists', 'apt-get', ['update', '-q'], env)
  const chosen = new Set(missing.flatMap(({ name, choices }) => choose(name, choices).split(' ')))
  if (chosen.delete(kubectlItself)) await downloadKubectl()
  if (chosen.size > 0) {
    withoutServices(() =>
      run('packages', 'apt-get', ['install', '-q', '-y', '--no-install-recommends', ...chosen], env),
    )
  }
  const still = missing.filter(({ name }) => !present(name)).map(({ name }) => name)
  if (still.length > 0)
    throw new SetupError(`apt has installed its packages, and these are still missing: ${still.join(', ')}.`)
}

/** Programs are wanted, not their services: nginx is there for tests to start, with a configuration of their own. */
function withoutServices(install) {
  const isOurs = !existsSync(servicePolicy)
  if (isOurs) writeFileSync(servicePolicy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    install()
  } finally {
    if (isOurs) rmSync(servicePolicy)
  }
}

/** The first choice that this machine's package lists know. */
function choose(name, choices) {
  const known = choices.find((choice) =>
    choice.split(' ').every((pkg) => {
      if (pkg === kubectlItself) return true
      const { stdout } = spawnSync('apt-cache', ['policy', pkg], { encoding: 'utf8' })
      return /Candidate: (?!\(none\))/.test(stdout ?? '')
    }),
  )
  if (known === undefined) {
    throw new SetupError(`no apt package here brings ${name} (looked for ${choices.join(', ')}); install it by hand.`)
  }
  return known
}

async function downloadKubectl() {
  say(`kubectl: ${kubectlUrl} to ${kubectlPath}`)
  const get = async (url) => {
    const response = await fetch(url, { signal: AbortSignal.timeout(installTimeoutMs) })
    if (!response.ok) throw new SetupError(`${url} answered ${response.status}; install kubectl by hand.`)
    return Buffer.from(await response.arrayBuffer())
  }
  const [program, digest] = await Promise.all([get(kubectlUrl), get(`${kubectlUrl}.sha256`)]).catch((error) => {
    throw error instanceof SetupError ? error : new SetupError(`kubectl did not come: ${error.cause ?? error}.`)
  })
  if (createHash('sha256').update(program).digest('hex') !== digest.toString().trim()) {
    throw new SetupError('the kubectl that came does not have the digest that it should; install it by hand.')
  }
  writeFileSync(kubectlPath, program, { mode: 0o755 })
}

/** Go builds it into its own folder, where the tests look for it. */
function ensureHelm() {
  if (present('helm')) return
  const { stdout } = spawnSync('go', ['env', 'GOPATH'], { encoding: 'utf8' })
  const folder = stdout?.trim().split(delimiter)[0]
  if (!folder) return say('no helm, and no Go to build it: the tests of the chart will be left out')
  if (!existsSync(join(folder, 'bin', 'helm'))) run('helm', 'go', ['install', helmPackage])
}

async function agreed(question) {
  if (!process.stdin.isTTY) return false
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^(y|yes|)$/i.test((await terminal.question(`setup: ${question} [Y/n] `)).trim())
  } finally {
    terminal.close()
  }
}

/** `npm ci`, unless node_modules was made from this very lock file. Our mark in node_modules is the lock's digest. */
function ensureModules() {
  const lock = join(root, 'package-lock.json')
  const mark = join(root, 'node_modules', '.weft-lock')
  const digest = createHash('sha256').update(readFileSync(lock)).digest('hex')
  if (!modulesMatch(lock, mark, digest)) {
    // The project's own .bin must not be on PATH meanwhile: npm would run on a Node that it is about to delete.
    const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.endsWith('node_modules/.bin'))
    // Errors only: some packages ask for a newer Node than the one that installs them, and they get it.
    const args = ['ci', '--loglevel=error', '--no-audit', '--no-fund']
    run('dependencies', 'npm', args, { ...process.env, PATH: path.join(delimiter) })
  }
  if (!existsSync(mark) || readFileSync(mark, 'utf8') !== digest) writeFileSync(mark, digest)
  writeLauncher()
}

function modulesMatch(lock, mark, digest) {
  if (!existsSync(join(bin, 'node'))) return false
  if (existsSync(mark)) return readFileSync(mark, 'utf8') === digest
  const hidden = join(root, 'node_modules', '.package-lock.json')
  return existsSync(hidden) && statSync(hidden).mtimeMs >= statSync(lock).mtimeMs
}

/** `npx weft …` inside the clone: always on the pinned Node. */
function writeLauncher() {
  const launcher = join(bin, 'weft')
  const quoted = (path) => `'${path.replaceAll("'", `'\\''`)}'`
  const text = `#!/bin/sh\nexec ${quoted(join(bin, 'node'))} ${quoted(join(root, 'agent', 'main.ts'))} "$@"\n`
  if (existsSync(launcher) && readFileSync(launcher, 'utf8') === text) return
  writeFileSync(launcher, text, { mode: 0o755 })
}

/** The addon's own build script skips when it is up to date. */
function ensureAddon() {
  const { status, error } = spawnSync(join(bin, 'node'), [join('native', 'build.mjs')], {
    cwd: root,
    stdio: ['inherit', process.stderr, 'inherit'], // our own output belongs to the program that follows
    timeout: installTimeoutMs,
    env: withPath(),
  })
  if (error || status !== 0) throw new SetupError('the native addon did not build; the lines above say why.')
}

function withPath() {
  return { ...process.env, PATH: [bin, process.env.PATH ?? '', '/usr/sbin', '/sbin'].join(delimiter) }
}

/** Becomes the program: same terminal, signals passed on, its exit code ours. */
function become(program, args) {
  const child = spawn(join(bin, 'node'), [join(root, program), ...args], { stdio: 'inherit', env: withPath() })
  // The terminal signals the whole group already; a signal sent to us alone must reach the child, and we outlive it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.on('error', (error) => {
    say(error.message)
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1)
  })
}

async function main([name, ...args]) {
  const target = Object.hasOwn(targets, name ?? '') ? targets[name] : undefined
  if (!target) throw new SetupError(`say what to set up: ${Object.keys(targets).join(', ')}.`)
  // `weft` has a command line of its own, all of it; the others share theirs with us.
  const own = name === 'weft' ? [] : args.filter((arg) => arg === '--yes')
  const yes = own.length > 0 || process.env.CI === 'true'
  checkMachine(target)
  await ensurePackages(target, yes)
  if (target.helm) ensureHelm()
  if (!target.run) return
  ensureModules()
  ensureAddon()
  const passed = args.filter((arg) => !own.includes(arg))
  become(target.run, passed)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  say(error.message)
  process.exitCode = 1
}
