import assert from 'node:assert/strict'
import test from 'node:test'
import { AGENT_CAPABILITIES } from './capabilities.ts'
import { KernelError } from './kernel.ts'
import type { Machine } from './probe.ts'
import { belowFloor, probe } from './probe.ts'

const refusing = (code: string): (() => void) => {
  return () => {
    throw new KernelError(code, 'attach connect4')
  }
}
const capabilities = AGENT_CAPABILITIES.reduce((mask, { bit }) => mask | (1n << BigInt(bit)), 0n)
const good: Machine = {
  euid: 0,
  capabilities,
  release: '6.1.0-30-amd64',
  cgroupRoot: '/cgroup',
  attempt: () => undefined,
}

test('a machine on which it works is able, whatever its version says', () => {
  assert.deepEqual(probe({ ...good, release: '5.10.0-vendor' }), { able: 'yes', cgroupRoot: '/cgroup' })
})

test('what is missing is said in one sentence', () => {
  const needs = (machine: Partial<Machine>): string => {
    const ability = probe({ ...good, ...machine })
    assert.equal(ability.able, 'no')
    return ability.able === 'no' ? ability.needs : ''
  }
  assert.match(needs({ euid: 1000 }), /needs root/)
  assert.match(needs({ cgroupRoot: null }), /cgroup2/)
  assert.match(needs({ release: '5.10.0-30-amd64', attempt: refusing('EINVAL') }), /Linux 6\.1 or later.*5\.10/)
  assert.match(needs({ attempt: refusing('EPERM') }), /refused BPF/)
  assert.match(needs({ attempt: refusing('ENOSYS') }), /without BPF/)
})

test('each capability that is missing is named with what it is for', () => {
  for (const { name, bit, why } of AGENT_CAPABILITIES) {
    const ability = probe({ ...good, capabilities: capabilities & ~(1n << BigInt(bit)) })
    const needs = `capturing pods needs ${name} (to ${why}), which this process was not given: add it to its container's capabilities`
    assert.deepEqual(ability, { able: 'no', needs })
  }
  const none = probe({ ...good, capabilities: 0n })
  assert.match(
    none.able === 'no' ? none.needs : '',
    /needs CAP_NET_ADMIN \(.*\), CAP_SYS_PTRACE \(.*\) and CAP_SYS_ADMIN \(/,
  )
})

test('a failure that nothing explains is unknown, not a no', () => {
  assert.deepEqual(probe({ ...good, attempt: refusing('EINVAL') }), {
    able: 'unknown',
    why: 'attach connect4: EINVAL',
  })
})

test('kernel releases are compared as numbers', () => {
  for (const older of ['4.19.0', '5.4.0-1', '5.15.0-91-generic', '6.0.19']) assert.ok(belowFloor(older), older)
  for (const newer of ['6.1.0', '6.1.0-30-amd64', '6.12', '10.0.1']) assert.ok(!belowFloor(newer), newer)
})
