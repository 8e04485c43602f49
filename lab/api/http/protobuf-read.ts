// Objects in Kubernetes' protocol buffers encoding → the JSON the rest of the API works on. Pure; input is not trusted.
// Source: Kubernetes API concepts "Protobuf encoding" (envelope); protobuf.dev "Encoding" (wire format).
import { isRecord, setMember } from '../object.ts'
import { badRequest, unsupportedMediaType } from '../status.ts'
import { fieldsOfMessage, messageOfKind } from './protobuf-kinds.ts'
import type { FieldRule } from './protobuf-kinds.ts'

export const PROTOBUF = 'application/vnd.kubernetes.protobuf'

const MAGIC = Buffer.from('k8s\0')
const DEPTH_LIMIT = 32
const WIRE = { varint: 0, bytes: 2 } as const

type Value = bigint | Buffer

/** The object in a body. Throws 400 when it does not decode, 415 for a kind or field that is only read as JSON. */
export function readProtobuf(body: Buffer): Record<string, unknown> {
  if (!body.subarray(0, MAGIC.length).equals(MAGIC))
    throw badRequest('the body does not start as Kubernetes protobuf does')
  const envelope = new Map(wireFields(body.subarray(MAGIC.length)))
  const type = new Map(wireFields(bytesOf(envelope.get(1) ?? Buffer.alloc(0))))
  const apiVersion = textOf(type.get(1) ?? Buffer.alloc(0))
  const kind = textOf(type.get(2) ?? Buffer.alloc(0))
  const message = messageOfKind(apiVersion, kind)
  if (message === undefined) throw refusal(`${kind} of ${apiVersion}`)
  return { apiVersion, kind, ...readMessage(message, bytesOf(envelope.get(2) ?? Buffer.alloc(0)), 0) }
}

function readMessage(message: string, bytes: Buffer, depth: number): Record<string, unknown> {
  const rules = fieldsOfMessage(message)
  if (!rules || depth > DEPTH_LIMIT) throw refusal(message)
  const object: Record<string, unknown> = {}
  for (const [number, value] of wireFields(bytes)) {
    const rule = rules.get(number)
    if (!rule) {
      if (isEmpty(value)) continue
      throw refusal(`field ${number} of ${message}`)
    }
    addMember(object, rule, readValue(rule.type, value, depth))
  }
  // A reference to a key is a named reference and a key, side by side in JSON.
  const { reference, ...rest } = object
  return isRecord(reference) ? { ...reference, ...rest } : object
}

function addMember(object: Record<string, unknown>, rule: FieldRule, value: unknown): void {
  const { name, type, isRepeated, isOptional } = rule
  if (isRepeated) object[name] = [...((object[name] as unknown[] | undefined) ?? []), value]
  else if (type.endsWith('ap')) object[name] = withEntry(object[name], value as [string, unknown])
  else if (isOptional || !isZero(value)) object[name] = value
}

function withEntry(map: unknown, [key, value]: [string, unknown]): Record<string, unknown> {
  const entries = (map ?? {}) as Record<string, unknown>
  setMember(entries, key, value)
  return entries
}

function isZero(value: unknown): boolean {
  return (
    value === undefined || value === '' || value === 0 || value === false || (isRecord(value) && !Object.keys(value)[0])
  )
}

function readValue(type: string, value: Value, depth: number): unknown {
  switch (type) {
    case 'string':
      return textOf(value)
    case 'int':
      return numberOf(value)
    case 'bool':
      return numberOf(value) !== 0
    case 'bytes':
      return bytesOf(value).toString('base64')
    case 'time':
      return timeOf(bytesOf(value))
    case 'quantity':
      return textOf(new Map(wireFields(bytesOf(value))).get(1) ?? Buffer.alloc(0))
    case 'intOrString':
      return intOrString(bytesOf(value))
    case 'map':
      return entryOf('string', bytesOf(value))
    case 'bytesMap':
      return entryOf('bytes', bytesOf(value))
    case 'listMap': {
      const [key, list] = entryOf('StringList', bytesOf(value))
      return [key, isRecord(list) ? (list['items'] ?? []) : []]
    }
    case 'quantityMap':
      return entryOf('quantity', bytesOf(value))
    default:
      return readMessage(type, bytesOf(value), depth + 1)
  }
}

function entryOf(type: string, bytes: Buffer): [string, unknown] {
  const fields = new Map(wireFields(bytes))
  return [textOf(fields.get(1) ?? Buffer.alloc(0)), readValue(type, fields.get(2) ?? Buffer.alloc(0), 0)]
}

function timeOf(bytes: Buffer): string | undefined {
  const seconds = new Map(wireFields(bytes)).get(1)
  if (seconds === undefined) return undefined
  const date = new Date(numberOf(seconds) * 1000)
  if (Number.isNaN(date.getTime())) throw badRequest('a time is out of range')
  return date.toISOString().slice(0, 19) + 'Z'
}

function intOrString(bytes: Buffer): number | string {
  const fields = new Map(wireFields(bytes))
  const isText = numberOf(fields.get(1) ?? 0n) === 1
  return isText ? textOf(fields.get(3) ?? Buffer.alloc(0)) : numberOf(fields.get(2) ?? 0n)
}

/** Field numbers and values in the order they come. Numbers of fixed width are not used by Kubernetes' messages. */
function* wireFields(bytes: Buffer): Generator<[number, Value]> {
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++]
      if (byte === undefined) throw badRequest('the protobuf body is cut off')
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return BigInt.asIntN(64, value)
    }
    throw badRequest('a number in the protobuf body is too long')
  }
  while (at < bytes.length) {
    const tag = Number(varint())
    const [number, wire] = [Math.floor(tag / 8), tag & 7]
    if (wire === WIRE.varint) yield [number, varint()]
    else if (wire === WIRE.bytes) {
      const length = Number(varint())
      if (length < 0 || length > bytes.length - at) throw badRequest('the protobuf body is cut off')
      yield [number, bytes.subarray(at, (at += length))]
    } else throw badRequest(`wire type ${wire} is not used in Kubernetes objects`)
  }
}

function numberOf(value: Value): number {
  if (typeof value !== 'bigint') throw badRequest('a number was expected in the protobuf body')
  return Number(value)
}

function bytesOf(value: Value): Buffer {
  if (typeof value === 'bigint') throw badRequest('bytes were expected in the protobuf body')
  return value
}

function textOf(value: Value): string {
  return bytesOf(value).toString('utf8')
}

function isEmpty(value: Value): boolean {
  return typeof value === 'bigint' ? value === 0n : value.length === 0
}

function refusal(what: string): Error {
  return unsupportedMediaType(`${what} is read as JSON only: send application/json`)
}
