import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1SecurityContext } from '@kubernetes/client-node'
import { rightsOf, runtimeConfig, type OciWish, type Rights } from './oci-config.ts'

const AGENT: V1SecurityContext = {
  runAsUser: 0,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'CAP_SYS_PTRACE', 'SYS_ADMIN'] },
}

const rights = (own?: V1SecurityContext, podWide = {}): Rights =>
  rightsOf({ spec: { containers: [], securityContext: podWide } }, { name: 'main', securityContext: own })

interface Shape {
  readonly root: { readonly readonly: boolean }
  readonly process: {
    readonly capabilities: Record<string, string[]>
    readonly user: object
    readonly noNewPrivileges: boolean
  }
  readonly mounts: readonly { readonly destination: string; readonly options: readonly string[] }[]
  readonly linux: { readonly namespaces: readonly { readonly type: string; readonly path?: string }[] }
}

function config(of: Rights, binds: OciWish['binds'] = []): Shape {
  const wish = { rootfs: '/image', argv: ['/usr/bin/weft'], env: { A: '1' }, workingDir: '/', hostname: 'host' }
  return runtimeConfig({ ...wish, network: '/run/netns/one', binds, rights: of }) as unknown as Shape
}

test('an agent has the capabilities that it asks for, no way to more, and a root that it cannot write to', () => {
  const { process, root } = config(rights(AGENT))
  const three = ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN', 'CAP_SYS_PTRACE']
  const { bounding, effective, permitted, ambient, inheritable } = process.capabilities
  assert.deepEqual([bounding, effective, permitted, ambient, inheritable], [three, three, three, [], []])
  assert.deepEqual([process.noNewPrivileges, root.readonly], [true, true])
})

test('who says nothing is root with what runtimes usually give', () => {
  const given = rights()
  assert.equal(given.user, 0)
  assert.ok(given.capabilities.includes('CAP_CHOWN') && !given.capabilities.includes('CAP_SYS_ADMIN'))
  assert.deepEqual([given.noNewPrivileges, given.readOnlyRoot], [false, false])
})

test("a container's word goes before its pod's, and another user than root has no capability in force", () => {
  const of = rights({ runAsUser: 65_532 }, { runAsUser: 1, runAsGroup: 2, fsGroup: 3, supplementalGroups: [4] })
  assert.deepEqual([of.user, of.group, of.groups], [65_532, 2, [4, 3]])
  assert.deepEqual(config(of).process.capabilities['effective'], [])
})

test('network and process ids are those of the pod and the machine; binds come outermost first', () => {
  const bind = (target: string, readOnly = false) => ({ source: '/from', target, readOnly, isFile: false })
  const { linux, mounts } = config(rights(AGENT), [bind('/sys/fs/bpf'), bind('/run', true)])
  assert.deepEqual(linux.namespaces.find(({ type }) => type === 'network')?.path, '/run/netns/one')
  assert.ok(!linux.namespaces.some(({ type }) => type === 'pid' || type === 'cgroup'))
  const last = mounts.slice(-2).map(({ destination, options }) => [destination, options.at(-1)])
  assert.deepEqual(last, [
    ['/run', 'ro'],
    ['/sys/fs/bpf', 'rw'],
  ])
})
