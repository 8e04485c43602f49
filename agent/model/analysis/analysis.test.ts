import assert from 'node:assert/strict'
import { test } from 'node:test'
import { analyse } from './analysis.ts'
import { files, seen } from './analysis.fixture.ts'
import { type Code, CODES, isAtLeast, type Severity } from './codes.ts'
import type { AnalysisWorld } from './world.ts'
import type { FlowRule, HttpRule, Retries, VirtualService } from '../policy.ts'
import type { ConsistentHash, LoadBalancing, OutlierDetection } from '../traffic-policy.ts'
import { hostOf, match, rule, to, type World, world } from '../world.fixture.ts'
import { clientTls } from '../traffic-policy.fixture.ts'

/** Two services with pods behind them, catalog of two versions. */
const shop = (): World => {
  return world().service('front').service('catalog').pods('front').pods('catalog-v1').pods('catalog-v2')
}

/** The shop with one VirtualService for front, of these rules. */
const routed = (...http: Partial<HttpRule>[]): AnalysisWorld =>
  seen(shop().virtualService({ hosts: ['front'], http: http.map((one) => ({ destinations: [to('front')], ...one })) }))

const flow = (wish: Partial<FlowRule['matches'][number]>, ...hosts: string[]): FlowRule => ({
  matches: [
    {
      serverNames: null,
      destinationSubnets: [],
      sourceSubnets: [],
      port: null,
      sourceLabels: {},
      sourceNamespace: null,
      ...wish,
    },
  ],
  destinations: hosts.map((host) => to(host)),
})

/** A service with a port that is HTTP and one that is not, and a VirtualService for it. */
const mixed = (wish: Partial<Pick<VirtualService, 'tcp' | 'tls'>>, ...http: HttpRule[]): AnalysisWorld => {
  const ports = [
    { port: 80, protocol: 'http' as const },
    { port: 5432, protocol: 'opaque' as const },
  ]
  return seen(
    world()
      .service('db', { ports })
      .pods('db')
      .virtualService({ hosts: ['db'], http, ...wish }),
  )
}

const retries = (wish: Partial<Retries>): Retries => ({
  attempts: null,
  perTryMs: null,
  on: null,
  statuses: [],
  backoffMs: null,
  ignorePrevious: null,
  remoteLocalities: null,
  ...wish,
})
const delegate = (name: string): HttpRule['instead'] => ({ kind: 'delegate', namespace: 'default', name })
const delegating = (name: string): World => {
  return shop().virtualService({ hosts: ['front'], http: [rule({ instead: delegate(name) })] })
}
const catalogRules = [rule({ destinations: [to('catalog')] })]
const hashed = (by: ConsistentHash['by']): LoadBalancing => {
  const hash: ConsistentHash = { by, algorithm: { kind: 'ring', minimumSize: 1024 } }
  return { simple: null, hash, locality: null, warmup: null }
}
const failover: LoadBalancing = {
  ...hashed({ kind: 'source-ip' }),
  hash: null,
  locality: { enabled: true, distribute: [], failover: [{ from: 'eu', to: 'us' }], failoverPriority: [] },
}
const outliers: OutlierDetection = {
  consecutive5xx: 5,
  consecutiveGateway: 0,
  consecutiveLocal: 5,
  splitsLocal: false,
  codes: [],
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 10,
  minHealthPercent: 0,
}
const opaqueDb = (): World =>
  world()
    .service('db', { ports: [{ port: 5432, protocol: 'opaque' }] })
    .pods('db')
const v2 = { subset: 'v2' }
const ref = { kind: 'VirtualService', namespace: 'default', name: 'front' }
const twoVirtualServices = (exportTo: readonly string[]): AnalysisWorld =>
  seen(
    shop()
      .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('front')] })] })
      .virtualService({ hosts: ['front'], exportTo, http: [rule({ destinations: [to('front')] })] }),
  )
const ofOtherNamespace = (exportTo: readonly string[]): AnalysisWorld =>
  seen(
    shop()
      .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('front')] })] })
      .virtualService({
        namespace: 'other',
        hosts: [hostOf('front')],
        exportTo,
        http: [rule({ destinations: [to('front')] })],
      }),
  )

interface Case {
  /** Where it is found, and the field it names. */
  readonly bad: AnalysisWorld
  readonly field: string
  readonly severity?: Severity
  /** The nearest thing that is sound. */
  readonly good: AnalysisWorld
}

/** Codes that come up as files and clusters are read, before anything is analysed. */
type OfReading = 'WEFT0107' | 'WEFT0108' | 'WEFT0110'
/** Codes with a test of their own, authorization.test.ts. */
type OfGuards = Extract<Code, `WEFT05${string}`>

/** One or several a code: the type demands that none is left out. */
const CASES: Readonly<Record<Exclude<Code, OfReading | OfGuards>, Case | readonly Case[]>> = {
  WEFT0101: {
    bad: seen(shop(), { rejected: [{ object: ref, field: 'spec.http[0]', reason: 'is wrong' }] }),
    field: 'spec.http[0]',
    good: seen(shop()),
  },
  WEFT0102: {
    bad: seen(shop(), { unhonoured: [{ object: ref, field: 'spec.http[0].x', reason: 'is not honoured' }] }),
    field: 'spec.http[0].x',
    good: seen(shop(), { unhonoured: [{ object: ref, field: 'spec.gateways', reason: 'are not served' }] }),
  },
  WEFT0103: { bad: twoVirtualServices(['*']), field: '', good: twoVirtualServices([]) },
  WEFT0104: { bad: ofOtherNamespace(['*']), field: '', good: ofOtherNamespace(['nowhere']) },
  WEFT0105: {
    bad: seen(
      shop()
        .destinationRule({ host: 'front', policy: { simple: 'RANDOM' } })
        .destinationRule({ host: 'front', policy: { simple: 'ROUND_ROBIN' } }),
    ),
    field: 'spec.trafficPolicy',
    good: seen(
      shop()
        .destinationRule({ host: 'front', policy: { simple: 'RANDOM' } })
        .destinationRule({ host: 'front', subsets: [{ name: 'v1' }] }),
    ),
  },
  WEFT0106: [
    { bad: seen(shop(), { unread: [{ object: ref, guards: false }] }), field: '', good: seen(shop()) },
    {
      bad: seen(shop(), { unread: [{ object: ref, guards: true }] }),
      field: '',
      severity: 'warning',
      good: seen(shop()),
    },
  ],
  WEFT0109: {
    bad: seen(shop().destinationRule({ host: 'front', exportTo: ['nowhere'] })),
    field: 'spec.exportTo',
    good: seen(shop().destinationRule({ host: 'front', exportTo: ['other', '*', 'default'] })),
  },
  WEFT0201: [
    {
      bad: seen(shop().virtualService({ hosts: ['fornt'], http: catalogRules })),
      field: 'spec.hosts[0]',
      good: seen(shop().virtualService({ hosts: ['front', '*.default.svc.cluster.local'], http: catalogRules })),
    },
    {
      bad: seen(shop().virtualService({ hosts: ['front', 'front.default'], http: catalogRules })),
      field: 'spec.hosts[1]',
      severity: 'error',
      good: seen(shop().virtualService({ hosts: ['front', hostOf('catalog')], http: catalogRules })),
    },
    {
      bad: seen(shop().virtualService({ hosts: ['api.example.com'], http: catalogRules })),
      field: 'spec.hosts[0]',
      severity: 'warning',
      good: seen(
        world()
          .service('front', { headless: true })
          .virtualService({ hosts: [`front-0.${hostOf('front')}`] }),
      ),
    },
    {
      bad: files(world().virtualService({ hosts: ['front'], http: [] })),
      field: 'spec.hosts[0]',
      severity: 'warning',
      good: files(
        world()
          .service('front')
          .virtualService({ hosts: ['front'] }),
      ),
    },
  ],
  WEFT0202: [
    {
      bad: routed({ destinations: [to('catalogue')] }),
      field: 'spec.http[0].route[0].destination.host',
      good: routed({ destinations: [to('catalog')] }),
    },
    {
      bad: routed({ mirrors: [{ destination: to('catalogue'), percent: 100 }] }),
      field: 'spec.http[0].mirrors[0].destination.host',
      good: routed({ mirrors: [{ destination: to('catalog'), percent: 100 }] }),
    },
    {
      bad: seen(
        shop()
          .service('out', { externalName: 'api.example.com', ports: [] })
          .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('out')] })] }),
      ),
      field: 'spec.http[0].route[0].destination.host',
      good: seen(
        shop()
          .service('alias', { externalName: hostOf('catalog'), ports: [] })
          .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('alias')] })] }),
      ),
    },
    {
      bad: seen(shop().virtualService({ hosts: ['front'], tcp: [flow({}, 'nowhere')] })),
      field: 'spec.tcp[0].route[0].destination.host',
      good: seen(
        shop().virtualService({
          hosts: ['api.example.com'],
          http: [rule({ destinations: [to('api.example.com')] })],
        }),
      ),
    },
  ],
  WEFT0203: {
    bad: routed({ destinations: [to('catalog', { port: 8080 })] }),
    field: 'spec.http[0].route[0].destination.port',
    good: routed({ destinations: [to('catalog', { port: 80 })] }),
  },
  WEFT0204: {
    bad: seen(
      shop()
        .service('many', { ports: [{ port: 81 }, { port: 82 }] })
        .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('many')] })] }),
    ),
    field: 'spec.http[0].route[0].destination.port',
    good: seen(
      shop()
        .service('many', { ports: [{ port: 80 }, { port: 82 }] })
        .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('many')] })] }),
    ),
  },
  WEFT0205: [
    {
      bad: routed({ destinations: [to('catalog', v2)] }),
      field: 'spec.http[0].route[0].destination.subset',
      severity: 'error',
      good: seen(
        shop()
          .destinationRule({ host: '*.default.svc.cluster.local', subsets: [{ name: 'v2' }] })
          .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('catalog', v2)] })] }),
      ),
    },
    {
      bad: seen(
        shop()
          .destinationRule({ host: 'catalog', exportTo: [], subsets: [{ name: 'v2' }] })
          .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('catalog', v2)] })] }),
      ),
      field: 'spec.http[0].route[0].destination.subset',
      good: seen(
        shop()
          .destinationRule({ host: 'catalog', exportTo: ['other'], subsets: [{ name: 'v2' }] })
          .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('catalog', v2)] })] }),
      ),
    },
    {
      bad: files(shop().virtualService({ hosts: ['front'], http: [rule({ destinations: [to('catalog', v2)] })] })),
      field: 'spec.http[0].route[0].destination.subset',
      severity: 'warning',
      good: files(shop().virtualService({ hosts: ['front'], http: catalogRules })),
    },
  ],
  WEFT0206: [
    {
      bad: seen(
        shop()
          .destinationRule({ host: 'catalog', subsets: [{ name: 'v2', labels: { version: 'v9' } }] })
          .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('catalog', v2)] })] }),
      ),
      field: 'spec.http[0].route[0].destination.subset',
      good: seen(
        shop()
          .destinationRule({ host: 'catalog', subsets: [{ name: 'v2' }] })
          .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('catalog', v2)] })] }),
      ),
    },
    {
      bad: seen(
        shop()
          .service('empty')
          .virtualService({ hosts: ['front'], http: [rule({ destinations: [to('empty')] })] }),
      ),
      field: 'spec.http[0].route[0].destination.host',
      good: seen(
        shop()
          .service('empty')
          .virtualService({
            hosts: ['front'],
            http: [rule({ destinations: [to('front', { weight: 100 }), to('empty')] })],
          }),
      ),
    },
  ],
  WEFT0207: [
    {
      bad: seen(delegating('rest')),
      field: 'spec.http[0].delegate',
      good: seen(delegating('rest').virtualService({ name: 'rest', hosts: [], http: catalogRules })),
    },
    { bad: files(delegating('rest')), field: 'spec.http[0].delegate', severity: 'warning', good: files(shop()) },
  ],
  WEFT0208: {
    bad: seen(delegating('rest').virtualService({ name: 'rest', hosts: [], exportTo: ['other'], http: catalogRules })),
    field: 'spec.http[0].delegate',
    good: seen(
      delegating('rest').virtualService({ name: 'rest', hosts: [], exportTo: ['default'], http: catalogRules }),
    ),
  },
  WEFT0209: {
    bad: seen(delegating('rest').virtualService({ name: 'rest', hosts: ['catalog'], http: catalogRules })),
    field: 'spec.http[0].delegate',
    good: seen(delegating('rest').virtualService({ name: 'rest', hosts: [], http: catalogRules })),
  },
  WEFT0210: {
    bad: seen(
      delegating('rest')
        .virtualService({ name: 'rest', hosts: [], http: [rule({ instead: delegate('more') })] })
        .virtualService({ name: 'more', hosts: [], http: catalogRules }),
    ),
    field: 'spec.http[0].delegate',
    good: seen(delegating('rest').virtualService({ name: 'rest', hosts: [], http: catalogRules })),
  },
  WEFT0211: {
    bad: seen(shop().virtualService({ name: 'rest', hosts: [], http: catalogRules })),
    field: '',
    good: seen(delegating('rest').virtualService({ name: 'rest', hosts: [], http: catalogRules })),
  },
  WEFT0212: [
    {
      bad: routed({}, { matches: [match({ uri: { kind: 'prefix', value: '/a' } })] }),
      field: 'spec.http[1]',
      good: routed({ matches: [match({ uri: { kind: 'prefix', value: '/a' } })] }, {}),
    },
    {
      bad: routed(
        { matches: [match({ uri: { kind: 'prefix', value: '/a' } })] },
        { matches: [match({ port: 80 })] },
        {
          matches: [
            match({ uri: { kind: 'exact', value: '/a/b' } }),
            match({ port: 80, method: { kind: 'exact', value: 'GET' } }),
          ],
        },
      ),
      field: 'spec.http[2]',
      good: routed(
        { matches: [match({ uri: { kind: 'prefix', value: '/a' } })] },
        { matches: [match({ uri: { kind: 'exact', value: '/b' } }), match({ uri: { kind: 'exact', value: '/a' } })] },
      ),
    },
    {
      bad: mixed({ tcp: [flow({ port: 5432 }, 'db'), flow({ port: 5432, sourceNamespace: 'other' }, 'db')] }),
      field: 'spec.tcp[1]',
      good: seen(
        delegating('rest')
          .virtualService({ name: 'rest', hosts: [], http: catalogRules })
          .virtualService({
            name: 'again',
            hosts: ['catalog'],
            http: [rule({ instead: delegate('rest') }), rule({ destinations: [to('catalog')] })],
          }),
      ),
    },
  ],
  WEFT0213: {
    bad: routed({
      matches: [match({ uri: { kind: 'prefix', value: '/a' } }), match({ uri: { kind: 'exact', value: '/a/b' } })],
    }),
    field: 'spec.http[0].match[1]',
    good: routed({
      matches: [match({ uri: { kind: 'exact', value: '/a/b' } }), match({ uri: { kind: 'prefix', value: '/a' } })],
    }),
  },
  WEFT0214: {
    bad: routed({ matches: [match({ port: 8080 })] }),
    field: 'spec.http[0].match[0].port',
    good: routed({ matches: [match({ port: 80 })] }),
  },
  WEFT0215: [
    {
      bad: mixed({}, rule({ matches: [match({ port: 5432 })], destinations: [to('db')] })),
      field: 'spec.http[0].match[0].port',
      good: mixed({}, rule({ matches: [match({ port: 80 })], destinations: [to('db')] })),
    },
    {
      bad: seen(opaqueDb().virtualService({ hosts: ['db'], http: [rule({ destinations: [to('db')] })] })),
      field: 'spec.http[0]',
      good: mixed({}, rule({ destinations: [to('db')] })),
    },
  ],
  WEFT0216: {
    bad: mixed({ tls: [flow({ port: 80, serverNames: ['db'] }, 'db')] }),
    field: 'spec.tls[0].match[0].port',
    good: mixed({ tls: [flow({ port: 5432, serverNames: ['db'] }, 'db')] }),
  },
  WEFT0217: {
    bad: routed({ destinations: [to('front', { weight: 1 }), to('catalog', { weight: 2 })] }),
    field: 'spec.http[0].route',
    good: routed({ destinations: [to('front', { weight: 30 }), to('catalog', { weight: 70 })] }),
  },
  WEFT0218: {
    bad: routed({ destinations: [to('front', { weight: 100 }), to('catalog')] }),
    field: 'spec.http[0].route[1].weight',
    good: routed({ destinations: [to('front')] }),
  },
  WEFT0219: {
    bad: seen(shop(), { unhonoured: [{ object: ref, field: 'spec.gateways', reason: 'are not served' }] }),
    field: 'spec.gateways',
    good: seen(shop()),
  },
  WEFT0220: {
    bad: routed({ matches: [match({ sourceLabels: { app: 'front' }, sourceNamespace: 'other' })] }),
    field: 'spec.http[0].match[0].sourceLabels',
    good: routed({ matches: [match({ sourceLabels: { app: 'front' }, sourceNamespace: 'default' })] }),
  },
  WEFT0221: {
    bad: routed({ timeoutMs: 500, retries: retries({ attempts: 1, perTryMs: 600 }) }),
    field: 'spec.http[0].retries.perTryTimeout',
    good: routed({ timeoutMs: 500, retries: retries({ attempts: 1, perTryMs: 500 }) }),
  },
  WEFT0222: {
    bad: routed({ timeoutMs: 500, retries: retries({ perTryMs: 200 }) }),
    field: 'spec.http[0].timeout',
    good: routed({ timeoutMs: 600, retries: retries({ perTryMs: 200 }) }),
  },
  WEFT0223: {
    bad: seen(shop().virtualService({ hosts: ['front', hostOf('front')], http: catalogRules })),
    field: 'spec.hosts[1]',
    good: seen(shop().virtualService({ hosts: ['front', 'catalog'], http: catalogRules })),
  },
  WEFT0301: [
    {
      bad: seen(shop().destinationRule({ host: 'fornt' })),
      field: 'spec.host',
      severity: 'error',
      good: seen(shop().destinationRule({ host: 'front' })),
    },
    {
      bad: seen(shop().destinationRule({ host: '*.example.com' })),
      field: 'spec.host',
      severity: 'warning',
      good: seen(shop().destinationRule({ host: '*.local' })),
    },
  ],
  WEFT0302: {
    bad: seen(shop().destinationRule({ host: 'catalog', subsets: [{ name: 'v3' }] })),
    field: 'spec.subsets[0].labels',
    severity: 'info',
    good: seen(shop().destinationRule({ host: 'catalog', subsets: [{ name: 'v2' }] })),
  },
  WEFT0303: {
    bad: seen(shop().destinationRule({ host: 'catalog', subsets: [{ name: 'v2' }] })),
    field: 'spec.subsets[0]',
    good: files(shop().destinationRule({ host: 'catalog', subsets: [{ name: 'v2' }] })),
  },
  WEFT0304: {
    bad: seen(shop().destinationRule({ host: 'catalog', policy: { ports: [{ port: 81, simple: 'RANDOM' }] } })),
    field: 'spec.trafficPolicy.portLevelSettings',
    good: seen(shop().destinationRule({ host: 'catalog', policy: { ports: [{ port: 80, simple: 'RANDOM' }] } })),
  },
  WEFT0305: [
    {
      bad: seen(
        opaqueDb().destinationRule({ host: 'db', policy: { balancing: hashed({ kind: 'header', name: 'user' }) } }),
      ),
      field: 'spec.trafficPolicy.loadBalancer.consistentHash',
      good: seen(opaqueDb().destinationRule({ host: 'db', policy: { balancing: hashed({ kind: 'source-ip' }) } })),
    },
    {
      bad: seen(
        opaqueDb().destinationRule({
          host: 'db',
          policy: { ports: [{ port: 5432, balancing: hashed({ kind: 'query', name: 'user' }) }] },
        }),
      ),
      field: 'spec.trafficPolicy.portLevelSettings',
      good: seen(
        shop().destinationRule({
          host: 'front',
          policy: { ports: [{ port: 80, balancing: hashed({ kind: 'query', name: 'user' }) }] },
        }),
      ),
    },
  ],
  WEFT0306: [
    {
      bad: seen(shop().destinationRule({ host: 'front', policy: { balancing: failover } })),
      field: 'spec.trafficPolicy.loadBalancer.localityLbSetting',
      good: seen(shop().destinationRule({ host: 'front', policy: { balancing: failover, outliers } })),
    },
    {
      bad: seen(
        shop().destinationRule({ host: 'front', policy: { outliers, ports: [{ port: 80, balancing: failover }] } }),
      ),
      field: 'spec.trafficPolicy.portLevelSettings',
      good: seen(
        shop().destinationRule({
          host: 'front',
          policy: { outliers },
          subsets: [{ name: 'v1', policy: { balancing: failover } }],
        }),
      ),
    },
  ],
  WEFT0307: {
    bad: seen(shop().destinationRule({ host: 'catalog', subsets: [{ name: 'v1' }, { name: 'v1' }] })),
    field: 'spec.subsets[1].name',
    good: seen(shop().destinationRule({ host: 'catalog', subsets: [{ name: 'v1' }, { name: 'v2' }] })),
  },
  WEFT0308: [
    {
      bad: seen(
        shop()
          .peerAuthentication({ mode: 'STRICT' })
          .destinationRule({ host: 'catalog', policy: { tls: clientTls('DISABLE') } }),
      ),
      field: 'spec.trafficPolicy.tls',
      good: seen(
        shop()
          .peerAuthentication({ mode: 'STRICT', selector: { app: 'front' } })
          .destinationRule({ host: 'catalog', policy: { tls: clientTls('DISABLE') } }),
      ),
    },
    {
      // by the port that the pod listens at, not the Service's
      bad: seen(
        shop()
          .peerAuthentication({ selector: { app: 'catalog' }, ports: { 8080: 'STRICT' } })
          .destinationRule({ host: 'catalog', policy: { tls: clientTls('DISABLE') } }),
      ),
      field: 'spec.trafficPolicy.tls',
      good: seen(
        shop()
          .peerAuthentication({ selector: { app: 'catalog' }, ports: { 80: 'STRICT' } })
          .destinationRule({ host: 'catalog', policy: { tls: clientTls('DISABLE') } }),
      ),
    },
  ],
  WEFT0309: [
    {
      bad: seen(
        world()
          .service('out', { externalName: 'api.example.com', ports: [] })
          .destinationRule({ host: 'out', policy: { tls: clientTls('ISTIO_MUTUAL') } }),
      ),
      field: 'spec.trafficPolicy.tls',
      good: seen(shop().destinationRule({ host: 'front', policy: { tls: clientTls('ISTIO_MUTUAL') } })),
    },
    {
      bad: seen(
        world()
          .service('legacy')
          .pods('legacy', { joined: false })
          .destinationRule({ host: 'legacy', policy: { tls: clientTls('ISTIO_MUTUAL') } }),
      ),
      field: 'spec.trafficPolicy.tls',
      good: seen(
        world()
          .service('legacy')
          .pods('legacy', { joined: false })
          .destinationRule({ host: 'legacy', policy: { tls: clientTls('DISABLE') } }),
      ),
    },
  ],
  WEFT0401: {
    bad: seen(
      world()
        .service('db', { ports: [{ port: 80 }] })
        .pods('db'),
    ),
    field: 'spec.ports[0]',
    good: seen(
      world()
        .service('db', { ports: [{ port: 80 }] })
        .pods('db', { joined: false }),
    ),
  },
  WEFT0402: {
    bad: withUdp(shop().peerAuthentication({ mode: 'STRICT' })),
    field: 'spec.ports[1]',
    good: withUdp(shop().peerAuthentication({ mode: 'PERMISSIVE' })),
  },
  WEFT0403: [
    {
      bad: seen(shop().peerAuthentication({ mode: 'STRICT', selector: { app: 'fornt' } })),
      field: 'spec.selector',
      good: seen(shop().peerAuthentication({ mode: 'STRICT', selector: { app: 'front' } })),
    },
    {
      bad: seen(shop().peerAuthentication({ namespace: 'other', mode: 'STRICT' })),
      field: '',
      good: seen(shop().peerAuthentication({ namespace: 'istio-system', mode: 'STRICT' })),
    },
  ],
  WEFT0404: {
    bad: seen(shop().peerAuthentication({ mode: 'STRICT' }), {
      pods: [{ namespace: 'default', name: 'front-1', labels: {}, joined: true, captured: null }],
    }),
    field: '',
    good: seen(shop().peerAuthentication({ mode: 'STRICT' })),
  },
}

function withUdp(mesh: World): AnalysisWorld {
  const { services, ...rest } = seen(mesh)
  const otherPorts = [{ field: 'spec.ports[1]', port: 53, protocol: 'UDP' }]
  return { ...rest, services: services.map((known) => ({ ...known, otherPorts })) }
}

for (const [code, given] of Object.entries(CASES) as [Code, Case | readonly Case[]][]) {
  test(`${code}: ${CODES[code].says}`, () => {
    for (const { bad, field, severity, good } of [given].flat() as readonly Case[]) {
      const all = analyse(bad)
      const found = all.find((one) => one.code === code && one.field === field)
      assert.ok(found, `not found at ${field}: ${JSON.stringify(all, null, 1)}`)
      assert.equal(found.severity, severity ?? found.severity)
      assert.doesNotMatch(found.message, /\.$|undefined|null/)
      for (const one of [...all, ...analyse(good)]) {
        assert.ok((CODES[one.code].severities as readonly Severity[]).includes(one.severity), JSON.stringify(one))
      }
      const sound = analyse(good).filter((one) => one.code === code)
      assert.deepEqual(sound, [], 'found in what is sound')
    }
  })
}

test('a mesh as it should be has no findings', () => {
  const mesh = shop()
    .destinationRule({ host: 'catalog', subsets: [{ name: 'v1' }, { name: 'v2' }] })
    .virtualService({
      hosts: ['catalog'],
      http: [
        rule({
          matches: [match({ headers: [{ name: 'end-user', match: { kind: 'exact', value: 'kai' } }] })],
          destinations: [to('catalog', { subset: 'v2' })],
        }),
        rule({ destinations: [to('catalog', { subset: 'v1' })] }),
      ],
    })
    .peerAuthentication({ mode: 'STRICT' })
  assert.deepEqual(analyse(seen(mesh)), [])
  assert.deepEqual(analyse(files(mesh)), [])
})

test('findings stand in the order of their objects, whatever the order of what was read', () => {
  const world = seen(
    shop()
      .virtualService({ name: 'b', hosts: ['b'], http: catalogRules })
      .virtualService({ name: 'a', hosts: ['a'], http: catalogRules }),
  )
  const turned = { ...world, virtualServices: world.virtualServices.toReversed() }
  assert.deepEqual(analyse(turned), analyse(world))
  assert.deepEqual(
    analyse(world).map(({ object }) => object.name),
    ['a', 'b'],
  )
})

test('a rule is named by its place in the object, not by that in the model', () => {
  const mesh = shop().virtualService({ name: 'a', hosts: ['front'], http: [rule({ destinations: [to('nowhere')] })] })
  const place = { path: 'spec.http[3]', matches: [], mirrors: [] }
  const places = new Map([['default/a', { http: [place], tls: [], tcp: [] }]])
  const [found] = analyse(seen(mesh, { places }))
  assert.equal(found?.field, 'spec.http[3].route[0].destination.host')
})

test('severities have an order', () => {
  assert.ok(isAtLeast('error', 'warning') && isAtLeast('info', 'info') && !isAtLeast('info', 'warning'))
})
