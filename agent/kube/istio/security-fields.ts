// Every field of Istio's AuthorizationPolicy and RequestAuthentication, and what becomes of it, as in fields.ts.

import { Limited, type Shape } from '../honoured.ts'

const TARGET: Shape = {
  group: true,
  kind: new Limited('`Service` of the core group; of other kinds none is served, and the entry is for nobody'),
  name: true,
  namespace: new Limited('must be empty, as with Istio: a target is of the object’s own namespace'),
}

const AIM = { selector: { matchLabels: true }, targetRef: TARGET, targetRefs: [TARGET] } as const

/** What one rule of an AuthorizationPolicy may say. What it says beyond that may narrow it, and is no remark but a fault. */
export const AUTHORIZATION_RULE_FIELDS: Shape = {
  from: [
    {
      source: {
        principals: true,
        notPrincipals: true,
        requestPrincipals: true,
        notRequestPrincipals: true,
        namespaces: true,
        notNamespaces: true,
        ipBlocks: true,
        notIpBlocks: true,
        remoteIpBlocks: true,
        notRemoteIpBlocks: true,
        serviceAccounts: true,
        notServiceAccounts: true,
        trustDomains: true,
        notTrustDomains: true,
      },
    },
  ],
  to: [
    {
      operation: {
        hosts: true,
        notHosts: true,
        ports: true,
        notPorts: true,
        methods: true,
        notMethods: true,
        paths: true,
        notPaths: true,
      },
    },
  ],
  when: [
    {
      key: new Limited('`experimental.envoy.filters.…` is refused: there is no such filter'),
      values: true,
      notValues: true,
    },
  ],
}

export const AUTHORIZATION_POLICY_FIELDS: Shape = {
  ...AIM,
  action: true,
  provider: { name: true },
  rules: [AUTHORIZATION_RULE_FIELDS],
}

export const REQUEST_AUTHENTICATION_FIELDS: Shape = {
  ...AIM,
  jwtRules: [
    {
      issuer: new Limited('empty: any, where `jwks` or `jwksUri` is given'),
      audiences: true,
      jwksUri: true,
      jwks_uri: true,
      jwks: true,
      fromHeaders: [{ name: true, prefix: true }],
      fromParams: true,
      fromCookies: true,
      outputPayloadToHeader: true,
      outputClaimToHeaders: [{ header: true, claim: true }],
      forwardOriginalToken: true,
      timeout: new Limited('at most 30s'),
      spaceDelimitedClaims: true,
      presence: true,
    },
  ],
}
