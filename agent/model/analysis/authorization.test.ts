import assert from 'node:assert/strict'
import { test } from 'node:test'
import { analyse } from './analysis.ts'
import { files, seen } from './analysis.fixture.ts'
import { type Code, CODES, type Severity } from './codes.ts'
import type { AnalysisWorld } from './world.ts'
import { ruleOf, where } from '../authorization/authorization.fixture.ts'
import type { AuthorizationPolicy, Condition } from '../authorization/policy.ts'
import type { AuthorizationPolicyWish } from '../security.fixture.ts'
import { ROOT_NAMESPACE, type World, world } from '../world.fixture.ts'

const KEYS = { kind: 'discovered', issuer: 'https://a' } as const
const JWT = { issuer: 'https://a', keys: KEYS }
const AUTHORIZER = {
  ...{ name: 'authz', host: 'a.b', port: 80, timeoutMs: 1, pathPrefix: '', failOpen: false, statusOnError: 403 },
  ...{
    includeRequestHeadersInCheck: [],
    includeAdditionalHeadersInCheck: [],
    body: null,
    headersToUpstreamOnAllow: [],
  },
  ...{ headersToDownstreamOnAllow: [], headersToDownstreamOnDeny: [] },
}
const PORTS = [
  { port: 80, protocol: 'http' as const, targetPort: 8080 },
  { port: 5432, protocol: 'opaque' as const, targetPort: 5432 },
]

/** A Service with a port that is HTTP and one that is not, and one that has the latter alone. */
const shop = (): World =>
  world()
    .service('web', { ports: PORTS })
    .pods('web')
    .service('db', { ports: [PORTS[1]!] })
    .pods('db')

const guarded = (wish: AuthorizationPolicyWish): AnalysisWorld => seen(shop().authorizationPolicy(wish))
const allowing = (...rules: AuthorizationPolicy['rules']): AnalysisWorld => guarded({ rules })
const from = (...conditions: Condition[]): AnalysisWorld => allowing(ruleOf({ from: conditions }))
const at = (field: string, ...rest: Parameters<typeof where>): Condition => ({ ...where(...rest), field })
const principal = (value: string): Condition => at('from[0].source.principals', 'source.principal', [value])
const web = { app: 'web' }
const db = { app: 'db' }
const path = where('request.path', ['/a'])
const port = (value: string): Condition => where('destination.port', [value])
const authenticated = (rules: AuthorizationPolicyWish[]): AnalysisWorld => {
  const mesh = shop().requestAuthentication({ selector: web, rules: [JWT] })
  for (const one of rules) mesh.authorizationPolicy(one)
  return seen(mesh)
}
const asking = (...names: string[]): AnalysisWorld =>
  seen(
    shop()
      .settings({ authorizers: names.map((name) => ({ ...AUTHORIZER, name })) })
      .authorizationPolicy({ action: 'CUSTOM', provider: 'authz', rules: [ruleOf({})] }),
  )
const uncaptured = (all: AnalysisWorld): AnalysisWorld => ({
  ...all,
  pods: all.pods.map((pod) => ({ ...pod, captured: null })),
})
const TOKENS = ruleOf({ from: [where('request.principal', ['*'])] })

interface Case {
  readonly bad: AnalysisWorld
  readonly field: string
  readonly severity?: Severity
  /** The nearest things that are sound. */
  readonly good: readonly AnalysisWorld[]
}

const CASES: Readonly<Record<Extract<Code, `WEFT05${string}`>, readonly Case[]>> = {
  WEFT0501: [
    { bad: asking(), field: 'spec.provider.name', good: [asking('authz'), { ...asking(), mesh: null }] },
    { bad: asking('other'), field: 'spec.provider.name', good: [] },
  ],
  WEFT0502: [
    {
      bad: allowing(ruleOf({}), ruleOf({ when: [path, port('5432')] })),
      field: 'spec.rules[1]',
      good: [
        allowing(ruleOf({ when: [path] })),
        allowing(ruleOf({ when: [path, port('8080')] })),
        allowing(ruleOf({})),
      ],
    },
    {
      bad: guarded({ selector: db, rules: [ruleOf({ to: [path] })] }),
      field: 'spec.rules[0]',
      good: [
        guarded({ selector: db, rules: [ruleOf({ to: [path, port('5432')] })] }), // either will do
        guarded({ selector: web, rules: [ruleOf({ to: [path] })] }),
        guarded({ selector: db, action: 'AUDIT', rules: [ruleOf({ to: [path] })] }),
      ],
    },
  ],
  WEFT0503: [
    {
      bad: guarded({ action: 'DENY', selector: web, rules: [ruleOf({ to: [path] })] }),
      field: 'spec.rules[0]',
      good: [
        guarded({ action: 'DENY', rules: [ruleOf({ to: [path], when: [port('8080')] })] }),
        guarded({ action: 'DENY', rules: [ruleOf({ to: [path], from: [where('source.namespace', ['shop*'])] })] }),
        guarded({ action: 'DENY', rules: [ruleOf({})] }),
      ],
    },
  ],
  WEFT0504: [
    {
      bad: from(principal('default/web')),
      field: 'spec.rules[0].from[0].source.principals',
      good: [
        ...['cluster.local/ns/a/sa/b', '*', 'cluster.local/*', '*/sa/b'].map((text) => from(principal(text))),
        from(principal('default/web'), principal('*')),
        guarded({ action: 'DENY', rules: [ruleOf({ from: [principal('cluster.local/ns/a/sa/b')] })] }),
      ],
    },
    {
      bad: from(principal('spiffe://cluster.local/ns/a/sa/b')),
      field: 'spec.rules[0].from[0].source.principals',
      good: [],
    },
    {
      bad: guarded({
        action: 'DENY',
        rules: [ruleOf({ from: [at('from[0].source.principals', 'source.principal', ['*/sa/b', 'default/web'])] })],
      }),
      field: 'spec.rules[0].from[0].source.principals',
      good: [
        guarded({ action: 'DENY', rules: [ruleOf({ from: [where('source.namespace', ['nowhere'])] })] }),
        guarded({ action: 'DENY', rules: [ruleOf({ when: [where('source.principal', [], ['default/web'])] })] }),
        guarded({ action: 'DENY', rules: [ruleOf({ to: [where('request.method', ['get'])] })] }),
      ],
    },
    {
      bad: guarded({ action: 'AUDIT', rules: [ruleOf({ to: [at('to[0].operation.paths', 'request.path', ['a'])] })] }),
      field: 'spec.rules[0].to[0].operation.paths',
      good: [],
    },
    {
      bad: from(at('from[0].source.namespaces', 'source.namespace', ['nowhere'])),
      field: 'spec.rules[0].from[0].source.namespaces',
      good: ['other', 'no*'].map((name) => from(at('from[0].source.namespaces', 'source.namespace', [name]))),
    },
    {
      bad: allowing(ruleOf({ to: [at('to[0].operation.paths', 'request.path', ['a/b'])] })),
      field: 'spec.rules[0].to[0].operation.paths',
      good: ['/a', '*.png', '*'].map((text) => allowing(ruleOf({ to: [where('request.path', [text])] }))),
    },
    {
      bad: allowing(ruleOf({ when: [at('when[0]', 'request.method', ['get'])] })),
      field: 'spec.rules[0].when[0]',
      good: [allowing(ruleOf({ when: [at('when[0]', 'request.method', ['get', 'GET'])] }))],
    },
  ],
  WEFT0505: [
    {
      bad: authenticated([]),
      field: '',
      good: [
        authenticated([{ rules: [TOKENS] }]),
        authenticated([{ selector: web, action: 'DENY', rules: [TOKENS] }]),
        seen(shop().requestAuthentication({ rules: [{ ...JWT, required: true }] })),
        seen(shop().requestAuthentication({})),
      ],
    },
    { bad: authenticated([{ selector: db, rules: [TOKENS] }]), field: '', good: [] },
    { bad: authenticated([{ dryRun: true, rules: [TOKENS] }]), field: '', good: [] },
    { bad: authenticated([{ rules: [ruleOf({ to: [path] })] }]), field: '', good: [] },
  ],
  WEFT0506: [
    {
      bad: guarded({ selector: { app: 'none' } }),
      field: 'spec.selector',
      good: [guarded({ selector: web }), guarded({}), guarded({ selector: web, namespace: ROOT_NAMESPACE })],
    },
    { bad: guarded({ selector: web, namespace: 'other' }), field: 'spec.selector', good: [] },
    {
      bad: files(shop().requestAuthentication({ selector: { app: 'none' } })),
      field: 'spec.selector',
      good: [files(world().requestAuthentication({ selector: { app: 'none' } }))],
    },
  ],
  WEFT0507: [
    {
      bad: guarded({ targets: [{ namespace: 'default', name: 'nowhere' }] }),
      field: 'spec.targetRefs',
      severity: 'error',
      good: [guarded({ targets: [{ namespace: 'default', name: 'web' }] }), guarded({ targets: [] })],
    },
    {
      bad: files(world().authorizationPolicy({ targets: [{ namespace: 'default', name: 'web' }] })),
      field: 'spec.targetRefs',
      severity: 'warning',
      good: [],
    },
  ],
  WEFT0508: [
    {
      bad: from(principal('corp/ns/a/sa/b')),
      field: 'spec.rules[0].from[0].source.principals',
      good: [
        ...['cluster.local/ns/a/sa/b', '*/ns/a/sa/b', 'c*', '*'].map((text) => from(principal(text))),
        seen(
          shop()
            .settings({ trustDomain: 'corp' })
            .authorizationPolicy({ rules: [ruleOf({ from: [principal('corp/ns/a/sa/b')] })] }),
        ),
      ],
    },
    {
      bad: allowing(ruleOf({ from: [at('from[0].source.notTrustDomains', 'source.trustDomain', [], ['corp'])] })),
      field: 'spec.rules[0].from[0].source.notTrustDomains',
      good: [from(where('source.trustDomain', ['cluster.local']))],
    },
  ],
  WEFT0509: [
    {
      bad: uncaptured(guarded({ selector: web })),
      field: '',
      good: [
        guarded({ selector: web }),
        uncaptured(guarded({ dryRun: true })),
        uncaptured(guarded({ action: 'DENY' })),
        { ...uncaptured(guarded({ selector: web })), from: 'files' },
      ],
    },
    { bad: uncaptured(seen(shop().requestAuthentication({ rules: [JWT] }))), field: '', good: [] },
  ],
}

for (const [code, cases] of Object.entries(CASES) as [keyof typeof CASES, readonly Case[]][]) {
  test(`${code}: ${CODES[code].says}`, () => {
    for (const { bad, field, severity, good } of cases) {
      const all = analyse(bad)
      const found = all.find((one) => one.code === code && one.field === field)
      assert.ok(found, `not found at ${field}: ${JSON.stringify(all, null, 1)}`)
      assert.equal(found.severity, severity ?? found.severity)
      assert.doesNotMatch(found.message, /\.$|undefined|null/)
      for (const one of all) {
        assert.ok((CODES[one.code].severities as readonly Severity[]).includes(one.severity), JSON.stringify(one))
      }
      for (const sound of good) {
        assert.deepEqual(
          analyse(sound).filter((one) => one.code === code),
          [],
          'found in what is sound',
        )
      }
    }
  })
}

test('a mesh whose guards do what they say has no findings', () => {
  const mesh = shop()
    .requestAuthentication({ selector: web, rules: [JWT] })
    .authorizationPolicy({
      selector: web,
      rules: [ruleOf({ from: [where('request.principal', ['*'])], when: [port('8080')] })],
    })
    .authorizationPolicy({ selector: db, rules: [ruleOf({ from: [where('source.namespace', ['default'])] })] })
  assert.deepEqual(analyse(seen(mesh)), [])
  assert.deepEqual(analyse(files(mesh)), [])
})
