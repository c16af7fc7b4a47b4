import { describe, expect, test } from 'vitest'
import { apiForFile, configMap, configMaps, eventually, widget, widgetCrd, widgets } from './support.ts'

const api = apiForFile()

describe('create', () => {
  test('an object gets uid, creationTimestamp, resourceVersion and its namespace', async () => {
    const created = await api.create(configMaps, configMap('created', { a: 'b' }))
    expect(created).toMatchObject({
      kind: 'ConfigMap',
      metadata: { name: 'created', namespace: 'default', uid: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      data: { a: 'b' },
    })
    expect(created['metadata']).toHaveProperty('creationTimestamp')
    expect(created['metadata']).toHaveProperty('resourceVersion')
  })

  test('a second one of the same name is refused with AlreadyExists', async () => {
    await api.create(configMaps, configMap('twice'))
    const again = await api.call('POST', configMaps, { body: configMap('twice') })
    expect(again.body).toEqual({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: 'configmaps "twice" already exists',
      reason: 'AlreadyExists',
      details: { name: 'twice', kind: 'configmaps' },
      code: 409,
    })
  })

  test('generateName makes a name with that prefix', async () => {
    const body = { ...configMap(''), metadata: { generateName: 'many-' } }
    const names = [await api.create(configMaps, body), await api.create(configMaps, body)].map(
      ({ metadata }) => (metadata as { name: string }).name,
    )
    expect(names[0]).toMatch(/^many-[a-z0-9]{5}$/)
    expect(names[0]).not.toBe(names[1])
  })

  test('dryRun=All answers as usual and stores nothing', async () => {
    const dry = await api.call('POST', `${configMaps}?dryRun=All`, { body: configMap('dry') })
    expect([dry.code, (await api.call('GET', `${configMaps}/dry`)).code]).toEqual([201, 404])
  })

  test.each([
    ['a name that is no DNS name', { metadata: { name: 'Not_DNS' } }, 422, 'Invalid'],
    ['no name', { metadata: {} }, 422, 'Invalid'],
    ['another namespace than the path', { metadata: { name: 'x', namespace: 'other' } }, 400, 'BadRequest'],
    ['another kind', { kind: 'Secret', metadata: { name: 'x' } }, 400, 'BadRequest'],
    ['a number where text belongs', { metadata: { name: 'x' }, data: { a: 1 } }, 400, 'BadRequest'],
    ['a label that is none', { metadata: { name: 'x', labels: { a: 'b c' } } }, 422, 'Invalid'],
  ])('%s is refused', async (_what, body, code, reason) => {
    const answer = await api.call('POST', configMaps, { body: { apiVersion: 'v1', kind: 'ConfigMap', ...body } })
    expect(answer.body).toMatchObject({ kind: 'Status', status: 'Failure', code, reason })
  })

  test('a namespace that does not exist is NotFound', async () => {
    const answer = await api.call('POST', '/api/v1/namespaces/nowhere/configmaps', { body: configMap('x') })
    expect(answer.body).toMatchObject({ code: 404, message: 'namespaces "nowhere" not found' })
  })

  test('fieldValidation=Strict refuses an unknown field, Warn warns and drops it, Ignore drops it', async () => {
    const body = { ...configMap('fields'), spec: { foo: 1 } }
    const strict = await api.call('POST', `${configMaps}?fieldValidation=Strict`, { body })
    expect(strict.body['message']).toBe(
      'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "spec"',
    )
    const warned = await api.call('POST', `${configMaps}?fieldValidation=Warn&dryRun=All`, { body })
    expect(warned.headers.get('warning')).toBe('299 - "unknown field \\"spec\\""')
    const ignored = await api.call('POST', `${configMaps}?fieldValidation=Ignore`, { body })
    expect([ignored.code, ignored.headers.get('warning'), ignored.body['spec']]).toEqual([201, null, undefined])
  })

  test('stringData of a Secret is stored as data', async () => {
    const secret = await api.create('/api/v1/namespaces/default/secrets', {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's' },
      stringData: { password: 'hunter2' },
    })
    expect(secret).toMatchObject({ type: 'Opaque', data: { password: 'aHVudGVyMg==' } })
    expect(secret).not.toHaveProperty('stringData')
  })
})

describe('update', () => {
  test('a stale resourceVersion is a Conflict and changes nothing', async () => {
    const first = await api.create(configMaps, configMap('stale', { n: '1' }))
    await api.call('PUT', `${configMaps}/stale`, { body: { ...first, data: { n: '2' } } })
    const late = await api.call('PUT', `${configMaps}/stale`, { body: { ...first, data: { n: '3' } } })
    expect(late.body).toMatchObject({
      code: 409,
      reason: 'Conflict',
      message:
        'Operation cannot be fulfilled on configmaps "stale": the object has been modified; please apply your changes to the latest version and try again',
    })
    expect((await api.call('GET', `${configMaps}/stale`)).body['data']).toEqual({ n: '2' })
  })

  test('an update that changes nothing keeps the resourceVersion', async () => {
    const first = await api.create(configMaps, configMap('same', { n: '1' }))
    const second = await api.call('PUT', `${configMaps}/same`, { body: first })
    expect(second.body['metadata']).toEqual(first['metadata'])
  })

  test('uid and creationTimestamp are the server’s', async () => {
    const first = await api.create(configMaps, configMap('identity'))
    const body = {
      ...configMap('identity', { n: '1' }),
      metadata: { name: 'identity', creationTimestamp: '2001-01-01T00:00:00Z' },
    }
    const second = await api.call('PUT', `${configMaps}/identity`, { body })
    expect(second.body['metadata']).toMatchObject({
      uid: (first['metadata'] as { uid: string }).uid,
      creationTimestamp: (first['metadata'] as { creationTimestamp: string }).creationTimestamp,
    })
  })

  test('another uid is a failed precondition', async () => {
    await api.create(configMaps, configMap('other-uid'))
    const body = configMap('other-uid', {}, { uid: '11111111-1111-1111-1111-111111111111' })
    expect((await api.call('PUT', `${configMaps}/other-uid`, { body })).body).toMatchObject({
      code: 409,
      reason: 'Conflict',
    })
  })

  test('data of an immutable ConfigMap can not change', async () => {
    await api.create(configMaps, { ...configMap('fixed', { a: 'b' }), immutable: true })
    const body = { ...configMap('fixed', { a: 'c' }), immutable: true }
    expect((await api.call('PUT', `${configMaps}/fixed`, { body })).body).toMatchObject({
      code: 422,
      reason: 'Invalid',
    })
  })

  test('PUT creates a Lease that does not exist, but not a ConfigMap', async () => {
    const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'n1' }, spec: {} }
    const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1'
    expect((await api.call('PUT', leases, { body: lease })).code).toBe(201)
    expect((await api.call('PUT', `${configMaps}/absent`, { body: configMap('absent') })).code).toBe(404)
  })
})

describe('delete', () => {
  test('an object without finalizers goes at once, and the answer is a Status', async () => {
    const created = await api.create(configMaps, configMap('gone'))
    const answer = await api.call('DELETE', `${configMaps}/gone`)
    expect(answer.body).toEqual({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Success',
      details: { name: 'gone', kind: 'configmaps', uid: (created['metadata'] as { uid: string }).uid },
    })
    expect((await api.call('GET', `${configMaps}/gone`)).body['message']).toBe('configmaps "gone" not found')
  })

  test('a finalizer holds it with a deletionTimestamp; without the finalizer it goes', async () => {
    await api.create(configMaps, configMap('held', {}, { finalizers: ['example.com/hold'] }))
    const marked = await api.call('DELETE', `${configMaps}/held`)
    expect(marked.body['metadata']).toHaveProperty('deletionTimestamp')
    const added = await api.call('PATCH', `${configMaps}/held`, {
      type: 'application/merge-patch+json',
      body: { metadata: { finalizers: ['example.com/hold', 'example.com/more'] } },
    })
    expect(added.body).toMatchObject({ code: 422, reason: 'Invalid' })
    const freed = await api.call('PATCH', `${configMaps}/held`, {
      type: 'application/merge-patch+json',
      body: { metadata: { finalizers: null } },
    })
    expect([freed.code, (await api.call('GET', `${configMaps}/held`)).code]).toEqual([200, 404])
  })

  test.each([
    ['uid', { uid: 'another' }],
    ['resourceVersion', { resourceVersion: '1' }],
  ])('a wrong %s precondition is a Conflict', async (what, preconditions) => {
    await api.create(configMaps, configMap(`kept-by-${what.toLowerCase()}`))
    const path = `${configMaps}/kept-by-${what.toLowerCase()}`
    expect((await api.call('DELETE', path, { body: { preconditions } })).code).toBe(409)
    expect((await api.call('GET', path)).code).toBe(200)
  })

  test('deletecollection deletes what the selector finds', async () => {
    for (const name of ['c1', 'c2', 'c3'])
      await api.create(configMaps, configMap(name, {}, { labels: { set: name === 'c3' ? 'b' : 'a' } }))
    const answer = await api.call('DELETE', `${configMaps}?labelSelector=set%3Da`)
    expect((answer.body['items'] as readonly unknown[]).length).toBe(2)
    const codes = await Promise.all(
      ['c1', 'c2', 'c3'].map(async (name) => (await api.call('GET', `${configMaps}/${name}`)).code),
    )
    expect(codes).toEqual([404, 404, 200])
  })

  test('a namespace takes its content along, and refuses new content meanwhile', async () => {
    await api.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'doomed' } })
    const inside = '/api/v1/namespaces/doomed/configmaps'
    await api.create(inside, configMap('inside', {}, { finalizers: ['example.com/hold'] }))
    await api.call('DELETE', '/api/v1/namespaces/doomed')
    expect((await api.call('GET', '/api/v1/namespaces/doomed')).body['status']).toEqual({ phase: 'Terminating' })
    const late = await api.call('POST', inside, { body: configMap('late') })
    expect(late.body).toMatchObject({ code: 403, reason: 'Forbidden' })
    const gone = api.watch('/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Ddoomed', (seen) =>
      seen.some(({ type }) => type === 'DELETED'),
    )
    await eventually(async () => (await api.call('GET', `${inside}/inside`)).body['metadata']).toHaveProperty(
      'deletionTimestamp',
    )
    await api.call('PATCH', `${inside}/inside`, {
      type: 'application/merge-patch+json',
      body: { metadata: { finalizers: null } },
    })
    expect((await gone).at(-1)?.type).toBe('DELETED')
    expect((await api.call('DELETE', '/api/v1/namespaces/default')).code).toBe(403)
  })
})

describe('pods', () => {
  const pods = '/api/v1/namespaces/default/pods'
  const pod = (name: string, spec: object = {}): object => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
  })

  test('a pod on a node waits for its kubelet; grace period 0 removes it', async () => {
    await api.create(pods, pod('bound', { nodeName: 'n1' }))
    const marked = await api.call('DELETE', `${pods}/bound`)
    expect(marked.body['metadata']).toMatchObject({ deletionGracePeriodSeconds: 30 })
    await api.call('DELETE', `${pods}/bound`, { body: { gracePeriodSeconds: 0 } })
    expect((await api.call('GET', `${pods}/bound`)).code).toBe(404)
  })

  test('a pod that no node has goes at once', async () => {
    await api.create(pods, pod('unbound'))
    await api.call('DELETE', `${pods}/unbound`)
    expect((await api.call('GET', `${pods}/unbound`)).code).toBe(404)
  })
})

describe('status', () => {
  test('spec is ignored on /status, status is ignored elsewhere, and generation counts spec only', async () => {
    await api.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', widgetCrd)
    const created = await api.create(widgets, { ...widget('w', { size: 1 }), status: { phase: 'Made up' } })
    expect(created).toMatchObject({ metadata: { generation: 1 }, spec: { size: 1, note: 'none' } })
    expect(created).not.toHaveProperty('status')
    const merge = { type: 'application/merge-patch+json' }
    const body = { spec: { size: 2 }, status: { phase: 'Up' }, metadata: { labels: { a: 'b' } } }
    const onStatus = await api.call('PATCH', `${widgets}/w/status`, { ...merge, body })
    expect(onStatus.body).toMatchObject({ metadata: { generation: 1 }, spec: { size: 1 }, status: { phase: 'Up' } })
    expect(onStatus.body['metadata']).not.toHaveProperty('labels')
    const onMain = await api.call('PATCH', `${widgets}/w`, { ...merge, body: { ...body, status: { phase: 'Down' } } })
    expect(onMain.body).toMatchObject({ metadata: { generation: 2 }, spec: { size: 2 }, status: { phase: 'Up' } })
  })

  test('a custom resource is updated with its resourceVersion only', async () => {
    const answer = await api.call('PUT', `${widgets}/w`, { body: widget('w', { size: 3 }) })
    expect(answer.body).toMatchObject({ code: 422, reason: 'Invalid' })
    expect(answer.body['message']).toBe(
      'widgets.example.com "w" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update'.replace(
        'widgets.example.com',
        'Widget.example.com',
      ),
    )
  })

  test('an object is seen in every served version', async () => {
    const beta = await api.call('GET', '/apis/example.com/v1beta1/namespaces/default/widgets/w')
    expect(beta.body).toMatchObject({ apiVersion: 'example.com/v1beta1', kind: 'Widget', spec: { size: 2 } })
  })

  test('scale reads and writes the replicas', async () => {
    const scaled = await api.call('PATCH', `${widgets}/w/scale`, {
      type: 'application/merge-patch+json',
      body: { spec: { replicas: 3 } },
    })
    expect(scaled.body).toMatchObject({ kind: 'Scale', apiVersion: 'autoscaling/v1', spec: { replicas: 3 } })
    expect((await api.call('GET', `${widgets}/w`)).body).toMatchObject({ spec: { replicas: 3 } })
  })
})

describe('events', () => {
  test('one event is seen through both APIs, in the words of each', async () => {
    await api.create('/apis/events.k8s.io/v1/namespaces/default/events', {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: 'e' },
      eventTime: '2024-01-01T00:00:00.000000Z',
      regarding: { kind: 'Service', name: 'web', namespace: 'default' },
      note: 'it works',
      reason: 'Allocated',
      type: 'Normal',
      action: 'Allocate',
      reportingController: 'bellhop',
      reportingInstance: 'c0',
    })
    const core = await api.call('GET', '/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dweb')
    expect(core.body['items']).toMatchObject([
      { involvedObject: { name: 'web' }, message: 'it works', reportingComponent: 'bellhop' },
    ])
    const named = await api.call('GET', '/apis/events.k8s.io/v1/namespaces/default/events/e')
    expect(named.body).toMatchObject({ apiVersion: 'events.k8s.io/v1', note: 'it works', regarding: { name: 'web' } })
  })
})

describe('discovery', () => {
  test('a CRD is in discovery and OpenAPI as soon as it is written, and out when it is gone', async () => {
    const crd = structuredClone(widgetCrd)
    crd.metadata.name = 'gadgets.example.org'
    crd.spec.group = 'example.org'
    crd.spec.names = { plural: 'gadgets', kind: 'Gadget', shortNames: [] }
    const created = await api.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
    expect(created['status']).toMatchObject({
      acceptedNames: { plural: 'gadgets', singular: 'gadget', listKind: 'GadgetList' },
      conditions: [
        { type: 'NamesAccepted', status: 'True' },
        { type: 'Established', status: 'True' },
      ],
      storedVersions: ['v1'],
    })
    expect((await api.call('GET', '/apis/example.org')).body['preferredVersion']).toEqual({
      groupVersion: 'example.org/v1',
      version: 'v1',
    })
    const document = await api.call('GET', '/openapi/v3/apis/example.org/v1')
    expect(document.body).toMatchObject({
      components: { schemas: { 'org.example.v1.Gadget': { 'x-kubernetes-group-version-kind': [{ kind: 'Gadget' }] } } },
    })
    await api.call('DELETE', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.example.org')
    await eventually(async () => (await api.call('GET', '/apis/example.org')).code).toBe(404)
  })

  test('aggregated discovery is given to those who ask for it', async () => {
    const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json'
    const { body, headers } = await api.call('GET', '/api', { accept })
    expect(headers.get('content-type')).toBe('application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList')
    expect(body).toMatchObject({ kind: 'APIGroupDiscoveryList', apiVersion: 'apidiscovery.k8s.io/v2' })
    expect((await api.call('GET', '/api')).body).toMatchObject({ kind: 'APIVersions', versions: ['v1'] })
  })

  test.each([
    ['a schema that is not structural', { schema: { openAPIV3Schema: { properties: {} } } }],
    ['no schema', { schema: {} }],
    ['no storage version', { storage: false }],
  ])('a CRD with %s is Invalid', async (_what, change) => {
    const crd = structuredClone(widgetCrd)
    crd.spec.versions = [{ ...crd.spec.versions[0], ...change }] as typeof crd.spec.versions
    crd.metadata.name = 'bads.example.com'
    crd.spec.names = { plural: 'bads', kind: 'Bad', shortNames: [] }
    const answer = await api.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { body: crd })
    expect(answer.body).toMatchObject({ code: 422, reason: 'Invalid' })
  })

  test.each(['/nothing', '/api/v2', '/apis/none.example.com/v1', '/api/v1/unicorns', '/apis/apps/v1/nodes'])(
    '%s is NotFound',
    async (path) => {
      expect((await api.call('GET', path)).body).toMatchObject({ kind: 'Status', code: 404, reason: 'NotFound' })
    },
  )
})
