// A container's mounts in a mount namespace of its own, on this machine's own files: needs root.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runTool } from '../../lab/node/run.ts'
import { type Bind, mountScript } from '../../lab/node/pod/mounts.ts'

/** Runs `then` behind the mounts of `binds`, in a mount namespace of its own; below ROOT where there is one. */
async function behind(binds: readonly Bind[], then: string, wish: { kept?: string[]; readOnlyRoot?: boolean } = {}) {
  const scratch = mkdtempSync(join(tmpdir(), 'weft-mounts-scratch-'))
  const script = mountScript({ binds, scratch, kept: wish.kept ?? [], readOnlyRoot: wish.readOnlyRoot ?? false })
  try {
    const inside = `if [ -n "$ROOT" ]; then exec chroot "$ROOT" /bin/sh -c "$0"; fi; exec /bin/sh -c "$0"`
    const words = ['--mount', '--propagation', 'slave', '/bin/sh', '-c', `set -e\n${script}\n${inside}`, then]
    return await runTool('unshare', words)
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-mounts-'))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const bindOf = (source: string, target: string, readOnly = false): Bind => ({ source, target, readOnly, isFile: false })

test('a mount point by way of a symbolic link is made in the layer, not on the machine', () =>
  withFolder(async (folder) => {
    for (const name of ['real', 'a', 'b']) mkdirSync(join(folder, name))
    symlinkSync(join(folder, 'real'), join(folder, 'link'))
    writeFileSync(join(folder, 'a/said'), 'a')
    writeFileSync(join(folder, 'b/said'), 'b')
    const binds = [
      bindOf(join(folder, 'a'), join(folder, 'link/deep/one')),
      bindOf(join(folder, 'b'), join(folder, 'real/two')),
    ]
    for (const more of [[], [bindOf(join(folder, 'a'), '/weft-lab-nowhere/else')]]) {
      const seen = await behind([...binds, ...more], `cat ${folder}/real/deep/one/said ${folder}/link/two/said`)
      assert.deepEqual(seen, { code: 0, stdout: 'ab', stderr: '' })
    }
    assert.ok(!existsSync(join(folder, 'real/deep')))
    assert.ok(!existsSync('/weft-lab-nowhere'))
  }))

test("what a bind shows is the machine's, also where a layer covers its place", () =>
  withFolder(async (folder) => {
    mkdirSync(join(folder, 'data'))
    const binds = [bindOf(join(folder, 'data'), join(folder, 'not-there'))]
    const seen = await behind(binds, `echo written >${folder}/not-there/file; echo lost >${folder}/lost`)
    assert.equal(seen.code, 0, seen.stderr)
    assert.equal(readFileSync(join(folder, 'data/file'), 'utf8'), 'written\n')
    assert.ok(!existsSync(join(folder, 'lost')))
  }))

test('with a read-only root nothing but volumes can be written to', () =>
  withFolder(async (folder) => {
    for (const name of ['rw', 'ro']) mkdirSync(join(folder, name))
    for (const target of [join(folder, 'mnt'), '/weft-lab-nowhere/mnt']) {
      const binds = [bindOf(join(folder, 'rw'), target), bindOf(join(folder, 'ro'), `${target}-ro`, true)]
      const tries = [`${target}/x`, `${target}-ro/x`, `${folder}/x`, '/etc/weft-lab-x', '/run/weft-lab-x', '/dev/null']
      const script = tries.map((file) => `if echo x 2>/dev/null >${file}; then echo yes; else echo no; fi`).join('\n')
      const seen = await behind(binds, script, { readOnlyRoot: true })
      assert.equal(seen.stdout.split('\n').join(' '), 'yes no no no no yes ', `${target}: ${seen.stderr}`)
    }
    assert.ok(existsSync(join(folder, 'rw/x')))
    assert.ok(!existsSync('/etc/weft-lab-x'))
  }))

test('a kept folder stays in sight below a layer, with what is mounted in it', () =>
  withFolder(async (folder) => {
    for (const name of ['kept', 'kept/inner', 'data']) mkdirSync(join(folder, name))
    writeFileSync(join(folder, 'data/said'), 'inner')
    const inner = mountScript({
      ...{ binds: [bindOf(join(folder, 'data'), join(folder, 'not-there'))], scratch: join(folder, 'kept/scratch') },
      ...{ kept: [join(folder, 'kept')], readOnlyRoot: false },
    })
    const mounted = `mount --bind ${folder}/data ${folder}/kept/inner`
    const words = ['--mount', '--propagation', 'slave', '/bin/sh', '-ec']
    const seen = await runTool('unshare', [...words, `${mounted}\n${inner}\ncat ${folder}/kept/inner/said`])
    assert.deepEqual(seen, { code: 0, stdout: 'inner', stderr: '' })
    const covered = [bindOf(join(folder, 'data'), folder)]
    const then = `cat ${folder}/said; ls ${folder}/kept; echo 2>/dev/null >${folder}/kept/x || echo sealed`
    const sealed = await behind(covered, then, { kept: [join(folder, 'kept')], readOnlyRoot: true })
    assert.equal(sealed.stdout, 'innerinner\nscratch\nsealed\n', sealed.stderr)
  }))
