// Who is asked for CUSTOM policies: Istio's meshConfig.extensionProviders, as plain values.

/** An authorizer that is asked by HTTP (Istio EnvoyExternalAuthorizationHttpProvider). Header names are lower case. */
export interface HttpAuthorizer {
  readonly name: string
  /** Host of a service of the mesh, fully qualified, and its port. */
  readonly host: string
  readonly port: number
  /** Milliseconds until it counts as failed. */
  readonly timeoutMs: number
  /** Stands before the path of each request that it is asked about; '' for none. */
  readonly pathPrefix: string
  /** Whether a request goes on where it fails. */
  readonly failOpen: boolean
  /** What the caller gets where it fails, and that is not open. */
  readonly statusOnError: number
  /** Of the request, besides Host, Method, Path, Content-Length and Authorization; a name may end or begin with `*`. */
  readonly includeRequestHeadersInCheck: readonly string[]
  /** Set in each question. */
  readonly includeAdditionalHeadersInCheck: readonly (readonly [name: string, value: string])[]
  /** How much of the body goes along; null: none of it. */
  readonly body: { readonly maxBytes: number; readonly allowPartial: boolean } | null
  /** Of its answer: for the upstream where it allows, for the caller where it allows and where it denies. */
  readonly headersToUpstreamOnAllow: readonly string[]
  readonly headersToDownstreamOnAllow: readonly string[]
  readonly headersToDownstreamOnDeny: readonly string[]
}
