import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findCgroup2 } from './cgroup.ts'

test('cgroup2 is found wherever it is mounted, also beside version 1', () => {
  assert.equal(findCgroup2('cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n'), '/sys/fs/cgroup')
  const hybrid =
    'tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n'
  assert.equal(findCgroup2(hybrid), '/sys/fs/cgroup/unified')
  assert.equal(findCgroup2('cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n'), undefined)
})
