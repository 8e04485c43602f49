// JSON Patch: a list of operations on a document. Pure; the document is not changed. Source: RFC 6902, RFC 6901.
import { copyOf, isRecord, sameJson, setMember } from '../object.ts'
import { ApiError } from '../status.ts'

type Json = unknown

/** Operations taken in one patch; the server of Kubernetes has the same bound. */
export const OPERATION_LIMIT = 10_000

/** The patched copy. Throws 422 when an operation is malformed, misses its target, or a test fails. */
export function applyJsonPatch(document: Json, patch: Json): Json {
  if (!Array.isArray(patch)) throw refusal('a JSON patch is an array of operations')
  if (patch.length > OPERATION_LIMIT) throw refusal(`a JSON patch has at most ${OPERATION_LIMIT} operations`)
  return patch.reduce<Json>(applyOperation, copyOf(document))
}

function applyOperation(document: Json, operation: Json): Json {
  if (!isRecord(operation)) throw refusal('an operation is an object')
  const path = pointerOf(operation['path'])
  switch (operation['op']) {
    case 'add':
      return add(document, path, valueOf(operation))
    case 'remove':
      return remove(document, path)
    case 'replace':
      read(document, path)
      return path.length === 0 ? valueOf(operation) : put(document, path, valueOf(operation))
    case 'move':
      return move(document, pointerOf(operation['from']), path)
    case 'copy':
      return add(document, path, copyOf(read(document, pointerOf(operation['from']))))
    case 'test':
      if (sameJson(read(document, path), operation['value'])) return document
      throw refusal(`testing path ${String(operation['path'])} failed`)
    default:
      throw refusal(`unknown operation: ${String(operation['op'])}`)
  }
}

function move(document: Json, from: readonly string[], to: readonly string[]): Json {
  if (to.length > from.length && from.every((token, at) => token === to[at])) {
    throw refusal('a value cannot move into itself')
  }
  const value = read(document, from)
  return add(from.length === 0 ? null : remove(document, from), to, value)
}

function pointerOf(pointer: unknown): string[] {
  if (pointer === '') return []
  if (typeof pointer !== 'string' || !pointer.startsWith('/')) throw refusal(`not a JSON pointer: ${String(pointer)}`)
  return pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function valueOf(operation: Record<string, Json>): Json {
  if (operation['value'] === undefined) throw refusal('the operation has no value')
  return copyOf(operation['value'])
}

function read(document: Json, path: readonly string[]): Json {
  let value = document
  for (const token of path) {
    if (Array.isArray(value)) value = value[indexIn(value, token, value.length - 1)]
    else if (isRecord(value) && Object.hasOwn(value, token)) value = value[token]
    else throw refusal(`no such path: /${path.join('/')}`)
  }
  return value
}

function add(document: Json, path: readonly string[], value: Json): Json {
  if (path.length === 0) return value
  const parent = read(document, path.slice(0, -1))
  const last = path.at(-1)!
  if (Array.isArray(parent)) {
    parent.splice(last === '-' ? parent.length : indexIn(parent, last, parent.length), 0, value)
    return document
  }
  return put(document, path, value)
}

function put(document: Json, path: readonly string[], value: Json): Json {
  const parent = read(document, path.slice(0, -1))
  const last = path.at(-1)!
  if (Array.isArray(parent)) parent[indexIn(parent, last, parent.length - 1)] = value
  else if (isRecord(parent)) setMember(parent, last, value)
  else throw refusal(`no such path: /${path.join('/')}`)
  return document
}

function remove(document: Json, path: readonly string[]): Json {
  if (path.length === 0) return null
  read(document, path)
  const parent = read(document, path.slice(0, -1)) as Record<string, Json> | Json[]
  const last = path.at(-1)!
  if (Array.isArray(parent)) parent.splice(Number(last), 1)
  else delete parent[last]
  return document
}

function indexIn(list: readonly Json[], token: string, highest: number): number {
  if (!/^(0|[1-9]\d*)$/.test(token) || Number(token) > highest) {
    throw refusal(`index ${token} is out of the bounds of a list of ${list.length}`)
  }
  return Number(token)
}

function refusal(message: string): ApiError {
  return new ApiError(422, 'Invalid', `the patch cannot be applied: ${message}`)
}
