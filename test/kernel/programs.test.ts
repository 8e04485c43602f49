// The BPF programs as libbpf sees them: by its own loader, which knows more than ours.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { OBJECTS, link } from '../../bpf/build.ts'
import * as layout from '../../agent/kernel/layout.ts'

/** Instructions that the verifier may walk through, a program. */
const BUDGET = 4000

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

for (const name of Object.keys(OBJECTS) as (keyof typeof OBJECTS)[]) {
  test(`the verifier takes every program of ${name}, and few instructions`, (t) => {
    if (noTools) return t.skip(noTools)
    if (process.geteuid?.() !== 0) return t.skip('loading BPF programs needs root')
    inFolder((folder) => {
      const object = link(name, folder)
      const pins = join(folder, 'pins')
      mkdirSync(pins)
      execFileSync('mount', ['-t', 'bpf', 'bpf', pins])
      try {
        const loaded = spawnSync('bpftool', ['-d', 'prog', 'loadall', object, join(pins, name)], {
          encoding: 'utf8',
          maxBuffer: 64 << 20,
        })
        assert.equal(loaded.status, 0, loaded.stderr.slice(-6000))
        const logs = loaded.stderr.matchAll(/prog '(\w+)': -- BEGIN PROG LOAD LOG --[^]*?processed (\d+) insns/g)
        const counts = [...logs].map(([, program, count]) => ({ program, count: Number(count) }))
        for (const { program, count } of counts) t.diagnostic(`${program}: ${count} instructions verified`)
        assert.ok(counts.length > 0)
        for (const { program, count } of counts) assert.ok(count < BUDGET, `${program} grew to ${count} instructions`)
      } finally {
        execFileSync('umount', [pins])
      }
    })
  })
}

test('the checked-in objects are what their sources give', (t) => {
  const checked = spawnSync(process.execPath, [join(root, 'bpf/build.ts'), '--check'], { encoding: 'utf8' })
  if (checked.stdout.includes('SKIP')) return t.skip(checked.stdout.trim())
  assert.equal(checked.status, 0, checked.stdout + checked.stderr)
})

test('layout.ts has the sizes and names of mesh.h', (t) => {
  if (noTools) return t.skip(noTools)
  const sizes = {
    address: layout.ADDRESS_BYTES,
    pod: layout.POD_BYTES,
    own: layout.OWN_BYTES,
    excluded_port: layout.EXCLUDED_PORT_BYTES,
    excluded_block: layout.EXCLUDED_BLOCK_BYTES,
    prober: layout.PROBER_BYTES,
    tally_key: layout.TALLY_KEY_BYTES,
    tally: layout.TALLY_BYTES,
    listening: layout.LISTENING_BYTES,
    ports: layout.PORTS_BYTES,
  }
  const { LAYOUT, PORTS_GROUPS, PORTS_SLOTS, SPREAD, FLAG } = layout
  const flags = Object.entries(FLAG).map(([name, flag]) => [`POD_${name.toUpperCase()}`, flag] as const)
  const values = [...Object.entries({ LAYOUT, PORTS_GROUPS, PORTS_SLOTS, SPREAD }), ...flags]
  const lines = [
    ...Object.entries(sizes).map(([name, size]) => `_Static_assert(sizeof(struct ${name}) == ${size}, "");`),
    ...values.map(([name, value]) => `_Static_assert(${name} == ${value}, "");`),
  ]
  const input = `#include "${join(root, 'bpf/mesh.h')}"\n${lines.join('\n')}\n`
  execFileSync('clang', ['-fsyntax-only', '-x', 'c', '-'], { input })
  const header = readFileSync(join(root, 'bpf/mesh.h'), 'utf8')
  const names = (prefix: string): string[] => {
    const found = header.matchAll(new RegExp(`\\b${prefix}_(\\w+),`, 'g'))
    return [...found].map(([, name = '']) =>
      name.toLowerCase().replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
    )
  }
  assert.deepEqual(names('PATH'), layout.PASSAGES)
  assert.deepEqual(names('COUNT'), layout.COUNTERS)
  assert.deepEqual(
    names('INBOUND').filter((name) => name !== 'counters'),
    layout.INBOUND_COUNTERS,
  )
})
