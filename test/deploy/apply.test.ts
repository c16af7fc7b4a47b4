// The installation as a user does it: kubectl against an API server with RBAC. Then the service accounts ask that server what
// they may do, and the examples are applied and read back. Over plain HTTP kubectl sends no token, so here it is nobody, and
// nobody is an administrator; the service accounts ask by themselves.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ApiServerHandle, startApiServer } from '../../src/lab/apiserver/server.ts'
import { describeWith } from '../support/privileges.ts'

const run = promisify(execFile)
const repositoryRoot = path.resolve(import.meta.dirname, '../..')
const base = path.join(repositoryRoot, 'deploy/base')

interface Attributes {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  readonly namespace?: string
  readonly name?: string
}

describeWith({ programs: ['kubectl'] }, 'kubectl apply -k deploy/base', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'bellhop-deploy-'))
  let server: ApiServerHandle
  let applied = ''

  beforeAll(async () => {
    server = await startApiServer({ authorization: 'RBAC' })
    server.objects.put({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'nobody-is-administrator' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'system:anonymous' }],
    })
    applied = await kubectl('apply', '-k', base)
  })

  afterAll(async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Rejects with what kubectl printed when it fails. */
  async function kubectl(...args: readonly string[]): Promise<string> {
    const kubeconfig = path.join(folder, 'kubeconfig')
    writeFileSync(kubeconfig, server.kubeconfig())
    const cache = path.join(folder, 'cache')
    return (await run('kubectl', ['--kubeconfig', kubeconfig, '--cache-dir', cache, ...args])).stdout
  }

  /** What the API server answers an account of bellhop-system that asks whether it may do something. */
  async function mayI(account: string, resourceAttributes: Attributes): Promise<boolean> {
    const response = await fetch(`${server.url}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${server.serviceAccountToken('bellhop-system', account)}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes },
      }),
    })
    const review: { readonly status?: { readonly allowed?: boolean } } = JSON.parse(await response.text())
    expect(response.status, JSON.stringify(review)).toBe(201)
    return review.status?.allowed ?? false
  }

  test('creates everything, and a second time changes nothing', async () => {
    expect(applied.match(/ created$/gm)).toHaveLength(19)
    const again = await kubectl('apply', '-k', base)
    expect(again.match(/ unchanged$/gm)).toHaveLength(19)
  })

  const services = { group: '', resource: 'services', namespace: 'default' }
  const secrets = { group: '', resource: 'secrets' }
  const vips = { group: 'bellhop.io', resource: 'vips' }
  const leases = { group: 'coordination.k8s.io', resource: 'leases', namespace: 'bellhop-system' }
  test.each<[string, Attributes, boolean]>([
    ['bellhop-controller', { verb: 'patch', ...services }, true],
    ['bellhop-controller', { verb: 'patch', ...services, subresource: 'status' }, true],
    ['bellhop-controller', { verb: 'delete', ...services }, false],
    ['bellhop-controller', { verb: 'create', ...vips }, true],
    ['bellhop-controller', { verb: 'list', ...secrets, namespace: 'bellhop-system' }, true],
    ['bellhop-controller', { verb: 'list', ...secrets, namespace: 'default' }, false],
    ['bellhop-controller', { verb: 'list', ...secrets }, false],
    ['bellhop-controller', { verb: 'patch', ...leases }, true],
    ['bellhop-controller', { verb: 'patch', group: 'bellhop.io', resource: 'vippools' }, false],
    ['bellhop-controller', { verb: 'patch', group: 'bellhop.io', resource: 'vippools', subresource: 'status' }, true],
    ['bellhop-agent', { verb: 'watch', ...vips }, true],
    ['bellhop-agent', { verb: 'patch', ...vips }, false],
    ['bellhop-agent', { verb: 'list', group: '', resource: 'nodes' }, true],
    ['bellhop-agent', { verb: 'watch', group: 'bellhop.io', resource: 'bgppeers' }, true],
    ['bellhop-agent', { verb: 'patch', group: 'bellhop.io', resource: 'bgppeers', subresource: 'status' }, false],
    ['bellhop-agent', { verb: 'create', ...leases }, true],
    ['bellhop-agent', { verb: 'create', ...leases, namespace: 'kube-system' }, false],
    ['bellhop-agent', { verb: 'get', ...secrets, namespace: 'bellhop-system' }, false],
  ])('the API server lets %s %o: %s', async (account, attributes, allowed) => {
    expect(await mayI(account, attributes)).toBe(allowed)
  })

  test('lets the examples be applied and read back', async () => {
    await kubectl('apply', '-f', path.join(repositoryRoot, 'deploy/examples'))
    const header = (await kubectl('get', 'bgppeers')).split('\n')[0]
    expect(header?.split(/\s+/)).toEqual('NAME ADDRESS ASN STATE SESSIONS ANNOUNCED SINCE MESSAGE'.split(' '))
    expect(await kubectl('get', 'bgpp', 'leaf1', '--no-headers')).toMatch(/^leaf1 +10\.0\.0\.1 +64513\b/)
    expect((await kubectl('get', 'bellhop', '-o', 'name')).trim().split('\n').sort()).toEqual([
      'bgpconf.bellhop.io/default',
      'bgppeer.bellhop.io/leaf1',
      'bgppeer.bellhop.io/leaf2',
      'vippool.bellhop.io/default',
    ])
  })

  test('tells a user about a mistake in the words of the CRD', async () => {
    const pool = path.join(folder, 'pool.yaml')
    writeFileSync(
      pool,
      'apiVersion: bellhop.io/v1alpha1\nkind: VipPool\nmetadata: {name: wrong}\nspec: {addresses: [203.0.113.1/24]}\n',
    )
    await expect(kubectl('apply', '-f', pool)).rejects.toThrow(
      'The VipPool "wrong" is invalid: spec.addresses[0]: Invalid value: "203.0.113.1/24": "203.0.113.1/24" has host bits set: write the network address',
    )
  })

  test('explains every field', async () => {
    expect(await kubectl('explain', 'vippool.spec.hold')).toContain('How long a released address waits')
  })
})
