// Refusals as Kubernetes words them: each is a metav1.Status, thrown in process and sent as is over http.
// Source: k8s.io/apimachinery StatusReason; the messages are what kubectl prints after "Error from server".

/** What names a resource in a message: "pods", or "deployments.apps". */
export interface Named {
  readonly plural: string
  readonly group: string
  readonly kind: string
}

export interface Cause {
  readonly reason?: string
  readonly message: string
  readonly field?: string
}

export interface StatusDetails {
  name?: string
  group?: string
  kind?: string
  uid?: string
  causes?: readonly Cause[]
  retryAfterSeconds?: number
}

export interface Status {
  kind: 'Status'
  apiVersion: 'v1'
  metadata: Record<string, unknown>
  status: 'Success' | 'Failure'
  message?: string
  reason?: string
  details?: StatusDetails
  code: number
}

/** A refusal of the API. `status` is the document a client receives. */
export class ApiError extends Error {
  readonly status: Status

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message)
    this.name = 'ApiError'
    this.status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code }
    if (details) this.status.details = details
  }

  get code(): number {
    return this.status.code
  }

  get reason(): string {
    return this.status.reason ?? ''
  }
}

/** The resource as messages and the store's seam name it: plural, and the group where there is one. */
export function resourceKey(plural: string, group: string): string {
  return group === '' ? plural : `${plural}.${group}`
}

function detailsOf(of: Named, name: string): StatusDetails {
  return of.group === '' ? { name, kind: of.plural } : { name, group: of.group, kind: of.plural }
}

export function notFound(of: Named, name: string): ApiError {
  const message = `${resourceKey(of.plural, of.group)} "${name}" not found`
  return new ApiError(404, 'NotFound', message, detailsOf(of, name))
}

/** No such path or resource type. */
export function noSuchResource(): ApiError {
  return new ApiError(404, 'NotFound', 'the server could not find the requested resource', {})
}

export function alreadyExists(of: Named, name: string): ApiError {
  const message = `${resourceKey(of.plural, of.group)} "${name}" already exists`
  return new ApiError(409, 'AlreadyExists', message, detailsOf(of, name))
}

const STALE = 'the object has been modified; please apply your changes to the latest version and try again'

export function conflict(of: Named, name: string, why = STALE): ApiError {
  const message = `Operation cannot be fulfilled on ${resourceKey(of.plural, of.group)} "${name}": ${why}`
  return new ApiError(409, 'Conflict', message, detailsOf(of, name))
}

export function forbidden(of: Named, name: string, why: string): ApiError {
  const message = `${resourceKey(of.plural, of.group)} "${name}" is forbidden: ${why}`
  return new ApiError(403, 'Forbidden', message, detailsOf(of, name))
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, 'BadRequest', message)
}

/** A resourceVersion that the watch log no longer reaches: the client lists again. */
export function expired(message: string): ApiError {
  return new ApiError(410, 'Expired', message)
}

export function methodNotAllowed(message: string): ApiError {
  return new ApiError(405, 'MethodNotAllowed', message)
}

export function unsupportedMediaType(message: string): ApiError {
  return new ApiError(415, 'UnsupportedMediaType', message)
}

export function tooLarge(limitBytes: number): ApiError {
  return new ApiError(413, 'RequestEntityTooLarge', `limit is ${limitBytes} bytes`)
}

export function tooMany(message: string, retryAfterSeconds: number): ApiError {
  return new ApiError(429, 'TooManyRequests', message, { retryAfterSeconds })
}

/** One wrong field, as `validate.ts` reports it. `shown` is the offending value, where the message shows one. */
export interface Fault {
  readonly kind: 'required' | 'invalid' | 'duplicate' | 'unsupported' | 'forbidden' | 'immutable' | 'too long'
  readonly field: string
  readonly shown?: unknown
  readonly text?: string
}

const FAULT_FORMS: Record<Fault['kind'], { reason: string; label: string; shows: boolean }> = {
  required: { reason: 'FieldValueRequired', label: 'Required value', shows: false },
  invalid: { reason: 'FieldValueInvalid', label: 'Invalid value', shows: true },
  duplicate: { reason: 'FieldValueDuplicate', label: 'Duplicate value', shows: true },
  unsupported: { reason: 'FieldValueNotSupported', label: 'Unsupported value', shows: true },
  forbidden: { reason: 'FieldValueForbidden', label: 'Forbidden', shows: false },
  immutable: { reason: 'FieldValueInvalid', label: 'Invalid value', shows: true },
  'too long': { reason: 'FieldValueTooLong', label: 'Too long', shows: false },
}

function causeOf(fault: Fault): Cause {
  const form = FAULT_FORMS[fault.kind]
  const value = form.shows ? `: ${JSON.stringify(fault.shown ?? null)}` : ''
  const text = fault.kind === 'immutable' ? 'field is immutable' : fault.text
  return { reason: form.reason, message: `${form.label}${value}${text ? `: ${text}` : ''}`, field: fault.field }
}

/** 422: the object breaks its kind's rules; every fault is listed. */
export function invalid(of: Named, name: string, faults: readonly Fault[]): ApiError {
  const causes = faults.map(causeOf)
  const lines = causes.map((cause) => `${cause.field}: ${cause.message}`)
  const list = lines.length === 1 ? lines[0] : `[${lines.join(', ')}]`
  const kind = of.group === '' ? of.kind : `${of.kind}.${of.group}`
  const details: StatusDetails = { ...detailsOf(of, name), kind: of.kind, causes }
  return new ApiError(422, 'Invalid', `${kind} "${name}" is invalid: ${list}`, details)
}
