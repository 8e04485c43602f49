import { NOWHERE_KNOWN } from './balance/locality.ts'
import { DEFAULT_MESH_SETTINGS } from './mesh-settings.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { RequestAuthentication } from './authentication/request-authentication.ts'
import type { AuthorizationPolicy } from './authorization/policy.ts'
import { protectionOf } from './authorization/protection.ts'
import { Draft, drained, nothing, type Refusal } from './build.ts'
import { between, COLLECTIONS, type Delta, Gathered, KEYS, pieces, wholeOf } from './delta.ts'
import type { GivenMode } from './peer-authentication.ts'
import type { VirtualService } from './policy.ts'
import { request, seeded } from './request.fixture.ts'
import { routeHttp, routeTcp } from './route.ts'
import { routeAddress } from './route-address.ts'
import type { Endpoint } from './service.ts'
import {
  compile,
  type Inventory,
  isTerminating,
  modeOf,
  peerDecision,
  resolve,
  resolvePod,
  type Snapshot,
  workloadAt,
} from './snapshot.ts'
import { PLAIN_TERMS } from './terms.ts'
import type { Workload } from './workload.ts'
import { NO_JWT_RULE } from './security.fixture.ts'
import { hostOf, match, rule, to } from './world.fixture.ts'

// Few names and addresses, so that objects meet, contest and replace each other all the time.
const NAMES = ['a', 'b', 'c', 'd']
const SPACES = ['default', 'istio-system', 'other']
const IPS = ['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1', 'fd00::2']
const PORTS = [80, 81]

const name = fc.constantFrom(...NAMES)
const space = fc.constantFrom(...SPACES)
const ip = fc.constantFrom(...IPS)
const port = fc.constantFrom(...PORTS)
const version = fc.constantFrom('v1', 'v2')
const host = fc.oneof(
  fc.tuple(name, space).map(([service, namespace]) => hostOf(service, namespace)),
  fc.constantFrom('*', '*.local', '*.default.svc.cluster.local', 'outside.example', `a-0.${hostOf('a')}`),
)
const createdMs = fc.integer({ min: 1, max: 3 })
const exportTo = fc.constantFrom(['*'], ['default'], [])

/** A record as a literal would be: fast-check's own have no prototype now and then. */
const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>

const workload = fc
  .record({
    ...{ uid: name, ips: fc.uniqueArray(ip, { maxLength: 2 }), version },
    ...{ hostNetwork: fc.boolean(), terminating: fc.boolean() },
  })
  .map(({ uid, ips, version: label, hostNetwork, terminating }) => ({
    ...{ uid, name: uid, namespace: 'default', node: null, ips, labels: { version: label }, serviceAccount: '' },
    ...{ owner: uid, hostNetwork, unfit: null, terms: PLAIN_TERMS, joined: true, terminating },
    ...{ captured: null, announcedAccount: null, agentReady: true, placedBy: 'spec' as const },
  }))

const endpoint: fc.Arbitrary<Endpoint> = plain({
  address: fc.tuple(ip, port).map(([one, number]) => ({ ip: one, port: number })),
  workload: fc.option(name),
  ready: fc.boolean(),
  serving: fc.boolean(),
  terminating: fc.boolean(),
  node: fc.constant(null),
  locality: fc.constant(null),
  readySinceMs: fc.constant(null),
})

const service = fc
  .record({
    name,
    namespace: space,
    addresses: fc.uniqueArray(ip, { maxLength: 2 }),
    external: fc.subarray(IPS),
    headless: fc.boolean(),
    externalName: fc.option(host, { freq: 2 }),
    ports: fc.uniqueArray(fc.tuple(port, fc.array(endpoint, { maxLength: 3 })), { maxLength: 2, selector: ([p]) => p }),
  })
  .map(({ ports, external, ...rest }) => ({
    ...{
      ...rest,
      host: hostOf(rest.name, rest.namespace),
      externalAddresses: rest.addresses.filter((one) => external.includes(one)),
      publishNotReady: false,
      affinitySeconds: null,
      localOnly: false,
      distribution: null,
    },
    ports: ports.map(([number, endpoints]) => ({
      ...{ name: '', port: number, protocol: 'http' as const },
      endpoints,
    })),
  }))

const BAD_REGEX = '('
const destination = fc
  .tuple(name, fc.option(version))
  .map(([service_, subset]) => to(hostOf(service_), { subset, weight: 1 }))
const virtualService: fc.Arbitrary<VirtualService> = fc
  .record({
    ...{ name, namespace: space, createdMs, exportTo },
    hosts: fc.uniqueArray(host, { minLength: 1, maxLength: 2 }),
    regex: fc.constantFrom('/a', '/.*', BAD_REGEX),
    destinations: fc.array(destination, { minLength: 1, maxLength: 2 }),
  })
  .map(({ name: own, namespace, regex, destinations, ...rest }) => ({
    ...rest,
    ref: { kind: 'VirtualService', namespace, name: own },
    http: [rule({ matches: [match({ uri: { kind: 'regex', value: regex } })], destinations })],
    ...{ tls: [], tcp: [] },
  }))

const destinationRule = fc
  .record({
    ...{ name, namespace: space, createdMs, exportTo, host, subsets: fc.uniqueArray(version) },
    callers: fc.option(fc.record({ app: name })),
  })
  .map(({ name: own, namespace, subsets, ...rest }) => ({
    ...{ ...rest, policy: null, ref: { kind: 'DestinationRule', namespace, name: own } },
    subsets: subsets.map((label) => ({ name: label, labels: { version: label }, policy: null })),
  }))

const given = fc.constantFrom<GivenMode[]>('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT')
const peerAuthentication = fc
  .record({
    ...{ name, namespace: space, createdMs, mode: given, selector: fc.option(version) },
    ports: fc.uniqueArray(fc.record({ port, mode: given }), { selector: ({ port: number }) => number, maxLength: 2 }),
  })
  .map(({ name: own, namespace, selector, ports, ...rest }) => ({
    ...{ ...rest, ref: { kind: 'PeerAuthentication', namespace, name: own } },
    ...(selector === null ? { selector, ports: [] } : { selector: { version: selector }, ports }),
  }))

const aim = {
  ...{ name, namespace: space, createdMs, selector: fc.option(version) },
  targets: fc.option(name, { freq: 2 }),
}
const aimed = <T>(kind: string, { name: own, namespace, selector, targets, ...rest }: AimWish & T) => ({
  ...rest,
  ref: { kind, namespace, name: own },
  selector: selector === null || targets !== null ? null : { version: selector },
  targets: targets === null ? null : [{ namespace, name: targets }],
})
interface AimWish {
  readonly name: string
  readonly namespace: string
  readonly selector: string | null
  readonly targets: string | null
}
const authorizationPolicy: fc.Arbitrary<AuthorizationPolicy> = fc
  .record({ ...aim, action: fc.constantFrom('ALLOW' as const, 'DENY' as const), dryRun: fc.boolean() })
  .map((wish) => ({ ...aimed('AuthorizationPolicy', wish), provider: '', rules: [] }))
const requestAuthentication: fc.Arbitrary<RequestAuthentication> = fc.record({ ...aim, issuer: host }).map((wish) => {
  const { issuer, ...rest } = aimed('RequestAuthentication', wish)
  return { ...rest, rules: [{ ...NO_JWT_RULE, issuer, keys: { kind: 'uri' as const, uri: issuer } }] }
})

const unique = <T>(one: fc.Arbitrary<T>, selector: (item: T) => string) =>
  fc.uniqueArray(one, { maxLength: 4, selector })

/** What the cluster holds next: some of what it held, and some that is new under old or new names. */
const change = fc.record({
  keep: fc.integer(),
  rootNamespace: fc.constantFrom('istio-system', 'other'),
  mesh: fc.constantFrom(DEFAULT_MESH_SETTINGS, {
    ...DEFAULT_MESH_SETTINGS,
    outboundTrafficPolicy: 'REGISTRY_ONLY' as const,
  }),
  node: fc.constant('node-1'),
  workloads: unique(workload, KEYS.workloads),
  services: unique(service, KEYS.services),
  virtualServices: unique(virtualService, KEYS.virtualServices),
  destinationRules: unique(destinationRule, KEYS.destinationRules),
  peerAuthentications: unique(peerAuthentication, KEYS.peerAuthentications),
  authorizationPolicies: unique(authorizationPolicy, KEYS.authorizationPolicies),
  requestAuthentications: unique(requestAuthentication, KEYS.requestAuthentications),
})

function changed(before: Inventory, { keep, ...fresh }: typeof change extends fc.Arbitrary<infer C> ? C : never) {
  const random = seeded(keep)
  const merged = COLLECTIONS.map((collection) => {
    const keyOf = KEYS[collection] as (item: unknown) => string
    const kept = (before[collection] as readonly unknown[]).filter(() => random() < 0.7)
    return [collection, [...new Map([...kept, ...fresh[collection]].map((item) => [keyOf(item), item])).values()]]
  })
  return {
    version: before.version + 1,
    rootNamespace: fresh.rootNamespace,
    mesh: fresh.mesh,
    node: fresh.node,
    locality: NOWHERE_KNOWN,
    ...Object.fromEntries(merged),
  } as Inventory
}

const EMPTY: Inventory = {
  ...{
    version: 0,
    rootNamespace: '',
    mesh: DEFAULT_MESH_SETTINGS,
    node: 'node-1',
    locality: NOWHERE_KNOWN,
    workloads: [],
    services: [],
    virtualServices: [],
    destinationRules: [],
    peerAuthentications: [],
    authorizationPolicies: [],
    requestAuthentications: [],
  },
}

/** Everything a connection or request could be told by a snapshot. */
function decisions(snapshot: Snapshot): unknown {
  const addresses = IPS.flatMap((one) => PORTS.map((number) => ({ ip: one, port: number })))
  const targets = addresses.map((address) => resolve(snapshot, address))
  const asked = [request({ target: '/a' }), request({ target: '/b/c' })]
  const authorities = ['a', 'b.other', hostOf('c'), 'a-0.a', 'outside.example'].map((authority) =>
    request({ authority }),
  )
  return {
    version: snapshot.version,
    targets,
    pods: addresses.map((address) => resolvePod(snapshot, address)),
    callees: targets.map((target) =>
      target.kind !== 'service' ? null : target.port.endpoints.map((one) => workloadAt(snapshot, one)),
    ),
    modes: [...snapshot.workloadByUid.values()]
      .sort((a, b) => (a.uid < b.uid ? -1 : 1))
      .map((one) => [one.uid, ...[1, ...PORTS].map((number) => peerDecision(snapshot, one, number))]),
    protections: [...snapshot.workloadByUid.values()]
      .sort((a, b) => (a.uid < b.uid ? -1 : 1))
      .map((one) => PORTS.map((number) => protectionTold(snapshot, one, number))),
    going: addresses.map((address) => isTerminating(snapshot, address)),
    hosts: SPACES.flatMap((namespace) => NAMES.map((one) => snapshot.serviceByHost.get(hostOf(one, namespace)))),
    routes: targets.map((target) =>
      SPACES.map((consumer) => {
        const caller = { ...CALLER, namespace: consumer }
        if (target.kind !== 'service') {
          const byHost = authorities.map((one) => routeAddress(snapshot, target, { request: one, caller }, seeded(7)))
          return [routeTcp(snapshot, target, { consumer, caller }), ...byHost]
        }
        return asked.map((one) => routeHttp(snapshot, target, { request: one, caller }, seeded(7)))
      }),
    ),
  }
}

function protectionTold(snapshot: Snapshot, workload: Workload, number: number): unknown {
  const { table, tokens } = protectionOf(snapshot, workload, number)
  return { policies: table?.policies ?? [], tokens }
}

const CALLER = {
  ...{ uid: 'caller', name: 'caller', namespace: 'default', node: null, ips: [], labels: {}, serviceAccount: '' },
  ...{
    owner: 'caller',
    hostNetwork: false,
    unfit: null,
    terms: PLAIN_TERMS,
    joined: true,
    terminating: false,
    captured: null,
    announcedAccount: null,
    agentReady: true,
    placedBy: 'spec' as const,
  },
}

function built(before: Snapshot, delta: Delta, refused: (refusal: Refusal) => void = () => {}): Snapshot {
  const draft = new Draft(delta.from === 0 ? nothing(delta.settings) : before, before, refused)
  for (const piece of pieces(structuredClone(delta))) drained(draft.add(piece))
  return drained(draft.done(delta.version))
}

const isBad = ({ http }: VirtualService): boolean =>
  http.some(({ matches }) => matches.some(({ uri }) => uri?.kind === 'regex' && uri.value === BAD_REGEX))

/** The inventory as it should be in force: in place of a bad policy the last good one that stood there since. */
function inForce(now: Inventory, before: Inventory): Inventory {
  const known = new Map(before.virtualServices.map((source) => [KEYS.virtualServices(source), source]))
  const good = (source: VirtualService): VirtualService[] => {
    const last = known.get(KEYS.virtualServices(source))
    return !isBad(source) ? [source] : last === undefined ? [] : [last]
  }
  return { ...now, virtualServices: now.virtualServices.flatMap(good) }
}

/** All that a snapshot holds, less what was worked out from it since. */
const contents = ({ memo: _, ...snapshot }: Snapshot): unknown =>
  JSON.parse(
    JSON.stringify(snapshot, (_key, value: unknown) =>
      value !== null && typeof value === 'object' && 'edit' in value
        ? [...(value as unknown as Snapshot['workloadByUid']).values()]
        : value,
    ),
  )

test('any deltas make a snapshot that decides as the whole inventory does, and change no snapshot before', () => {
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
      let [inventory, good] = [EMPTY, EMPTY]
      let snapshot = nothing()
      const kept: { snapshot: Snapshot; was: unknown }[] = []
      for (const one of changes) {
        const next = changed(inventory, one)
        good = inForce(next, good)
        snapshot = built(snapshot, inventory.version === 0 ? wholeOf(next) : between(inventory, next))
        inventory = next
        assert.deepEqual(decisions(snapshot), decisions(compile(good)))
        kept.push({ snapshot, was: contents(snapshot) })
      }
      for (const { snapshot: old, was } of kept) assert.deepEqual(contents(old), was)
    }),
    { numRuns: 150 },
  )
})

test('deltas that were gathered are as good as each for itself', () => {
  fc.assert(
    fc.property(fc.array(change, { minLength: 2, maxLength: 6 }), fc.boolean(), (changes, fromNothing) => {
      const inventories = [{ ...EMPTY, version: 1 }]
      for (const one of changes) inventories.push(changed(inventories.at(-1)!, one))
      const gathered = new Gathered()
      inventories.forEach((now, index) => {
        const before = inventories[index - 1]
        if (before !== undefined) gathered.add(between(before, now))
        else if (fromNothing) gathered.add(wholeOf(now))
      })
      const last = inventories.at(-1)!
      const good = { ...last, virtualServices: last.virtualServices.filter((source) => !isBad(source)) }
      const snapshot = built(compile(inventories[0]!), gathered.delta()!)
      assert.deepEqual(decisions(snapshot), decisions(compile(good)))
    }),
    { numRuns: 50 },
  )
})

test('what did not change is the very same object in the next snapshot', () => {
  const [first] = fc.sample(change, { numRuns: 1, seed: 3 })
  const inventory = changed({ ...EMPTY, version: 1 }, first!)
  const before = compile(inventory)
  const moved = inventory.workloads.slice(0, 1).map((one) => ({ ...one, ips: ['10.9.9.9'] }))
  const after = built(before, {
    ...between(inventory, { ...inventory, version: 3 }),
    workloads: { set: moved, gone: [] },
  })
  assert.equal(after.version, 3)
  assert.equal(after.serviceByHost, before.serviceByHost)
  assert.equal(after.virtualServices.exact, before.virtualServices.exact)
  for (const { uid } of inventory.workloads.slice(1)) {
    assert.equal(after.workloadByUid.get(uid), before.workloadByUid.get(uid))
  }
  assert.deepEqual(after.workloadByIp.get('10.9.9.9')?.uid, moved[0]!.hostNetwork ? undefined : moved[0]!.uid)
})

test('what workloads take is worked out anew only where a policy or the root namespace is another', () => {
  const strict = {
    ...{ ref: { kind: 'PeerAuthentication', namespace: 'default', name: 'x' }, createdMs: 1 },
    ...{ selector: null, mode: 'STRICT' as const, ports: [] },
  }
  const workloads = [{ ...CALLER, uid: 'a' }]
  const inventory = { ...EMPTY, version: 1, rootNamespace: 'root', workloads, peerAuthentications: [strict] }
  const before = compile(inventory)
  assert.equal(modeOf(before, workloads[0]!, 80), 'STRICT')
  const next = (change: Partial<Inventory>): Snapshot =>
    built(before, between(inventory, { ...inventory, version: 2, ...change }))
  assert.equal(next({ workloads: [...workloads, { ...CALLER, uid: 'b' }] }).peerModes, before.peerModes)
  assert.equal(modeOf(next({ peerAuthentications: [] }), workloads[0]!, 80), 'PERMISSIVE')
  assert.notEqual(next({ rootNamespace: 'default' }).peerModes, before.peerModes)
})

test('a whole inventory that comes anew leaves the last good form of a policy that is bad in it', () => {
  const policy = (regex: string): VirtualService => ({
    ...{
      ref: { kind: 'VirtualService', namespace: 'default', name: 'x' },
      createdMs: 1,
      hosts: ['*'],
      exportTo: ['*'],
    },
    http: [rule({ matches: [match({ uri: { kind: 'regex', value: regex } })] })],
    ...{ tls: [], tcp: [] },
  })
  const before = compile({ ...EMPTY, version: 1, virtualServices: [policy('/good')] })
  const refused: Refusal[] = []
  const bad = wholeOf({ ...EMPTY, version: 2, virtualServices: [policy(BAD_REGEX)] })
  const after = built(before, bad, (refusal) => refused.push(refusal))
  assert.deepEqual(
    refused.map(({ object }) => object.name),
    ['x'],
  )
  assert.deepEqual(after.virtualServices.wildcards, before.virtualServices.wildcards)
})

test('a large delta is cut into pieces of which each is small, and the work on each pauses often', () => {
  const ips = Array.from({ length: 1000 }, (_, index) => `10.1.${index >> 8}.${index & 255}`)
  const endpoints = ips.map((one) => ({
    ...{ address: { ip: one, port: 80 }, workload: null, ready: true, serving: true, terminating: false, node: null },
    ...{ locality: null, readySinceMs: null },
  }))
  const services = Array.from({ length: 50 }, (_, index) => ({
    ...{ name: `s${index}`, namespace: 'default', host: hostOf(`s${index}`), addresses: [], headless: true },
    ...{ externalAddresses: [], externalName: null, publishNotReady: false, affinitySeconds: null, localOnly: false },
    distribution: null,
    ports: [
      { name: '', port: 80, protocol: 'http' as const, endpoints: index === 0 ? endpoints : [endpoints[index]!] },
    ],
  }))
  const workloads = ips.map((one) => ({ ...CALLER, uid: one, ips: [one] }))
  const delta = wholeOf({ ...EMPTY, version: 1, services, workloads })
  const cut = [...pieces(delta)]
  assert.equal(cut.filter(({ last }) => last).length, 1)
  assert.equal(cut.at(-1)?.last, true)
  assert.equal(
    cut.reduce((sum, piece) => sum + piece.workloads.set.length, 0),
    1000,
  )
  for (const piece of cut) assert.ok(piece.workloads.set.length <= 64, `${piece.workloads.set.length}`)
  const draft = new Draft(nothing(), nothing(), () => assert.fail())
  let pauses = 0
  for (const piece of cut) for (const _ of draft.add(piece)) pauses++
  for (let work = draft.done(1); !work.next().done;) pauses++
  assert.ok(pauses > 100, `${pauses}`)
})
