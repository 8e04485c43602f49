import assert from 'node:assert/strict'
import { test } from 'node:test'
import { placeOnNode } from './host-files.ts'

const HOST = { files: '/lab/hosts/node-1', bpf: '/lab/bpf/node-1' }

test("a node's own folders are in the lab's state, the others on the machine", () => {
  for (const [path, place] of [
    ['/run/weft', '/lab/hosts/node-1/run/weft'],
    ['/run/weft/', '/lab/hosts/node-1/run/weft'],
    ['/etc/cni/net.d', '/lab/hosts/node-1/etc/cni/net.d'],
    ['/sys/fs/bpf', '/lab/bpf/node-1'],
    ['/sys/fs/bpf/weft', '/lab/bpf/node-1/weft'],
    ['/sys/fs/cgroup', '/sys/fs/cgroup'],
    ['/run/wefts', '/run/wefts'],
    ['/var/lib', '/var/lib'],
    ['/', '/'],
  ] as const) {
    assert.equal(placeOnNode(HOST, path), place, path)
  }
})

test('a path with dots leads where it says', () => {
  assert.equal(placeOnNode(HOST, '/run/weft/../../etc/passwd'), '/etc/passwd')
  assert.equal(placeOnNode(HOST, '/tmp/../run/weft/a'), '/lab/hosts/node-1/run/weft/a')
})
