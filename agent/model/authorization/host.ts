// How servers read a host. `Example.COM.` and `example.com:80` are whom `example.com` names, so that what is denied there is
// denied for them: rules of DENY, CUSTOM and AUDIT look at all forms of an authority, rules of ALLOW at it as it was sent, and
// with and without the port that it has anyway (RFC 9110 §4.2.3). Letters have no case in either (RFC 3986 §3.2.2; Istio's hosts).

const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: ':80', https: ':443' }

/** Forms of an authority, in lower case. */
export interface HostForms {
  /** As it was sent, and with and without the default port. */
  readonly narrow: readonly string[]
  /**
   * Besides these without any port, each without the dot at the end of the host, the port without zeros ahead, and with what
   * is escaped in the host decoded (RFC 3986 §3.2.2).
   */
  readonly wide: readonly string[]
}

export function hostForms(authority: string, scheme: string): HostForms {
  const sent = authority.toLowerCase()
  const at = portAt(sent)
  const host = sent.slice(0, at)
  const port = sent.slice(at)
  const usual = DEFAULT_PORTS[scheme] ?? ''
  const told = port === '' || port === ':' ? usual : `:${Number(port.slice(1))}`
  const plain = host.includes('%') ? decoded(host) : host
  const dotless = plain.endsWith('.') ? plain.slice(0, -1) : plain
  return {
    narrow: [...new Set(told === usual ? [sent, host, host + usual] : [sent])],
    wide: [...new Set([sent, ...[host, plain, dotless].flatMap((one) => [one, one + told])])],
  }
}

function decoded(host: string): string {
  return host
    .replace(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .toLowerCase()
}

/** Where `:port` begins, or the end of the text. */
function portAt(authority: string): number {
  const at = authority.lastIndexOf(':')
  return at > authority.lastIndexOf(']') ? at : authority.length
}
