// Which protocol a connection speaks: what its port declares, else what its first bytes say.

/** What a Service port declares: `http` is carried as HTTP/1.1, `opaque` as plain TCP, `sniff` is undeclared. */
export type DeclaredProtocol = 'http' | 'opaque' | 'sniff'

/** What a connection was found to speak. */
export type Protocol = 'http' | 'opaque'

/** What the mesh's TLS carries, by ALPN (RFC 7301): the caller's node has told the protocol already. */
export const ALPN: readonly string[] = ['weft-http/1', 'weft-tcp/1']

/** The ALPN that stands for a protocol. */
export function alpnOf(protocol: Protocol): string {
  return protocol === 'http' ? 'weft-http/1' : 'weft-tcp/1'
}

/** The protocol that an ALPN stands for; null: it is none of the mesh's. */
export function protocolOf(alpn: string | null): Protocol | null {
  if (alpn === null || !ALPN.includes(alpn)) return null
  return alpn === 'weft-http/1' ? 'http' : 'opaque'
}

/** Ports that speak first from the server's side or are no HTTP by custom: opaque without sniffing when undeclared. */
const OPAQUE_PORTS: ReadonlySet<number> = new Set([25, 587, 3306, 4444, 5432, 6379, 9300, 11211])

/**
 * Protocols by their name in `appProtocol` or as the prefix of a port name (Istio's "explicit protocol selection").
 * HTTP/2 and gRPC are carried opaque: there is no HTTP/2 engine.
 */
const BY_NAME: ReadonlyMap<string, Protocol> = new Map([
  ['http', 'http'],
  ['http-web', 'http'],
  ['kubernetes.io/ws', 'http'],
  ['http2', 'opaque'],
  ['kubernetes.io/h2c', 'opaque'],
  ['grpc', 'opaque'],
  ['grpc-web', 'http'],
  ['https', 'opaque'],
  ['tls', 'opaque'],
  ['kubernetes.io/wss', 'opaque'],
  ['tcp', 'opaque'],
  ['mongo', 'opaque'],
  ['mysql', 'opaque'],
  ['redis', 'opaque'],
])
const TLS_NAMES: ReadonlySet<string> = new Set(['https', 'tls', 'kubernetes.io/wss'])
const HTTP2_NAMES: ReadonlySet<string> = new Set(['http2', 'kubernetes.io/h2c', 'grpc'])

/** A port of a Service, as far as it tells what is spoken there. */
export interface PortDeclaration {
  readonly number: number
  readonly name: string
  readonly appProtocol: string | null
}

/** What a port declares: its `appProtocol`, else its name's prefix up to the first `-`, else by its number. */
export function declaredProtocol(port: PortDeclaration): DeclaredProtocol {
  const known = BY_NAME.get(declaredName(port))
  if (known !== undefined) return known
  return OPAQUE_PORTS.has(port.number) ? 'opaque' : 'sniff'
}

/** Whether a port declares HTTP/2, which is carried opaque. */
export function declaresHttp2(port: PortDeclaration): boolean {
  return HTTP2_NAMES.has(declaredName(port))
}

/** Whether a port declares TLS of its application: there the caller speaks first. */
export function declaresTls(port: PortDeclaration): boolean {
  return TLS_NAMES.has(declaredName(port))
}

/** The name in BY_NAME that a port gives, or one that is not there. */
function declaredName({ name, appProtocol }: PortDeclaration): string {
  const byApp = appProtocol?.toLowerCase()
  if (byApp !== undefined && BY_NAME.has(byApp)) return byApp
  const lower = name.toLowerCase()
  return lower.startsWith('grpc-web') ? 'grpc-web' : (lower.split('-', 1)[0] ?? '')
}

const CR = 0x0d
const LF = 0x0a
const SPACE = 0x20
/** Longer than any registered method (RFC 9110 §16.1.1); a first word beyond it is no HTTP. */
const LONGEST_METHOD = 24

/**
 * Judges a caller's first bytes. HTTP/1.x is a token (RFC 9110 §5.6.2, upper case as all registered methods are), a
 * space, and one of the four forms of a target (RFC 9112 §3.2): text protocols share the word and the space (`NICK ann`,
 * `SET key 1`). The HTTP/2 preface (RFC 9113 §3.4) is opaque.
 * Returns `undecided` while the bytes so far could still become HTTP.
 */
export function sniff(bytes: Uint8Array): Protocol | 'undecided' {
  let at = 0
  while (at < bytes.length && (bytes[at] === CR || bytes[at] === LF) && at < 2) at++ // RFC 9112 §2.2: empty line first
  const start = at
  while (at < bytes.length && isMethodByte(bytes[at] as number)) at++
  if (at - start > LONGEST_METHOD) return 'opaque'
  if (at === bytes.length) return 'undecided'
  if (at === start || bytes[at] !== SPACE) return 'opaque'
  const line = ascii(bytes.subarray(start, start + LONGEST_METHOD + 1 + LONGEST_START))
  if (line.startsWith(PREFACE)) return 'opaque'
  if (PREFACE.startsWith(line)) return 'undecided'
  return sniffTarget(line.slice(0, at - start), line.slice(at - start + 1))
}

const PREFACE = 'PRI * HTTP/2.0'

/** Whether a caller's first bytes are those of HTTP/2 with prior knowledge: carried opaque, and counted as such. */
export function startsHttp2(bytes: Uint8Array): boolean {
  return ascii(bytes.subarray(0, PREFACE.length)) === PREFACE
}

const ABSOLUTE = ['http://', 'https://']
/** Bytes of a target that settle its form. */
const LONGEST_START = 'https://'.length

function sniffTarget(method: string, target: string): Protocol | 'undecided' {
  if (target === '') return 'undecided'
  if (target.startsWith('/') || target.startsWith('*')) return 'http'
  if (method === 'CONNECT') return /^[A-Za-z0-9[]/.test(target) ? 'http' : 'opaque' // a host, an address, `[` of IPv6
  const given = target.toLowerCase()
  if (ABSOLUTE.some((form) => given.startsWith(form))) return 'http'
  return ABSOLUTE.some((form) => form.startsWith(given)) ? 'undecided' : 'opaque'
}

function ascii(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
}

function isMethodByte(byte: number): boolean {
  return (byte >= 0x41 && byte <= 0x5a) || byte === 0x2d || byte === 0x5f
}
