// The agent's settings for who may call what: authorizers, tokens, and the keys that verify them. A part of the table in config.ts.

import type { Settings } from './settings.ts'

export const ACCESS_SETTINGS = {
  'pod-questions': {
    type: 'number',
    default: 1000,
    min: 1,
    max: 100_000,
    describe: 'Questions to authorizers about requests to one pod that are under way at once, in each worker',
  },
  'token-bytes': {
    type: 'number',
    default: 16 * 1024,
    min: 256,
    max: 65_535,
    describe: 'Longest JSON Web Token that is looked at',
  },
  'token-cache-entries': {
    type: 'number',
    default: 2000,
    min: 0,
    max: 1_000_000,
    describe: 'Tokens whose signature each worker remembers as good',
  },
  'token-cache-mb': {
    type: 'number',
    default: 16,
    min: 0,
    max: 1024,
    describe: 'Megabytes that those may take in each worker',
  },
  'jwks-kb': {
    type: 'number',
    default: 1024,
    min: 1,
    max: 16_384,
    describe: 'Longest set of keys, or configuration of an issuer, that is fetched',
  },
  'jwks-refresh-seconds': {
    type: 'number',
    default: 1200,
    min: 1,
    max: 86_400,
    describe: 'How often keys of issuers are fetched',
  },
  'jwks-ask-seconds': {
    type: 'number',
    default: 30,
    min: 1,
    max: 86_400,
    describe: 'How soon after a fetch a token whose key is not in the set brings about the next',
  },
  'jwks-keep-seconds': {
    type: 'number',
    default: 86_400,
    min: 0,
    max: 2_592_000,
    describe: 'How long the last keys of an issuer count while newer ones cannot be fetched',
  },
  'jwks-from-node': {
    type: 'boolean',
    default: false,
    describe: 'Fetch keys also from loopback and link-local addresses, which are the node’s own',
  },
} as const satisfies Settings
