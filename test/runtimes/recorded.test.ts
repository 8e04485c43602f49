// Each recorded tree, made anew in a folder: its pods are found, with their processes and no one else's.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { podCgroups, podProcesses } from '../../agent/kernel/pod-cgroups.ts'
import { cgroupsOf, type RecordedTree, TREES } from './trees.ts'

/** Makes a tree as the kernel shows it: each cgroup, and each above it, has its list of processes. */
function make(root: string, tree: RecordedTree): void {
  for (const { path, pids } of cgroupsOf(tree)) {
    const folder = join(root, path)
    mkdirSync(folder, { recursive: true })
    for (let at = folder; at !== root; at = dirname(at)) {
      writeFileSync(join(at, 'cgroup.procs'), '', { flag: 'a' })
    }
    writeFileSync(join(folder, 'cgroup.procs'), pids.map((pid) => `${pid}\n`).join(''))
  }
}

for (const tree of TREES) {
  test(`${tree.name}: ${Object.keys(tree.pods).length} pods`, () => {
    const root = mkdtempSync(join(tmpdir(), 'weft-tree-'))
    try {
      make(root, tree)
      const found = [...podCgroups(root)].map(([uid, cgroup]) => {
        assert.ok(cgroup !== null, `${uid} was found twice`)
        const pids = podProcesses(cgroup).map(({ pid }) => pid)
        return [uid, pids.sort((a, b) => a - b)] as const
      })
      assert.deepEqual(Object.fromEntries(found), tree.pods)
    } finally {
      rmSync(root, { recursive: true })
    }
  })
}
