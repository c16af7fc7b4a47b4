import { describe, expect, test } from 'vitest'
import { decodeProtobuf } from '../../../../src/lab/apiserver/http/protobuf.ts'

type Value = number | string | Buffer

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = BigInt(value)
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(rest)])
}

/** A message of these fields, by number, in this order. */
const message = (...fields: readonly (readonly [number: number, value: Value])[]): Buffer =>
  Buffer.concat(
    fields.flatMap(([number, value]) => {
      if (typeof value === 'number') return [varint(number << 3), varint(value)]
      const bytes = Buffer.from(value as string)
      return [varint((number << 3) | 2), varint(bytes.length), bytes]
    }),
  )

const enveloped = (kind: string, object: Buffer): Buffer =>
  Buffer.concat([Buffer.from('k8s\0'), message([1, message([1, 'v1'], [2, kind])], [2, object])])

// 2026-01-02T03:04:05Z
const seconds = 1_767_323_045

describe('a body in protocol buffers', () => {
  test('is read with who manages which field, as a controller sends an object back that it has read', () => {
    const entry = message(
      [1, 'kubectl'],
      [2, 'Apply'],
      [3, 'v1'],
      [4, message([1, seconds])],
      [6, 'FieldsV1'],
      [7, message([1, '{"f:spec":{"f:type":{}}}'])],
    )
    expect(decodeProtobuf(enveloped('ConfigMap', message([1, message([1, 'a'], [17, entry])])))).toEqual({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name: 'a',
        managedFields: [
          {
            manager: 'kubectl',
            operation: 'Apply',
            apiVersion: 'v1',
            time: '2026-01-02T03:04:05Z',
            fieldsType: 'FieldsV1',
            fieldsV1: { 'f:spec': { 'f:type': {} } },
          },
        ],
      },
    })
  })

  test('is read as a Service with the address a load balancer gave it', () => {
    const status = message(
      [1, message([1, message([1, '192.0.2.1'], [3, 'VIP'])])],
      [2, message([1, 'Ready'], [2, 'True'], [4, message([1, seconds])], [5, 'Fine'], [6, ''])],
    )
    expect(decodeProtobuf(enveloped('Service', message([1, message([1, 'a'])], [3, status])))).toEqual({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'a' },
      status: {
        loadBalancer: { ingress: [{ ip: '192.0.2.1', ipMode: 'VIP' }] },
        conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2026-01-02T03:04:05Z', reason: 'Fine' }],
      },
    })
  })

  test('is read as an Event, its moment in microseconds', () => {
    const event = message(
      [1, message([2, 'a-'])],
      [2, message([1, 'Service'], [3, 'web'])],
      [8, 2],
      [10, message([1, seconds], [2, 6_007_000])],
    )
    expect(decodeProtobuf(enveloped('Event', event))).toEqual({
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { generateName: 'a-' },
      involvedObject: { kind: 'Service', name: 'web' },
      count: 2,
      eventTime: '2026-01-02T03:04:05.006007Z',
    })
  })

  test.each([
    ['without the prefix', Buffer.from('{}'), /lacks the prefix/],
    ['with a field that this server does not know', enveloped('ConfigMap', message([9, 'x'])), /field 9 of ConfigMap/],
    ['of a kind that it does not know', enveloped('Mystery', message([1, 'x'])), /can not read Mystery/],
    [
      'whose managedFields are no JSON',
      enveloped('ConfigMap', message([1, message([17, message([7, message([1, '{'])])])])),
      /no JSON/,
    ],
    ['that ends inside a field', enveloped('ConfigMap', message([1, 'x'])).subarray(0, -1), /longer than the body/],
  ])('%s is refused', (_what, body, because) => {
    expect(() => decodeProtobuf(body)).toThrow(because)
  })
})
