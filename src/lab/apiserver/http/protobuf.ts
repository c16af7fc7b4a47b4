// Reads request bodies in Kubernetes' protocol buffer form into the JSON they mean. kubectl's typed commands send it since
// 1.32; answers may stay JSON, because clients that send protocol buffers accept both.
//
//   "k8s\0"  then a message Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: raw bytes of the object, ... }

import { ApiError } from '../errors.ts'
import type { Json, JsonObject } from '../json.ts'
import { wireTypes } from './protobuf-fields.ts'

export const protobufType = 'application/vnd.kubernetes.protobuf'

const magic = Buffer.from('k8s\0')

/** One field on the wire: a varint, or the bytes of a length-delimited field. */
interface WireField {
  readonly number: number
  readonly value: bigint | Buffer
}

/** The object in an enveloped body, with apiVersion and kind. Throws ApiError (400, 415). */
export function decodeProtobuf(body: Buffer): JsonObject {
  if (!body.subarray(0, 4).equals(magic)) throw malformed('the body lacks the prefix of Kubernetes protocol buffers')
  const envelope = new Map(readFields(body.subarray(4)).map(({ number, value }) => [number, value]))
  const typeMeta = new Map(
    readFields(asBytes(envelope.get(1))).map(({ number, value }) => [number, asBytes(value).toString()]),
  )
  const apiVersion = typeMeta.get(1) ?? ''
  const kind = typeMeta.get(2) ?? ''
  return { apiVersion, kind, ...decodeMessage(kind, asBytes(envelope.get(2))) }
}

const malformed = (because: string): ApiError => new ApiError({ code: 400, reason: 'BadRequest', message: because })

const asBytes = (value: bigint | Buffer | undefined): Buffer => (Buffer.isBuffer(value) ? value : Buffer.alloc(0))

function readFields(bytes: Buffer): readonly WireField[] {
  const fields: WireField[] = []
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++]
      if (byte === undefined) throw malformed('the body ends inside a number')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asIntN(64, value)
    }
    throw malformed('a number is longer than 64 bits')
  }
  while (at < bytes.length) {
    const tag = varint()
    const number = Number(tag >> 3n)
    switch (tag & 7n) {
      case 0n:
        fields.push({ number, value: varint() })
        break
      case 2n: {
        const length = Number(varint())
        if (length < 0 || at + length > bytes.length) throw malformed('a field is longer than the body')
        fields.push({ number, value: bytes.subarray(at, at + length) })
        at += length
        break
      }
      default:
        throw malformed(`wire type ${tag & 7n} is not used by Kubernetes`)
    }
  }
  return fields
}

function decodeMessage(type: string, bytes: Buffer): JsonObject {
  const known = wireTypes[type]
  if (known === undefined) throw unsupported(type)
  const out: Record<string, Json> = {}
  for (const { number, value } of readFields(bytes)) {
    const [name, fieldType] = known[number] ?? []
    if (name === undefined || fieldType === undefined) throw unsupported(`field ${number} of ${type}`)
    const inner = fieldType.slice(1, -1)
    if (fieldType.startsWith('[')) {
      const items = out[name]
      out[name] = [...(Array.isArray(items) ? (items as readonly Json[]) : []), decodeValue(inner, value) ?? '']
    } else if (fieldType.startsWith('{')) {
      const [key, item] = decodeEntry(inner, asBytes(value))
      out[name] = { ...(out[name] as JsonObject | undefined), [key]: item }
    } else {
      const decoded = decodeValue(fieldType, value)
      if (decoded !== undefined) out[name] = decoded
    }
  }
  return out
}

function decodeEntry(type: string, bytes: Buffer): readonly [string, Json] {
  const fields = new Map(readFields(bytes).map(({ number, value }) => [number, value]))
  return [asBytes(fields.get(1)).toString(), decodeValue(type, fields.get(2) ?? Buffer.alloc(0)) ?? '']
}

// undefined where the wire form writes out what JSON leaves away.
function decodeValue(type: string, value: bigint | Buffer): Json | undefined {
  const number = typeof value === 'bigint' ? Number(value) : 0
  switch (type) {
    case 'string':
      return asBytes(value).length === 0 ? undefined : asBytes(value).toString()
    case 'bytes':
      return asBytes(value).toString('base64')
    case 'bool':
      return number === 0 ? undefined : true
    case 'bool?':
      return number !== 0
    case 'int':
      return number === 0 ? undefined : number
    case 'int?':
      return number
    case 'json':
      return decodeRawJson(asBytes(value))
    case 'time':
      return decodeTime(asBytes(value), { fraction: false })
    case 'microTime':
      return decodeTime(asBytes(value), { fraction: true })
    case 'quantity':
      return asBytes(readFields(asBytes(value)).find((field) => field.number === 1)?.value).toString()
    case 'intOrString':
      return decodeIntOrString(asBytes(value))
    default: {
      const message = decodeMessage(type, asBytes(value))
      return Object.keys(message).length === 0 && optionalWhenEmpty.has(type) ? undefined : message
    }
  }
}

/** Statuses and the like are written out even when nothing is in them. */
const optionalWhenEmpty = new Set([
  'Empty',
  'ObjectMeta',
  'ResourceRequirements',
  'DeploymentStrategy',
  'LoadBalancerStatus',
])

/** FieldsV1 { 1: JSON text }. */
function decodeRawJson(bytes: Buffer): Json {
  const text = asBytes(readFields(bytes).find((field) => field.number === 1)?.value).toString()
  try {
    return JSON.parse(text) as Json
  } catch {
    throw malformed('managedFields hold what is no JSON')
  }
}

/** RFC 3339 from whole seconds and nanoseconds; a MicroTime shows six digits of the fraction, a Time none. */
function decodeTime(bytes: Buffer, { fraction }: { readonly fraction: boolean }): string | undefined {
  const fields = new Map(readFields(bytes).map(({ number, value }) => [number, value]))
  const seconds = fields.get(1)
  if (typeof seconds !== 'bigint') return undefined
  const second = new Date(Number(seconds) * 1000).toISOString().slice(0, 19)
  if (!fraction) return `${second}Z`
  return `${second}.${String(Math.floor(Number(fields.get(2) ?? 0n) / 1000)).padStart(6, '0')}Z`
}

function decodeIntOrString(bytes: Buffer): Json {
  const fields = new Map(readFields(bytes).map(({ number, value }) => [number, value]))
  const isText = fields.get(1) === 1n
  return isText ? asBytes(fields.get(3)).toString() : Number(fields.get(2) ?? 0n)
}

const unsupported = (what: string): ApiError =>
  new ApiError({
    code: 415,
    reason: 'UnsupportedMediaType',
    message: `this server can not read ${what} as protocol buffers; send application/json`,
  })
