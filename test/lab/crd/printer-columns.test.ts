// The cells of `kubectl get` for custom resources.
import { describe, expect, test } from 'vitest'
import { compileJsonPath } from '../../../src/lab/apiserver/crd/json-path.ts'
import { printerCell } from '../../../src/lab/apiserver/crd/printer-columns.ts'

const object = {
  metadata: { creationTimestamp: '2024-01-02T03:04:05Z', labels: { 'a.b/c': 'label' } },
  spec: {
    asn: 64512,
    addresses: ['10.0.0.0/8', '::/0'],
    share: 1.5,
    on: false,
    none: null,
    ports: [
      { name: 'a', port: 80 },
      { name: 'b', port: 443 },
    ],
  },
  status: {
    conditions: [
      { type: 'Ready', status: 'True' },
      { type: 'Other', status: 'False' },
    ],
  },
}

describe('a cell', () => {
  test.each([
    ['.spec.asn', 'integer', 64512],
    ['.spec.asn', 'string', '64512'],
    ['.spec.share', 'integer', 1],
    ['.spec.share', 'number', 1.5],
    ['.spec.on', 'boolean', false],
    ['.spec.on', 'string', 'false'],
    ['.spec.asn', 'boolean', null],
    ['.spec.missing.deeper', 'string', null],
    ['.spec.none', 'string', null],
    ['.spec.addresses', 'string', '["10.0.0.0/8","::/0"]'],
    ['.spec.ports[*].name', 'string', 'a'],
    ['.metadata.creationTimestamp', 'date', '2024-01-02T03:04:05Z'],
    ['.status.conditions[?(@.type=="Ready")].status', 'string', 'True'],
    ["$.status.conditions[?(@.type=='Nope')].status", 'string', null],
    ['.metadata.labels.a\\.b/c', 'string', 'label'],
  ])('%s as %s is %o', (jsonPath, type, cell) => {
    expect(printerCell({ jsonPath, type }, object)).toBe(cell)
  })
})

describe('a path finds', () => {
  test.each([
    ['.spec.ports[*].port', [80, 443]],
    ['.spec.ports[-1].name', ['b']],
    ['.spec.ports[0,1].name', ['a', 'b']],
    ['.spec.ports[1:].name', ['b']],
    ['.spec.ports[0:2:2].name', ['a']],
    ['.spec.ports[?(@.port>100)].name', ['b']],
    ['.spec.ports[?(@.port<=80)].name', ['a']],
    ['.spec.ports[?(@.name!="a")].port', [443]],
    ['.spec.ports[?(@.name)].port', [80, 443]],
    ['.spec.ports[?(@.missing)].port', []],
    ["['spec']['asn']", [64512]],
    ["$.spec['asn','share']", [64512, 1.5]],
    ['..port', [80, 443]],
    ['.status.*[0].type', ['Ready']],
  ])('%s: %o', (path, found) => {
    expect(compileJsonPath(path)(object)).toEqual(found)
  })

  test.each(['.spec[', '.spec[x]', '.a[?()]', '.a[?(b==1)]'])('nothing at all, for it does not parse: %s', (path) => {
    expect(() => compileJsonPath(path)).toThrow('JSONPath')
  })
})
