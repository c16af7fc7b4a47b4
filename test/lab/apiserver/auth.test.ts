import { beforeAll, describe, expect, test } from 'vitest'
import { apiForFile, configMap, configMaps } from './support.ts'

const api = apiForFile({
  authorization: 'RBAC',
  tokens: { 'token-of-ann': { user: 'ann', groups: ['dev'] }, 'token-of-bob': { user: 'bob' } },
})
const rbac = 'rbac.authorization.k8s.io/v1'
const group = 'rbac.authorization.k8s.io'

beforeAll(() => {
  const { objects } = api.server()
  objects.put({
    apiVersion: rbac,
    kind: 'Role',
    metadata: { name: 'reader' },
    rules: [
      { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list'] },
      { apiGroups: [''], resources: ['configmaps'], resourceNames: ['hers', 'later'], verbs: ['update', 'patch'] },
      { apiGroups: [''], resources: ['services/status'], verbs: ['patch'] },
    ],
  })
  objects.put({
    apiVersion: rbac,
    kind: 'RoleBinding',
    metadata: { name: 'devs' },
    roleRef: { kind: 'Role', name: 'reader' },
    subjects: [{ kind: 'Group', name: 'dev' }],
  })
  objects.put({
    apiVersion: rbac,
    kind: 'ClusterRole',
    metadata: { name: 'nodes' },
    rules: [
      { apiGroups: [''], resources: ['nodes'], verbs: ['*'] },
      { nonResourceURLs: ['/metrics*'], verbs: ['get'] },
    ],
  })
  objects.put({
    apiVersion: rbac,
    kind: 'ClusterRoleBinding',
    metadata: { name: 'controller' },
    roleRef: { kind: 'ClusterRole', name: 'nodes', apiGroup: group },
    subjects: [{ kind: 'ServiceAccount', name: 'controller', namespace: 'kube-system' }],
  })
  objects.put({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'controller', namespace: 'kube-system' } })
  objects.put(configMap('hers'))
  objects.put(configMap('theirs'))
})

const merge = { type: 'application/merge-patch+json', body: { data: { a: 'b' } } }

const applied = (name: string) => ({ type: 'application/apply-patch+yaml', body: configMap(name) })

// RBAC as the rules above say it; that of `later` lacks the right to create, and an apply creates.
test.each<[string, string, string, object, number]>([
  ['token-of-ann', 'GET', configMaps, {}, 200],
  ['token-of-ann', 'GET', `${configMaps}/theirs`, {}, 200],
  ['token-of-ann', 'PATCH', `${configMaps}/hers`, merge, 200],
  ['token-of-ann', 'PATCH', `${configMaps}/theirs`, merge, 403],
  ['token-of-ann', 'PATCH', `${configMaps}/hers?fieldManager=ann`, applied('hers'), 200],
  ['token-of-ann', 'PATCH', `${configMaps}/later?fieldManager=ann`, applied('later'), 403],
  ['token-of-ann', 'GET', `${configMaps}?watch=1`, {}, 403],
  ['token-of-ann', 'DELETE', `${configMaps}/hers`, {}, 403],
  ['token-of-ann', 'GET', '/api/v1/namespaces/kube-system/configmaps', {}, 403],
  ['token-of-ann', 'GET', '/api/v1/configmaps', {}, 403],
  ['token-of-ann', 'PATCH', '/api/v1/namespaces/default/services/kubernetes/status', { ...merge, body: {} }, 200],
  ['token-of-ann', 'PATCH', '/api/v1/namespaces/default/services/kubernetes', { ...merge, body: {} }, 403],
  ['token-of-bob', 'GET', configMaps, {}, 403],
  ['token-of-bob', 'GET', '/apis', {}, 200],
  ['token-of-bob', 'GET', '/metrics', {}, 403],
  ['nonsense', 'GET', '/apis', {}, 401],
])('%s: %s %s is %#', async (token, method, path, options, code) => {
  expect((await api.call(method, path, { ...options, token })).code).toBe(code)
})

test('without credentials one is anonymous, and may read health and version only', async () => {
  expect((await api.call('GET', '/readyz')).code).toBe(200)
  expect((await api.call('GET', '/version')).code).toBe(200)
  expect((await api.call('GET', configMaps)).body).toMatchObject({
    kind: 'Status',
    reason: 'Forbidden',
    message:
      'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" in the namespace "default"',
    code: 403,
  })
})

test('system:masters may everything', async () => {
  expect((await api.call('GET', '/api/v1/secrets', { token: api.server().adminToken })).code).toBe(200)
})

test('a token can be in the path, for clients that send none over plain HTTP', async () => {
  expect((await api.call('GET', `/as/token-of-ann${configMaps}`)).code).toBe(200)
  expect((await api.call('GET', `/as/nonsense${configMaps}`)).code).toBe(401)
})

describe('a service account', () => {
  test('has a token that the server minted, until the account is deleted', async () => {
    const token = api.server().serviceAccountToken('kube-system', 'controller')
    expect((await api.call('GET', '/api/v1/nodes', { token })).code).toBe(200)
    expect((await api.call('GET', '/metrics', { token })).code).toBe(404)
    expect((await api.call('GET', configMaps, { token })).code).toBe(403)
    api
      .server()
      .objects.delete({ apiVersion: 'v1', kind: 'ServiceAccount', namespace: 'kube-system', name: 'controller' })
    expect((await api.call('GET', '/api/v1/nodes', { token })).code).toBe(401)
  })
})

describe('reviews', () => {
  const authorization = '/apis/authorization.k8s.io/v1'
  test('SelfSubjectAccessReview answers for the asker', async () => {
    const ask = async (verb: string): Promise<unknown> => {
      const spec = { resourceAttributes: { namespace: 'default', verb, resource: 'configmaps' } }
      const { body } = await api.call('POST', `${authorization}/selfsubjectaccessreviews`, {
        token: 'token-of-ann',
        body: { spec },
      })
      return (body['status'] as { allowed: boolean }).allowed
    }
    expect([await ask('list'), await ask('delete')]).toEqual([true, false])
  })

  test('SubjectAccessReview answers for somebody else, and not everybody may ask', async () => {
    const spec = {
      user: 'zoe',
      groups: ['dev'],
      resourceAttributes: { namespace: 'default', verb: 'get', resource: 'configmaps' },
    }
    const path = `${authorization}/subjectaccessreviews`
    const asked = await api.call('POST', path, { token: api.server().adminToken, body: { spec } })
    expect(asked.body['status']).toEqual({ allowed: true })
    expect((await api.call('POST', path, { token: 'token-of-ann', body: { spec } })).code).toBe(403)
  })

  test('TokenReview tells whose a token is', async () => {
    const path = '/apis/authentication.k8s.io/v1/tokenreviews'
    const review = async (token: string): Promise<unknown> =>
      (await api.call('POST', path, { token: api.server().adminToken, body: { spec: { token } } })).body['status']
    expect(await review('token-of-ann')).toMatchObject({
      authenticated: true,
      user: { username: 'ann', groups: ['dev', 'system:authenticated'] },
    })
    expect(await review('nonsense')).toMatchObject({ authenticated: false })
  })
})
