// The way out as a user goes it: kubectl deletes everything first, which is the wrong order, and Services hang in their finalizer until
// `bellhop uninstall` has been there, with the rights of the Job in deploy/uninstall.

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { startApiServer } from '../../src/lab/apiserver/server.ts'
import { nodeProgram, repositoryRoot } from '../../src/lab/netns/node-program.ts'
import { systemExec } from '../../src/runtime/exec.ts'
import { describeWith } from '../support/privileges.ts'
import { renderUninstall } from './rendered.ts'

const run = promisify(execFile)

describeWith({ programs: ['kubectl'] }, 'kubectl delete -k deploy/base', () => {
  test('leaves Services that can not be deleted, and bellhop uninstall lets them go', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'bellhop-uninstall-'))
    const server = await startApiServer({ authorization: 'RBAC' })
    onTestFinished(async () => {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    })
    server.objects.put({
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding' },
      metadata: { name: 'nobody-is-administrator' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'system:anonymous' }],
    })
    const kubeconfig = path.join(folder, 'kubeconfig')
    writeFileSync(kubeconfig, server.kubeconfig())
    const kubectl = async (...args: readonly string[]): Promise<string> =>
      (await run('kubectl', ['--kubeconfig', kubeconfig, '--cache-dir', path.join(folder, 'cache'), ...args])).stdout
    const base = path.join(repositoryRoot, 'deploy/base')

    await kubectl('apply', '-k', base)
    const reference = { apiVersion: 'v1', kind: 'Service', namespace: 'default', name: 'web' }
    server.objects.put({
      ...{ apiVersion: 'v1', kind: 'Service' },
      metadata: { ...reference, finalizers: ['service.kubernetes.io/load-balancer-cleanup'] },
      spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
      status: {
        loadBalancer: { ingress: [{ ip: '203.0.113.10' }] },
        conditions: [
          {
            ...{ type: 'bellhop.io/Allocated', status: 'True', reason: 'Allocated', message: '' },
            lastTransitionTime: '2026-01-01T00:00:00Z',
          },
        ],
      },
    })
    await kubectl('delete', '-k', base, '--wait=false', '--ignore-not-found')
    await kubectl('delete', 'service', 'web', '--wait=false')
    expect(server.objects.get(reference)?.['metadata']).toHaveProperty('deletionTimestamp')

    await kubectl('create', 'namespace', 'bellhop-system')
    // All but the Job itself, a kind that the lab's API server does not know.
    for (const object of renderUninstall()) if (object['kind'] !== 'Job') server.objects.put(object)
    const token = server.serviceAccountToken('bellhop-system', 'bellhop-uninstall')
    const asJob = path.join(folder, 'job')
    const user = { token }
    const config = {
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'lab' },
      clusters: [{ name: 'lab', cluster: { server: server.url } }],
      users: [{ name: 'job', user }],
      contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'job' } }],
    }
    writeFileSync(asJob, JSON.stringify(config))
    const [node = '', ...args] = nodeProgram('src/cli/main.ts', ['uninstall'])
    const outcome = await systemExec(node, args, { env: { KUBECONFIG: asJob }, timeoutMs: 60_000 })
    expect(outcome).toMatchObject({ status: 0, stderr: '' })
    expect(outcome.stdout).toContain('Service default/web: 203.0.113.10, the finalizer, the conditions')
    expect(server.objects.get(reference)).toBe(undefined)
  }, 120_000)
})
