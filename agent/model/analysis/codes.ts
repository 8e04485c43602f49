// Every finding that weft analyze knows, by its code. A code keeps its meaning for ever: scripts filter by it.

export const SEVERITIES = ['error', 'warning', 'info'] as const
export type Severity = (typeof SEVERITIES)[number]

interface Meaning {
  /** Those that it may have, the usual one first. */
  readonly severities: readonly [Severity, ...Severity[]]
  /** What is found, in a few words. */
  readonly says: string
}

/**
 * By code: 01 is said of any object, 02 of VirtualServices, 03 of DestinationRules, 04 of Services and PeerAuthentications, 05
 * of AuthorizationPolicies and RequestAuthentications, which are called guards here.
 */
export const CODES = {
  WEFT0101: { severities: ['error'], says: 'the object is not sound, and not in force' },
  WEFT0102: { severities: ['warning', 'info'], says: 'a field is not honoured, or not as it may be meant' },
  WEFT0103: { severities: ['warning'], says: 'another object overrides it for all callers' },
  WEFT0104: { severities: ['info'], says: 'another object overrides it for some callers' },
  WEFT0105: { severities: ['warning'], says: 'another object that it is merged with says the same field first' },
  WEFT0106: { severities: ['info', 'warning'], says: 'this version does not read the kind; a warning where it guards' },
  WEFT0107: { severities: ['error'], says: 'a document of a file cannot be read' },
  WEFT0108: { severities: ['warning'], says: 'the same object is given twice: the last one counts' },
  WEFT0109: { severities: ['warning'], says: 'exportTo names a namespace that is not there' },
  WEFT0110: { severities: ['info'], says: 'objects of a kind may not be listed, and were not looked at' },
  WEFT0201: { severities: ['error', 'warning'], says: 'a host is no Service; a warning for names outside' },
  WEFT0202: { severities: ['error', 'warning'], says: 'a destination is no Service' },
  WEFT0203: { severities: ['error'], says: 'a destination does not have the port' },
  WEFT0204: { severities: ['error'], says: 'a destination has several ports, and the rule says none' },
  WEFT0205: { severities: ['error', 'warning'], says: 'no DestinationRule that counts here defines the subset' },
  WEFT0206: { severities: ['warning'], says: 'no pod stands behind the destination' },
  WEFT0207: { severities: ['error', 'warning'], says: 'the VirtualService to delegate to is not there' },
  WEFT0208: { severities: ['error'], says: 'the VirtualService to delegate to is not exported to this namespace' },
  WEFT0209: { severities: ['error'], says: 'the VirtualService to delegate to has hosts of its own' },
  WEFT0210: { severities: ['error'], says: 'a VirtualService that others delegate to delegates further' },
  WEFT0211: { severities: ['warning', 'info'], says: 'a VirtualService without hosts to which nobody delegates' },
  WEFT0212: { severities: ['warning'], says: 'a rule is never reached' },
  WEFT0213: { severities: ['info'], says: 'an entry of a match never decides' },
  WEFT0214: { severities: ['warning'], says: 'a rule is for a port that the Service does not have' },
  WEFT0215: { severities: ['warning'], says: 'http rules for a port that is declared to be no HTTP' },
  WEFT0216: { severities: ['warning'], says: 'tcp or tls rules for a port that is declared to be HTTP' },
  WEFT0217: { severities: ['info'], says: 'the weights of a rule do not add up to 100' },
  WEFT0218: { severities: ['info'], says: 'a destination of weight 0 gets nothing' },
  WEFT0219: { severities: ['info'], says: 'it is also, or only, for gateways: these are not served' },
  WEFT0220: { severities: ['info'], says: 'no workload carries the labels that callers are to have' },
  WEFT0221: { severities: ['warning'], says: 'one try may take longer than the whole request' },
  WEFT0222: { severities: ['info'], says: 'the time of the request is over before all tries are' },
  WEFT0223: { severities: ['info'], says: 'an object names the same host twice' },
  WEFT0301: { severities: ['error', 'warning'], says: 'the host is no Service; a warning for names outside' },
  WEFT0302: { severities: ['warning', 'info'], says: 'no pod carries the labels of a subset; info while unused' },
  WEFT0303: { severities: ['info'], says: 'no rule routes to a subset' },
  WEFT0304: { severities: ['warning'], says: 'settings for a port that the Service does not have' },
  WEFT0305: { severities: ['warning'], says: 'a hash of something that only HTTP has, for a port that is none' },
  WEFT0306: { severities: ['warning'], says: 'failover between localities without outlierDetection' },
  WEFT0307: { severities: ['warning'], says: 'two subsets of one name' },
  WEFT0308: { severities: ['error'], says: 'plaintext is demanded towards pods that refuse it' },
  WEFT0309: { severities: ['warning'], says: 'the mesh’s TLS is demanded towards what is not in the mesh' },
  WEFT0401: { severities: ['info'], says: 'a port does not declare its protocol' },
  WEFT0402: { severities: ['warning'], says: 'a port that is not TCP goes past STRICT' },
  WEFT0403: { severities: ['warning'], says: 'STRICT for pods that are not there' },
  WEFT0404: { severities: ['warning'], says: 'pods under STRICT are not captured' },
  WEFT0501: { severities: ['error'], says: 'the settings of the mesh have no authorizer of that name' },
  WEFT0502: { severities: ['warning'], says: 'an ALLOW asks for requests where there are none, and matches nothing' },
  WEFT0503: { severities: ['warning'], says: 'a DENY asks for requests alone, and denies all connections besides' },
  WEFT0504: { severities: ['warning'], says: 'a rule of an ALLOW, or a text of another, that nobody can match' },
  WEFT0505: { severities: ['info'], says: 'tokens are looked at, and nobody has to have one' },
  WEFT0506: { severities: ['warning'], says: 'no pod carries the labels that a guard is for' },
  WEFT0507: { severities: ['error', 'warning'], says: 'a guard is for a Service that is not there' },
  WEFT0508: { severities: ['warning'], says: 'a trust domain that nobody is of' },
  WEFT0509: { severities: ['warning'], says: 'pods that a guard is for are not captured' },
} as const satisfies Readonly<Record<string, Meaning>>

export type Code = keyof typeof CODES

/** How grave a finding is where it does not say. */
export function severityOf(code: Code): Severity {
  return CODES[code].severities[0]
}

/** Whether one severity is at least as grave as another. */
export function isAtLeast(one: Severity, other: Severity): boolean {
  return SEVERITIES.indexOf(one) <= SEVERITIES.indexOf(other)
}
