import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sceneOf } from '../model/joining/joining.fixture.ts'
import { planOf } from '../model/joining/plan.ts'
import { PLAIN_TERMS } from '../model/terms.ts'
import { world } from '../model/world.fixture.ts'
import { outcomeText, planText } from './join-text.ts'

const STRICT = { name: 'strict', mode: 'STRICT' } as const
const shop = () =>
  world()
    .service('web', { ports: [{ port: 80, name: 'http', protocol: 'http' }, { port: 22 }] })
    .pods('web', { count: 2, joined: false })
    .pods('db', { joined: false, node: 'node-2' })
    .pods('aside', { namespace: 'other', joined: false })
    .virtualService({ name: 'canary', hosts: ['web'] })
    .peerAuthentication(STRICT)

test('a plan to join tells all of it, and what it would do where it is but a dry run', () => {
  const terms = { ...PLAIN_TERMS, excludeOutboundPorts: [3306], onLoss: 'closed' } as const
  const words = { 'web-2': { unfit: 'hostNetwork' }, 'db-1': { terms } }
  const plan = planOf('join', sceneOf(shop(), words, { doors: [{ service: 'web', by: 'NodePort' }] }))
  assert.equal(
    planText(plan, true),
    `Namespace default joins the mesh (dry run): weft.dev/mesh=enabled would be written

NODE     POD     BECOMES        REASON
node-1   web-1   captured       -
node-1   web-2   not captured   hostNetwork
node-2   db-1    captured       -

2 of 3 pods captured: 1 on node-1, 1 on node-2; 1 not captured

Needs care:
  1 pod cannot be captured
  STRICT refuses who comes from outside the cluster: web (NodePort)

Protocols:
  Service web port 22 looks like ssh (port 22), the server speaks first: each new connection waits --sniff-ms (100 ms) for bytes of its caller. Declare appProtocol: tcp, or name it tcp-ssh

Exclusions:
  db-1: past the mesh out to ports 3306

Policies:
  STRICT (PeerAuthentication default/strict): web-1, db-1
  VirtualService default/canary: holds for what these pods call
  Service web (NodePort) has callers outside of the cluster: STRICT refuses them
  WEFT0404 PeerAuthentication default/strict: 1 of 3 pods under it may take plaintext, not being captured: default/web-2

To know:
  no pod is started anew; connections that are open go on past the mesh, new ones go through it
  STRICT refuses plaintext: 1 pod of the cluster is outside of the mesh, and which pods outside call these is not known
  plaintext that is older than the capture is reset after --strict-grace-seconds (300)
  fail-closed: db-1 refuses new connections while no agent runs, and for some 50 ms now
`,
  )
})

test('a plan to leave tells what stops to hold', () => {
  const words = {
    'web-1': { captured: 'a', terms: { ...PLAIN_TERMS, onLoss: 'closed' } },
    'web-2': { wish: 'enabled' },
  } as const
  const wishes = { annotation: 'enabled', label: 'enabled' }
  const text = planText(planOf('leave', sceneOf(shop(), words, { wishes })), false)
  assert.match(
    text,
    /^Namespace default leaves the mesh: weft.dev\/mesh=enabled is taken away, the label of that name, too\n/,
  )
  assert.match(
    text,
    /\nnode-1 +web-1 +released +-\nnode-1 +web-2 +stays in the mesh +its own weft.dev\/mesh says 'enabled'\n/,
  )
  assert.match(
    text,
    /STRICT \(PeerAuthentication default\/strict\) no longer holds for web-1: plaintext is taken from anybody/,
  )
  assert.match(text, /VirtualService default\/canary: no longer holds for what these pods call/)
  assert.match(text, /in plaintext from now on/)
  assert.match(text, /web-1 no longer fails closed/)
})

test('an empty namespace has no table', () => {
  assert.equal(
    planText(planOf('join', sceneOf(world())), false),
    'Namespace default joins the mesh: weft.dev/mesh=enabled is written\n\n0 of 0 pods captured\n',
  )
})

test('how it ended names who is missing, and nothing in a reason steers the terminal', () => {
  const outcome = {
    complete: false,
    done: 1,
    gone: 1,
    missing: [{ name: 'b', reason: 'pending: \x1b[2J' }],
    tookMs: 1250,
  }
  assert.equal(
    outcomeText('join', outcome),
    '\n1 of 2 pods captured after 1.3 s, 1 pod ended meanwhile\n  b: pending:  [2J\n',
  )
})
