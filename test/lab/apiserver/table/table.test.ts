import { describe, expect, test } from 'vitest'
import { humanDuration } from '../../../../src/lab/apiserver/table/age.ts'
import { apiForFile, widget, widgetCrd, widgets } from '../support.ts'

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

test.each([
  [0, '0s'],
  [119 * second, '119s'],
  [2 * minute, '2m'],
  [3 * minute + 5 * second, '3m5s'],
  [45 * minute, '45m'],
  [179 * minute, '179m'],
  [3 * hour + 12 * minute, '3h12m'],
  [30 * hour, '30h'],
  [2 * day, '2d'],
  [3 * day + 4 * hour, '3d4h'],
  [100 * day, '100d'],
  [2 * 365 * day + 10 * day, '2y10d'],
  [9 * 365 * day, '9y'],
  [-5 * second, '<invalid>'],
])('%i ms are %s', (milliseconds, text) => {
  expect(humanDuration(milliseconds)).toBe(text)
})

const api = apiForFile()
const asTable = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' }

const cellsOf = (table: unknown): readonly (readonly unknown[])[] =>
  (table as { rows: readonly { cells: readonly unknown[] }[] }).rows.map((row) => row.cells)
const columnsOf = (table: unknown): readonly string[] =>
  (table as { columnDefinitions: readonly { name: string; priority: number }[] }).columnDefinitions.map(
    ({ name, priority }) => (priority > 0 ? `${name}*` : name),
  )

describe('a table', () => {
  test.each<[string, object, string, readonly unknown[]]>([
    [
      'services',
      {
        kind: 'Service',
        spec: {
          type: 'LoadBalancer',
          clusterIP: '10.96.0.50',
          selector: { b: '2', a: '1' },
          ports: [{ port: 80, nodePort: 30080 }],
        },
        status: { loadBalancer: { ingress: [{ ip: '203.0.113.1' }] } },
      },
      '/api/v1/namespaces/default/services/t',
      ['t', 'LoadBalancer', '10.96.0.50', '203.0.113.1', '80:30080/TCP', expect.stringMatching(/^\ds$/), 'a=1,b=2'],
    ],
    [
      'pods',
      {
        kind: 'Pod',
        spec: {
          nodeName: 'n1',
          containers: [
            { name: 'a', image: 'i' },
            { name: 'b', image: 'i' },
          ],
        },
        status: {
          phase: 'Running',
          podIP: '10.0.0.1',
          containerStatuses: [
            { name: 'a', ready: true, restartCount: 2 },
            { name: 'b', ready: false, restartCount: 1, state: { waiting: { reason: 'CrashLoopBackOff' } } },
          ],
        },
      },
      '/api/v1/namespaces/default/pods/t',
      ['t', '1/2', 'CrashLoopBackOff', '3', expect.any(String), '10.0.0.1', 'n1', '<none>', '<none>'],
    ],
    [
      'nodes',
      {
        kind: 'Node',
        metadata: { name: 't', labels: { 'node-role.kubernetes.io/control-plane': '' } },
        spec: { unschedulable: true },
        status: {
          conditions: [{ type: 'Ready', status: 'True' }],
          addresses: [{ type: 'InternalIP', address: '10.0.0.11' }],
          nodeInfo: { kubeletVersion: 'v1.32.0' },
        },
      },
      '/api/v1/nodes/t',
      [
        't',
        'Ready,SchedulingDisabled',
        'control-plane',
        expect.any(String),
        'v1.32.0',
        '10.0.0.11',
        '<none>',
        '<unknown>',
        '<unknown>',
        '<unknown>',
      ],
    ],
    [
      'endpointslices',
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        addressType: 'IPv4',
        endpoints: ['1', '2', '3', '4'].map((n) => ({ addresses: [`10.0.0.${n}`] })),
        ports: [{ port: 80 }],
      },
      '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/t',
      ['t', 'IPv4', '80', '10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...', expect.any(String)],
    ],
    [
      'secrets',
      { kind: 'Secret', data: { a: 'YQ==' } },
      '/api/v1/namespaces/default/secrets/t',
      ['t', 'Opaque', 1, expect.any(String)],
    ],
  ])('of %s has the cells that kubectl users know', async (_what, object, path, cells) => {
    api.server().objects.put({ apiVersion: 'v1', metadata: { name: 't' }, ...object })
    const { body, headers } = await api.call('GET', path, asTable)
    expect(headers.get('content-type')).toBe('application/json')
    expect(cellsOf(body)).toEqual([cells])
  })

  test('of a custom resource has the printer columns of its CRD', async () => {
    await api.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', widgetCrd)
    await api.create(widgets, widget('w', { size: 3 }))
    const { body } = await api.call('GET', widgets, asTable)
    expect(columnsOf(body)).toEqual(['Name', 'Size', 'Note*', 'Age'])
    expect(cellsOf(body)).toEqual([['w', 3, 'none', expect.stringMatching(/^\ds$/)]])
  })

  test('of a watch names the columns once', async () => {
    const start = api.server().store.revision
    for (const size of [4, 5])
      api.server().objects.put({ ...widget('w', { size }), metadata: { name: 'w', namespace: 'default' } })
    const response = await fetch(`${api.server().url}${widgets}?watch=1&resourceVersion=${start}&timeoutSeconds=1`, {
      headers: asTable,
    })
    const events = (await response.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(
      events.map(({ type, object }) => [
        type,
        object.kind,
        object.columnDefinitions?.length ?? 0,
        cellsOf(object)[0]?.[1],
      ]),
    ).toEqual([
      ['MODIFIED', 'Table', 4, 4],
      ['MODIFIED', 'Table', 0, 5],
    ])
  })

  test('carries metadata of each row, or the whole object, or nothing, as asked', async () => {
    const row = async (include: string): Promise<unknown> =>
      (
        (await api.call('GET', `${widgets}?includeObject=${include}`, asTable)).body['rows'] as readonly {
          object?: unknown
        }[]
      )[0]?.object
    expect(await row('Metadata')).toMatchObject({ kind: 'PartialObjectMetadata', metadata: { name: 'w' } })
    expect(await row('Object')).toMatchObject({ kind: 'Widget', spec: { size: 5 } })
    expect(await row('None')).toBeUndefined()
  })

  test('is not given to those who accept protocol buffers only', async () => {
    expect((await api.call('GET', widgets, { accept: 'application/vnd.kubernetes.protobuf' })).code).toBe(406)
  })
})
