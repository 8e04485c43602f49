// Seeks a pod from where it is run, as an agent does at its start: prints the root, the trees, and what was found in them.
import { closeSync, fstatSync } from 'node:fs'
import { doubtOf, findCgroupRoot, podTrees } from '../../agent/kernel/cgroup-mounts.ts'
import { findPods } from '../../agent/kernel/discover.ts'

/** What is printed, as JSON. `netns` is an inode, of each tree by itself and of all together. */
export interface Sought {
  readonly root: string | null
  readonly doubt: string | null
  readonly trees: readonly string[]
  readonly each: readonly (number | string)[]
  readonly all: number | string
}

const uid = process.argv[2] ?? ''

function seek(trees: readonly string[]): number | string {
  const place = findPods([uid], trees).get(uid)
  if (!place?.found) return place?.why ?? 'not sought'
  const { ino } = fstatSync(place.netns)
  closeSync(place.netns)
  return ino
}

const root = findCgroupRoot()
const trees = root === null ? [] : podTrees(root)
const sought: Sought = {
  ...{ root, trees, doubt: root === null ? null : doubtOf(root) },
  ...{ each: trees.map((tree) => seek([tree])), all: seek(trees) },
}
console.log(JSON.stringify(sought))
