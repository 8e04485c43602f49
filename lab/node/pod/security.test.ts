import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1PodSecurityContext, V1SecurityContext } from '@kubernetes/client-node'
import { securityOf } from './security.ts'

const of = (own?: V1SecurityContext, podWide?: V1PodSecurityContext) => {
  const pod = { metadata: { namespace: 'default', name: 'web' }, spec: { containers: [], securityContext: podWide } }
  return securityOf(pod, { name: 'main', securityContext: own })
}

test('without a security context a container is left as it is', () => {
  assert.deepEqual(of(), { words: [], readOnlyRoot: false, user: 0 })
  assert.deepEqual(of({}, {}).words, [])
})

test('capabilities: none but those that are added, the usual ones, all of them', () => {
  const sealed = of({
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'CAP_SYS_PTRACE'] },
  })
  const bounds = '--bounding-set=-all,+net_admin,+sys_ptrace'
  assert.deepEqual(sealed.words, ['setpriv', '--no-new-privs', '--inh-caps=-all', bounds, '--'])
  const usual = of({ capabilities: { drop: ['NET_RAW'] } }).words.join(' ')
  assert.match(usual, /-all,.*\+net_bind_service/)
  assert.doesNotMatch(usual, /net_raw|sys_admin/)
  assert.ok(of({ capabilities: { add: ['ALL'] } }).words.includes('--bounding-set=+all'))
  assert.deepEqual(of({ privileged: true }).words, [])
})

test("a container's user goes before its pod's, and groups come with it", () => {
  const { words, user } = of({ runAsUser: 7 }, { runAsUser: 8, runAsGroup: 9, fsGroup: 10, supplementalGroups: [11] })
  assert.equal(user, 7)
  assert.deepEqual(words.slice(-4), ['--reuid=7', '--regid=9', '--groups=11,10', '--'])
  assert.ok(of({ runAsUser: 7 }).words.includes('--clear-groups'))
})

test('who must not be root is not started as root', () => {
  const named = {
    name: 'Error',
    message: /runAsNonRoot and image will run as root \(pod: "default\/web", container: main\)/,
  }
  assert.throws(() => of({}, { runAsNonRoot: true }), named)
  assert.throws(() => of({ runAsUser: 0, runAsNonRoot: true }), /runAsUser breaks non-root policy/)
  assert.equal(of({ runAsNonRoot: false }, { runAsNonRoot: true }).user, 0)
  assert.equal(of({}, { runAsNonRoot: true, runAsUser: 65532 }).user, 65532)
})

test('what is no capability is refused by its name', () => {
  assert.throws(() => of({ capabilities: { add: ['NET;rm'] } }), /"NET;rm" is no capability/)
})
