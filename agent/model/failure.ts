// The corridor's steps and every way a connection or request can end badly, as one table.

/** The steps of the corridor, in order. Errors, metrics, logs and documents name them so. */
export const STEPS = [
  'capture',
  'authenticate',
  'classify',
  'route',
  'pick',
  'authorize',
  'connect',
  'relay',
  'account',
] as const

export type Step = (typeof STEPS)[number]

/** Whose doing it is. */
export type Blame = 'caller' | 'policy' | 'upstream' | 'mesh' | 'kernel'

interface FailureKind {
  readonly step: Step
  readonly blame: Blame
  /** HTTP status the caller gets where HTTP is spoken; 0 where the connection is simply ended. */
  readonly status: number
  /** Envoy's response flag as Istio's access log shows it, `-` for none. */
  readonly flag: string
  /** Whether another endpoint may be tried: only where no byte of the request can have been acted upon. */
  readonly retry: boolean
}

/** Every failure by its code. Codes are stable: they are the `reason` of metrics and logs. */
export const FAILURES = {
  NO_ORIGINAL_DESTINATION: { step: 'capture', blame: 'caller', status: 0, flag: '-', retry: false },
  OWN_LISTENER: { step: 'capture', blame: 'caller', status: 0, flag: '-', retry: false },
  BAD_REQUEST: { step: 'classify', blame: 'caller', status: 400, flag: 'DPE', retry: false },
  HEAD_TOO_LARGE: { step: 'classify', blame: 'caller', status: 431, flag: 'DPE', retry: false },
  NOT_IMPLEMENTED: { step: 'classify', blame: 'caller', status: 501, flag: 'DPE', retry: false },
  CALLER_TIMEOUT: { step: 'classify', blame: 'caller', status: 408, flag: 'DT', retry: false },
  NO_ROUTE: { step: 'route', blame: 'policy', status: 404, flag: 'NR', retry: false },
  BLACKHOLE: { step: 'route', blame: 'policy', status: 502, flag: '-', retry: false },
  BLACKHOLE_TCP: { step: 'route', blame: 'policy', status: 0, flag: 'UH', retry: false },
  NO_CLUSTER: { step: 'route', blame: 'policy', status: 503, flag: 'NC', retry: false },
  FAULT_ABORT: { step: 'route', blame: 'policy', status: 0, flag: 'FI', retry: false },
  NO_ENDPOINT: { step: 'pick', blame: 'upstream', status: 503, flag: 'UH', retry: false },
  DENIED: { step: 'authorize', blame: 'policy', status: 403, flag: '-', retry: false },
  CONNECT_REFUSED: { step: 'connect', blame: 'upstream', status: 503, flag: 'UF', retry: true },
  CONNECT_TIMEOUT: { step: 'connect', blame: 'upstream', status: 503, flag: 'UF', retry: true },
  SOCKET_LIMIT: { step: 'connect', blame: 'kernel', status: 503, flag: 'UO', retry: false },
  UPSTREAM_RESET: { step: 'relay', blame: 'upstream', status: 503, flag: 'UC', retry: false },
  UPSTREAM_BAD_RESPONSE: { step: 'relay', blame: 'upstream', status: 502, flag: 'UPE', retry: false },
  REQUEST_TIMEOUT: { step: 'relay', blame: 'upstream', status: 504, flag: 'UT', retry: false },
  CALLER_RESET: { step: 'relay', blame: 'caller', status: 0, flag: 'DC', retry: false },
  IDLE_TIMEOUT: { step: 'relay', blame: 'mesh', status: 0, flag: 'SI', retry: false },
  SHUTDOWN: { step: 'relay', blame: 'mesh', status: 503, flag: '-', retry: false },
  MESH_BUG: { step: 'account', blame: 'mesh', status: 500, flag: '-', retry: false },
} as const satisfies Record<string, FailureKind>

export type FailureCode = keyof typeof FAILURES

/** The one error of the data path: a code of the table, and what is particular to this case. */
export class MeshError extends Error {
  readonly code: FailureCode
  readonly kind: FailureKind

  constructor(code: FailureCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'MeshError'
    this.code = code
    this.kind = FAILURES[code]
  }
}

/** Whatever was thrown, as a MeshError: what is not one is a bug of the mesh and says so. */
export function failureOf(thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new MeshError('MESH_BUG', message, thrown)
}
