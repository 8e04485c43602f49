import { NO_POLICY } from './destination.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Link, linkNear, linkTo } from './link.ts'
import type { ClientTls } from './traffic-policy.ts'
import type { GivenMode } from './peer-authentication.ts'
import { routeAddress } from './route-address.ts'
import { backendsFor } from './backends.ts'
import { routeTcp } from './route.ts'
import { request, seeded } from './request.fixture.ts'
import { compile, resolve } from './snapshot.ts'
import { PLAIN_TERMS } from './terms.ts'
import { hostOf, type PodsWish, world, type World } from './world.fixture.ts'
import { clientTls } from './traffic-policy.fixture.ts'

const WEB = 'spiffe://cluster.local/ns/default/sa/web'
const CAPTURED = { serviceAccount: 'web', captured: 'agent-b' }

interface Case {
  readonly tls: ClientTls | null
  readonly pod?: PodsWish
  readonly mode?: GivenMode
  readonly opaque?: boolean
}

/** The link to the only pod of a service. */
function linked({ tls, pod = CAPTURED, mode, opaque = true }: Case, link = linkTo): Link {
  const mesh = world()
    .service('web', opaque ? { ports: [{ port: 443 }] } : { ports: [{ port: 443, protocol: 'http' }] })
    .pods('web', pod)
    .destinationRule({ host: 'web', policy: { tls } })
  if (mode !== undefined) mesh.peerAuthentication({ mode })
  const snapshot = mesh.snapshot()
  const at = { consumer: 'default', caller: null, dialledPort: 443, family: 4, external: false } as const
  const backends = backendsFor(snapshot, { host: hostOf('web'), subset: null, port: null }, at)!
  return link(snapshot, backends.endpoints[0]!, backends)
}

const kindOf = (of: Case, link = linkTo): string => {
  const { kind, ...rest } = linked(of, link)
  return 'why' in rest ? `${kind}: ${rest.why}` : kind
}

const PLAIN = { captured: null }
const RULE = 'DestinationRule default/dr-1 asks for'

test('towards a pod of the mesh a rule’s word stands beside the pod’s own', () => {
  const names = { subjectAltNames: [WEB] }
  const others = { subjectAltNames: ['spiffe://cluster.local/ns/default/sa/db'] }
  const table: [of: Case, expected: string][] = [
    [{ tls: null }, 'tls'],
    [{ tls: clientTls('ISTIO_MUTUAL') }, 'tls'],
    [{ tls: clientTls('ISTIO_MUTUAL'), mode: 'STRICT' }, 'tls'],
    [{ tls: null, mode: 'DISABLE' }, 'plain'],
    [{ tls: clientTls('ISTIO_MUTUAL'), mode: 'DISABLE' }, 'tls'], // never plaintext
    [{ tls: clientTls('ISTIO_MUTUAL', names) }, 'tls'],
    [
      { tls: clientTls('ISTIO_MUTUAL', others) },
      `refused: ${RULE} ISTIO_MUTUAL, and pod default/web-1 (${WEB}) is none of its subjectAltNames`,
    ],
    [
      { tls: clientTls('ISTIO_MUTUAL'), pod: PLAIN },
      `refused: ${RULE} ISTIO_MUTUAL, and no agent says that pod default/web-1 takes TLS of the mesh`,
    ],
    [{ tls: clientTls('DISABLE') }, 'plain'],
    [{ tls: clientTls('DISABLE'), pod: PLAIN }, 'plain'],
    [{ tls: clientTls('DISABLE'), pod: { joined: false, captured: null }, mode: 'STRICT' }, 'plain'],
    [
      { tls: clientTls('DISABLE'), mode: 'STRICT' },
      `refused: ${RULE} DISABLE, and pod default/web-1 is under STRICT: it takes the mesh's own TLS alone`,
    ],
    [{ tls: clientTls('SIMPLE') }, 'originated'],
    [{ tls: clientTls('SIMPLE'), pod: PLAIN, opaque: false }, 'originated'],
    [
      { tls: clientTls('MUTUAL'), mode: 'STRICT' },
      `refused: ${RULE} MUTUAL, and pod default/web-1 is under STRICT: it takes the mesh's own TLS alone`,
    ],
    [
      { tls: clientTls('SIMPLE'), opaque: false },
      `refused: ${RULE} SIMPLE, and the Service port of pod default/web-1 at 10.244.0.1:443 declares HTTP: its node refuses an application's TLS`,
    ],
  ]
  for (const [of, expected] of table) assert.equal(kindOf(of), expected, JSON.stringify(of))
})

test('on one node TLS of the mesh has nothing to secure, and an application’s own is spoken all the same', () => {
  const others = clientTls('ISTIO_MUTUAL', { subjectAltNames: ['spiffe://cluster.local/ns/default/sa/db'] })
  assert.equal(kindOf({ tls: null, mode: 'STRICT' }, linkNear), 'plain')
  assert.equal(kindOf({ tls: clientTls('DISABLE'), mode: 'STRICT' }, linkNear), 'plain')
  assert.equal(kindOf({ tls: clientTls('ISTIO_MUTUAL') }, linkNear), 'plain')
  assert.match(kindOf({ tls: others }, linkNear), /^refused: .*none of its subjectAltNames$/)
  assert.equal(kindOf({ tls: clientTls('SIMPLE'), opaque: false, mode: 'STRICT' }, linkNear), 'originated')
})

/** A service whose endpoint is no pod. */
function outside(tls: ClientTls): Link {
  const snapshot = world()
    .service('ext', { ports: [{ port: 443 }] })
    .external('ext', { ip: '192.0.2.1', port: 443 })
    .destinationRule({ host: 'ext', policy: { tls } })
    .snapshot()
  const at = { consumer: 'default', caller: null, dialledPort: 443, family: 4, external: false } as const
  const backends = backendsFor(snapshot, { host: hostOf('ext'), subset: null, port: null }, at)!
  return linkTo(snapshot, backends.endpoints[0]!, backends)
}

test('outside of the mesh its TLS is not to be had, and is not replaced by plaintext', () => {
  assert.deepEqual(outside(clientTls('ISTIO_MUTUAL')), {
    kind: 'refused',
    key: '192.0.2.1:443',
    why: `${RULE} ISTIO_MUTUAL, and nobody knows of a pod at 192.0.2.1:443`,
  })
  assert.equal(outside(clientTls('DISABLE')).kind, 'plain')
})

test('links to one endpoint by other settings have other keys', () => {
  const files = { clientCertificate: '/c', privateKey: '/k' }
  const settings = [
    clientTls('DISABLE'),
    clientTls('SIMPLE'),
    clientTls('SIMPLE', { sni: 'a' }),
    clientTls('SIMPLE', { subjectAltNames: ['a'] }),
    clientTls('SIMPLE', { sni: 'b', subjectAltNames: ['a'] }),
    clientTls('SIMPLE', { caCertificates: '/ca' }),
    clientTls('SIMPLE', { credentialName: 's' }),
    clientTls('SIMPLE', { insecureSkipVerify: true }),
    clientTls('MUTUAL', files),
    clientTls('MUTUAL', { ...files, clientCertificate: '/d' }),
    clientTls('MUTUAL', { credentialName: 's' }),
  ]
  const keys = settings.map((tls) => outside(tls).key)
  assert.equal(new Set(keys).size, settings.length)
  assert.equal(outside(clientTls('SIMPLE')).key, keys[1])
})

// --- endpoints that were dialled

const ADDRESS = { ip: '10.244.0.1', port: 443 }

function dialledEndpoint(mesh: World) {
  const snapshot = mesh.snapshot()
  const target = resolve(snapshot, ADDRESS)
  assert.ok(target.kind !== 'service')
  return { snapshot, target }
}

test('an endpoint of a headless Service that is dialled is secured as that Service’s rule has it', () => {
  const mesh = (headless: boolean): World =>
    world()
      .service('db', { headless, ports: [{ port: 443, protocol: 'http' }] })
      .pods('db', { captured: null })
      .destinationRule({ host: 'db', policy: { ports: [{ port: 443, tls: clientTls('SIMPLE') }] } })
  const { snapshot, target } = dialledEndpoint(mesh(true))
  const flow = routeTcp(snapshot, target, { consumer: 'default', caller: null })
  assert.deepEqual([flow.policy.tls?.mode, flow.host, flow.isUnknown], ['SIMPLE', hostOf('db'), false])
  const asked = { request: request({ authority: 'db' }), caller: null }
  const route = routeAddress(snapshot, target, asked, seeded(1))
  assert.equal(route.kind === 'forward' && route.backends.policy.tls?.mode, 'SIMPLE')
  // behind any other Service a pod that is dialled is but a pod
  const aside = dialledEndpoint(mesh(false))
  assert.equal(routeTcp(aside.snapshot, aside.target, { consumer: 'default', caller: null }).policy.tls, null)
})

test('a route to a subset of the headless Service itself is secured as the subset’s', () => {
  const mesh = world()
    .service('db', { headless: true, ports: [{ port: 443, protocol: 'http' }] })
    .pods('db', { captured: null })
    .destinationRule({ host: 'db', subsets: [{ name: 'v1', policy: { tls: clientTls('SIMPLE', { sni: 'v1' }) } }] })
    .virtualService({
      hosts: ['db'],
      http: [{ destinations: [{ host: hostOf('db'), subset: 'v1', port: null, weight: 0, headers: null }] }],
    })
  const { snapshot, target } = dialledEndpoint(mesh)
  const route = routeAddress(snapshot, target, { request: request({ authority: 'db' }), caller: null }, seeded(1))
  assert.equal(route.kind === 'forward' && route.backends.policy.tls?.sni, 'v1')
})

test('what nobody knows is passed through as it is, whatever a rule says of all hosts', () => {
  const mesh = world().destinationRule({ host: '*', policy: { tls: clientTls('ISTIO_MUTUAL') } })
  const { snapshot, target } = dialledEndpoint(mesh)
  const { endpoints, policy, host } = routeTcp(snapshot, target, { consumer: 'default', caller: null })
  assert.equal(linkTo(snapshot, endpoints[0]!, { policy, host }).kind, 'plain')
})

test('a port that goes past the proxy is no port of the mesh: nobody there takes its TLS, nor refuses plaintext', () => {
  const pod = { ...CAPTURED, terms: { ...PLAIN_TERMS, excludeInboundPorts: [443] } }
  for (const mode of ['PERMISSIVE', 'STRICT', 'DISABLE'] as const) {
    assert.equal(kindOf({ tls: null, pod, mode }), 'plain')
    assert.equal(kindOf({ tls: clientTls('SIMPLE'), pod, mode }), 'originated')
    assert.match(kindOf({ tls: clientTls('ISTIO_MUTUAL'), pod, mode }), /^refused: /)
  }
})

test('whose agent is lost is reached in plaintext where that is taken, else as before: by TLS or not at all', () => {
  const pod = { ...CAPTURED, agentReady: false }
  assert.equal(kindOf({ tls: null, pod }), 'plain')
  assert.equal(kindOf({ tls: null, pod, mode: 'STRICT' }), 'tls')
  assert.equal(kindOf({ tls: clientTls('ISTIO_MUTUAL'), pod }), 'tls')
})

test('a pod that is not known yet is not reached where it may be under STRICT', () => {
  const known = world()
    .service('web', { ports: [{ port: 443 }] })
    .pods('web', CAPTURED)
  const of = (mesh: World): string => {
    const snapshot = compile({ ...mesh.inventory(), workloads: [] })
    const { endpoints } = snapshot.serviceByHost.get(hostOf('web'))!.ports[0]!
    const link = linkTo(snapshot, endpoints[0]!, { host: hostOf('web'), policy: NO_POLICY })
    return 'why' in link ? `${link.kind}: ${link.why}` : link.kind
  }
  assert.equal(of(known), 'plain')
  assert.equal(of(known.peerAuthentication({ namespace: 'elsewhere', mode: 'STRICT' })), 'plain')
  const why = /^refused: the pod at 10\.244\.0\.1:443 is not known yet, and may be under STRICT$/
  assert.match(of(known.peerAuthentication({ namespace: 'default', selector: { app: 'other' }, mode: 'STRICT' })), why)
})
