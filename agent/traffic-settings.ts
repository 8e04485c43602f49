// What bounds the connections and requests that an agent carries: time-outs, buffers, counts.

import type { Settings } from './settings.ts'

export const TRAFFIC_SETTINGS = {
  'connect-timeout-ms': {
    type: 'number',
    default: 10_000,
    min: 10,
    max: 600_000,
    describe: 'How long an endpoint may take to accept a connection',
  },
  'peer-timeout-seconds': {
    type: 'number',
    default: 300,
    min: 0,
    max: 86_400,
    describe:
      'How long a peer may leave bytes unacknowledged or unread before it is taken for dead; 0: as the kernel has it',
  },
  'head-timeout-seconds': {
    type: 'number',
    default: 60,
    min: 1,
    max: 3600,
    describe: 'How long a request head may take; then the answer is 408',
  },
  'body-timeout-seconds': {
    type: 'number',
    default: 300,
    min: 0,
    max: 86_400,
    describe: 'How long a caller may be silent within a request body; then the answer is 408. 0: for ever',
  },
  'request-timeout-seconds': {
    type: 'number',
    default: 0,
    min: 0,
    max: 86_400,
    describe: 'How long a request may take where no rule says; then the answer is 504. 0: for ever',
  },
  'retry-buffer-kb': {
    type: 'number',
    default: 1024,
    min: 0,
    max: 65_536,
    describe:
      'Longest request body that is kept where a rule may have the request sent again; a longer one is sent once',
  },
  'idle-timeout-seconds': {
    type: 'number',
    default: 3600,
    min: 1,
    max: 604_800,
    describe: 'How long a connection may be without a byte either way',
  },
  'sniff-ms': {
    type: 'number',
    default: 100,
    min: 1,
    max: 10_000,
    describe: 'How long a caller’s first bytes are waited for where a port declares no protocol',
  },
  'handshake-timeout-ms': {
    type: 'number',
    default: 10_000,
    min: 100,
    max: 60_000,
    describe: 'How long a TLS handshake may take, between nodes or with a server that a rule has TLS spoken to',
  },
  'pod-handshakes': {
    type: 'number',
    default: 1000,
    min: 1,
    max: 100_000,
    describe: 'Handshakes of the TLS between nodes that one pod may have under way at once, in each worker',
  },
  'pod-handshakes-per-second': {
    type: 'number',
    default: 500,
    min: 1,
    max: 100_000,
    describe: 'Handshakes that one pod may begin in a second, in each worker; after a pause twice as many',
  },
  'breaker-scopes': {
    type: 'number',
    default: 4096,
    min: 16,
    max: 65_536,
    describe: 'Hosts, with subset and port, that DestinationRules bound on this node together; each takes 0.6 KB',
  },
  'breaker-endpoints': {
    type: 'number',
    default: 32_768,
    min: 16,
    max: 1_048_576,
    describe: 'Endpoints that may be ejected on this node; each takes 0.1 KB',
  },
  'pool-idle-seconds': {
    type: 'number',
    default: 30,
    min: 1,
    max: 3600,
    describe: 'How long an HTTP connection to an endpoint is kept for the next request',
  },
  'pod-connections': {
    type: 'number',
    default: 20_000,
    min: 1,
    max: 1_000_000,
    describe: 'Connections of one pod at once, both directions',
  },
  'pod-buffer-mb': {
    type: 'number',
    default: 256,
    min: 1,
    max: 65_536,
    describe: 'Megabytes that the connections of one pod may hold at once, both directions',
  },
  'head-bytes': {
    type: 'number',
    default: 60 * 1024,
    min: 1024,
    max: 65_535,
    describe: 'Longest head of an HTTP request or response',
  },
  'head-fields': {
    type: 'number',
    default: 100,
    min: 10,
    max: 1000,
    describe: 'Most header lines of an HTTP request or response',
  },
} as const satisfies Settings
