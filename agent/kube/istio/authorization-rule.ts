// One rule of an AuthorizationPolicy: whom and what it matches.

import { compileCondition } from '../../model/authorization/condition.ts'
import { isTemplate, templateFault } from '../../model/authorization/path-template.ts'
import type { Action, Attribute, Condition, Rule } from '../../model/authorization/policy.ts'
import { type Lack, unhonoured } from '../honoured.ts'
import type { GivenAuthorizationRule } from '../istio.ts'
import { Rejected } from '../translate.ts'
import { cidr, token } from './checked.ts'
import { AUTHORIZATION_RULE_FIELDS } from './security-fields.ts'

/** A rule as it may stand; what of it cannot be meant, and what of it may be meant otherwise. */
export interface RuleRead {
  readonly rule: Rule
  readonly faults: readonly Lack[]
  readonly remarks: readonly Lack[]
}

/** What a rule is read with. */
export interface RuleReading {
  readonly action: Action
  /** Of the object: an account without one is of it. */
  readonly namespace: string
}

type Pair = readonly [values: string, notValues: string, kind: PlainKind]
type PlainKind = Exclude<Attribute['kind'], 'request.header' | 'request.claim'>

const SOURCE: readonly Pair[] = [
  ['principals', 'notPrincipals', 'source.principal'],
  ['requestPrincipals', 'notRequestPrincipals', 'request.principal'],
  ['namespaces', 'notNamespaces', 'source.namespace'],
  ['ipBlocks', 'notIpBlocks', 'source.ip'],
  ['remoteIpBlocks', 'notRemoteIpBlocks', 'remote.ip'],
  ['serviceAccounts', 'notServiceAccounts', 'source.serviceAccount'],
  ['trustDomains', 'notTrustDomains', 'source.trustDomain'],
]
const OPERATION: readonly Pair[] = [
  ['hosts', 'notHosts', 'request.host'],
  ['ports', 'notPorts', 'destination.port'],
  ['methods', 'notMethods', 'request.method'],
  ['paths', 'notPaths', 'request.path'],
]

/** Keys of `when` that name an attribute alone (Istio's conditions). */
const KEYS: Readonly<Record<string, PlainKind>> = {
  'source.ip': 'source.ip',
  'remote.ip': 'remote.ip',
  'source.namespace': 'source.namespace',
  'source.principal': 'source.principal',
  'source.serviceAccount': 'source.serviceAccount',
  'request.auth.principal': 'request.principal',
  'request.auth.audiences': 'request.audiences',
  'request.auth.presenter': 'request.presenter',
  'destination.ip': 'destination.ip',
  'destination.port': 'destination.port',
  'connection.sni': 'connection.sni',
}

/** Keys that Istio once had: what is to be said instead. */
const FORMER: Readonly<Record<string, string>> = {
  'destination.namespace': 'is said by the object’s own namespace',
  'destination.labels': 'is said by the selector',
  'destination.name': 'is no longer known to Istio',
  'destination.user': 'is no longer known to Istio',
  'request.experimental.inline.headers': 'is an experiment of Istio, and not known here: use request.headers',
}
/** Of Istio's: what filters of Envoy found. */
const OF_FILTERS = 'experimental.envoy.filters.'

/**
 * Reads a rule; Istio refuses the object where it has a fault. Until there is a sound version, and where none was known
 * before, it must not open anything: a rule that gives something, and cannot be meant, gives nothing; of one that takes
 * something away the conditions that cannot be meant are left out, and it takes away more than was asked for. An AUDIT
 * notes nothing then.
 */
export function authorizationRule(given: GivenAuthorizationRule, index: number, reading: RuleReading): RuleRead {
  const path = `spec.rules[${index}]`
  const reader = new RuleReader(path, reading)
  const rule = {
    from: reader.list('from', given.from, 'source', SOURCE),
    to: reader.list('to', given.to, 'operation', OPERATION),
    when: reader.when(given.when ?? []),
  }
  const faults = [...reader.faults, ...unhonoured(given, AUTHORIZATION_RULE_FIELDS, path)]
  if (faults.length === 0) return { rule, faults, remarks: reader.remarks }
  const takesAway = reading.action === 'DENY' || reading.action === 'CUSTOM'
  return { rule: takesAway ? rule : unmeant(index), faults, remarks: [] }
}

/** Matches nothing: nobody listens at port 0. It stands where it stood, so that others keep their places. */
function unmeant(index: number): Rule {
  const nowhere = {
    field: `rules[${index}]`,
    attribute: { kind: 'destination.port' },
    values: ['0'],
    notValues: [],
  } as const
  return { from: [], to: [], when: [nowhere] }
}

/** Gathers what cannot be meant, and what may be meant otherwise. */
class RuleReader {
  readonly faults: Lack[] = []
  readonly remarks: Lack[] = []
  readonly #path: string
  readonly #reading: RuleReading

  constructor(path: string, reading: RuleReading) {
    this.#path = path
    this.#reading = reading
  }

  /** `from` or `to`: each entry's conditions. */
  list(
    name: 'from' | 'to',
    entries: readonly Readonly<Record<string, unknown>>[] | undefined,
    inner: string,
    pairs: readonly Pair[],
  ): readonly (readonly Condition[])[] {
    if (entries?.length === 0) this.#fault(name, 'must have an entry where it is given')
    return (entries ?? []).map((entry, index) => {
      const at = `${name}[${index}].${inner}`
      const lists = entry[inner] as Readonly<Record<string, unknown>> | undefined
      if (lists === undefined) this.#fault(at, 'is required')
      else if (Object.values(lists).every(isEmpty)) this.#fault(at, 'must say something')
      if (inner === 'source' && lists !== undefined) this.#demandOneWay(lists, at)
      return pairs.flatMap(([values, notValues, kind]) => {
        const said = { values: lists?.[values], notValues: lists?.[notValues] }
        const fields = { values: `${at}.${values}`, notValues: `${at}.${notValues}` }
        const field = isEmpty(said.values) ? fields.notValues : fields.values
        return this.#condition({ field, attribute: { kind }, said, fields })
      })
    })
  }

  when(given: NonNullable<GivenAuthorizationRule['when']>): readonly Condition[] {
    return given.flatMap(({ key, values, notValues }, index) => {
      const field = `when[${index}]`
      const attribute = this.#tried(`${field}.key`, () => attributeOf(key, `${this.#path}.${field}.key`))
      if (attribute === null) return []
      if (isEmpty(values) && isEmpty(notValues)) {
        this.#fault(field, 'must have values or notValues')
        return []
      }
      const fields = { values: `${field}.values`, notValues: `${field}.notValues` }
      return this.#condition({ field, attribute, said: { values, notValues }, fields })
    })
  }

  /** None where nothing is said, or what is said cannot be meant. */
  #condition({
    field,
    attribute,
    said,
    fields,
  }: {
    readonly field: string
    readonly attribute: Attribute
    readonly said: Readonly<Record<'values' | 'notValues', unknown>>
    readonly fields: Readonly<Record<'values' | 'notValues', string>>
  }): readonly Condition[] {
    const values = this.#values(attribute, said.values, fields.values)
    const notValues = this.#values(attribute, said.notValues, fields.notValues)
    if (values === null || notValues === null) return []
    if (values.length === 0 && notValues.length === 0) return []
    const condition = { field, attribute, values, notValues }
    const sound = this.#tried(field, () => compiles(condition, `${this.#path}.${field}`))
    return sound === null ? [] : [sound]
  }

  /** Null: there is a fault among them. */
  #values({ kind }: Attribute, given: unknown, field: string): readonly string[] | null {
    if (given === undefined) return []
    if (!Array.isArray(given)) {
      this.#fault(field, 'must be a list')
      return null
    }
    const read = given.map((value: unknown, index) => {
      const path = `${this.#path}.${field}[${index}]`
      if (typeof value === 'string' && hasIdleStar(kind, value)) {
        const reason = `'${value}' has a star that stands for itself: only one at the beginning or the end stands for more`
        this.remarks.push({ field: path, reason })
      }
      return this.#tried(`${field}[${index}]`, () => valueOf(kind, value, { path, namespace: this.#reading.namespace }))
    })
    const values = read.filter((value) => value !== null)
    return values.length === read.length ? values : null
  }

  /** The CRD's own rule: an account says its namespace, and its principal. */
  #demandOneWay(lists: Readonly<Record<string, unknown>>, at: string): void {
    const says = (names: readonly string[]): boolean => names.some((name) => !isEmpty(lists[name]))
    if (!says(['serviceAccounts', 'notServiceAccounts'])) return
    if (says(['principals', 'notPrincipals', 'namespaces', 'notNamespaces'])) {
      this.#fault(at, 'may not have serviceAccounts beside principals or namespaces')
    }
  }

  #tried<T>(field: string, work: () => T): T | null {
    try {
      return work()
    } catch (error) {
      if (error instanceof Rejected) this.faults.push({ field: error.field, reason: error.message })
      else this.#fault(field, error instanceof Error ? error.message : String(error))
      return null
    }
  }

  #fault(field: string, reason: string): void {
    this.faults.push({ field: `${this.#path}.${field}`, reason })
  }
}

function isEmpty(list: unknown): boolean {
  return list === undefined || (Array.isArray(list) && list.length === 0)
}

/** What a key of `when` looks at. Throws Rejected for one that is unknown. */
function attributeOf(key: string, path: string): Attribute {
  const kind = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined
  if (kind !== undefined) return { kind }
  const header = /^request\.headers\[(:?)([^[\]]+)\]$/.exec(key)
  if (header !== null) {
    return { kind: 'request.header', name: `${header[1] ?? ''}${token(header[2] ?? '', path)}`.toLowerCase() }
  }
  const claim = /^request\.auth\.claims((?:\[[^[\]]+\])+)$/.exec(key)
  if (claim !== null) return { kind: 'request.claim', path: (claim[1] ?? '').slice(1, -1).split('][') }
  const [name = ''] = key.split('[', 1)
  if (Object.hasOwn(FORMER, name)) throw new Rejected(path, `'${key}' ${FORMER[name] ?? ''}`)
  if (name === 'request.headers') throw new Rejected(path, `'${key}' must be request.headers[NAME]`)
  if (name === 'request.auth.claims') throw new Rejected(path, `'${key}' must be request.auth.claims[NAME]`)
  if (key.startsWith(OF_FILTERS)) throw new Rejected(path, `'${key}' is of Envoy's filters, and there are none`)
  throw new Rejected(path, `'${key}' is no attribute that is known here`)
}

/** One value as it is looked for. */
function valueOf(
  kind: Attribute['kind'],
  given: unknown,
  { path, namespace }: { readonly path: string; readonly namespace: string },
): string {
  if (typeof given !== 'string') throw new Rejected(path, 'must be string')
  if (given === '') throw new Rejected(path, 'must not be empty')
  switch (kind) {
    case 'source.ip':
    case 'remote.ip':
    case 'destination.ip':
      return cidr(given, path)
    case 'destination.port':
      if (/^\d{1,5}$/.test(given) && Number(given) <= 0xffff) return given
      throw new Rejected(path, `'${given}' is no port`)
    case 'source.serviceAccount':
      return accountOf(given, path, namespace)
    case 'request.path':
      return pathOf(given, path)
    default:
      return given
  }
}

/** Istio takes braces for operators alone: who writes `/users/{id}` is not told by silence that it matches nothing. */
function pathOf(given: string, path: string): string {
  const fault = /[{}]/.test(given) ? templateFault(given) : null
  if (fault === null) return given
  throw new Rejected(path, `'${given}' cannot be meant: ${fault}`)
}

/** Whether a text has a star that is a letter, as it is with Istio; of namespaces every star counts. */
function hasIdleStar(kind: Attribute['kind'], value: string): boolean {
  if (!STARRED.has(kind) || value === '*' || (kind === 'request.path' && isTemplate(value))) return false
  return (value.startsWith('*') ? value.slice(1) : value.endsWith('*') ? value.slice(0, -1) : value).includes('*')
}

/** What is looked for with a star at one end. */
const STARRED: ReadonlySet<Attribute['kind']> = new Set([
  ...(['source.principal', 'source.trustDomain', 'connection.sni', 'request.method', 'request.host'] as const),
  ...(['request.path', 'request.header', 'request.principal', 'request.audiences'] as const),
  ...(['request.presenter', 'request.claim'] as const),
])

/** A name of an object (RFC 1123 subdomain). */
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/

/** `NAMESPACE/ACCOUNT`. An account is named to the letter: there are no wildcards (Istio's serviceAccounts). */
function accountOf(given: string, path: string, own: string): string {
  const parts = given.split('/')
  const [namespace, account] = parts.length === 1 ? [own, given] : [parts[0] ?? '', parts[1] ?? '']
  if (parts.length <= 2 && NAME.test(namespace) && NAME.test(account)) {
    return `${namespace}/${account}`
  }
  throw new Rejected(path, `'${given}' must be ACCOUNT or NAMESPACE/ACCOUNT, without a wildcard`)
}

/** The condition, once the model understands it: a snapshot must not fail by one object. */
function compiles(condition: Condition, path: string): Condition {
  try {
    compileCondition(condition, true)
    return condition
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    throw new Rejected(path, text.replace(`${condition.field}: `, ''))
  }
}
