// The BPF programs as libbpf sees them: the light skeletons say nothing when the verifier refuses, bpftool does.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { SKELETONS, link } from '../../bpf/build.ts'
import { ADDRESS_BYTES, COUNTERS, INBOUND_COUNTERS, LISTENING_BYTES } from '../../agent/kernel/layout.ts'
import { OWN_BYTES, PORTS_BYTES, PORTS_GROUPS, PORTS_SLOTS, POD_BYTES } from '../../agent/kernel/layout.ts'

const root = join(import.meta.dirname, '../..')
const missing = ['clang', 'llvm-strip', 'bpftool'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined)
const noTools = missing.length > 0 ? `not installed: ${missing.join(', ')}` : null

function inFolder(run: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'weft-bpf-'))
  try {
    run(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

for (const skeleton of Object.keys(SKELETONS) as (keyof typeof SKELETONS)[]) {
  test(`the verifier takes every program of ${skeleton}, and few instructions`, (t) => {
    if (noTools) return t.skip(noTools)
    if (process.geteuid?.() !== 0) return t.skip('loading BPF programs needs root')
    inFolder((folder) => {
      const object = link(skeleton, folder)
      const pins = join(folder, 'pins')
      mkdirSync(pins)
      execFileSync('mount', ['-t', 'bpf', 'bpf', pins])
      try {
        const loaded = spawnSync('bpftool', ['-d', 'prog', 'loadall', object, join(pins, skeleton)], {
          encoding: 'utf8',
          maxBuffer: 64 << 20,
        })
        assert.equal(loaded.status, 0, loaded.stderr.slice(-6000))
        const logs = loaded.stderr.matchAll(/prog '(\w+)': -- BEGIN PROG LOAD LOG --[^]*?processed (\d+) insns/g)
        const counts = [...logs].map(([, name, count]) => ({ name, count: Number(count) }))
        for (const { name, count } of counts) t.diagnostic(`${name}: ${count} instructions verified`)
        assert.ok(counts.length > 0)
        for (const { name, count } of counts) assert.ok(count < 2000, `${name} grew to ${count} instructions`)
      } finally {
        execFileSync('umount', [pins])
      }
    })
  })
}

test('the checked-in skeletons are what their sources give', (t) => {
  const checked = spawnSync(process.execPath, [join(root, 'bpf/build.ts'), '--check'], { encoding: 'utf8' })
  if (checked.stdout.includes('SKIP')) return t.skip(checked.stdout.trim())
  assert.equal(checked.status, 0, checked.stdout + checked.stderr)
})

test('layout.ts has the sizes and names of mesh.h', (t) => {
  if (noTools) return t.skip(noTools)
  const sizes = {
    address: ADDRESS_BYTES,
    pod: POD_BYTES,
    own: OWN_BYTES,
    listening: LISTENING_BYTES,
    ports: PORTS_BYTES,
  }
  const lines = Object.entries(sizes).map(([name, size]) => `_Static_assert(sizeof(struct ${name}) == ${size}, "");`)
  for (const [name, value] of Object.entries({ PORTS_GROUPS, PORTS_SLOTS })) {
    lines.push(`_Static_assert(${name} == ${value}, "");`)
  }
  const input = `#include "${join(root, 'bpf/mesh.h')}"\n${lines.join('\n')}\n`
  execFileSync('clang', ['-fsyntax-only', '-x', 'c', '-'], { input })
  const header = readFileSync(join(root, 'bpf/mesh.h'), 'utf8')
  const names = (prefix: string): string[] => {
    const found = header.matchAll(new RegExp(`\\b${prefix}_(\\w+),`, 'g'))
    return [...found].map(([, name = '']) =>
      name.toLowerCase().replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
    )
  }
  assert.deepEqual(names('COUNT'), COUNTERS)
  assert.deepEqual(
    names('INBOUND').filter((name) => name !== 'counters'),
    INBOUND_COUNTERS,
  )
})
