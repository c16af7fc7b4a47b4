// The controller is replaced and the manifests stay: Bellhop over the objects of OpenELB, with the rights of deploy/adopt, from the
// Services that OpenELB served to the router that it announced them to.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ApiServerHandle, startApiServer } from '../../src/lab/apiserver/server.ts'
import {
  createKubectl,
  type Kubectl,
  type RunningController,
  startControllerProcess,
  whenReady,
} from '../../src/lab/loopback/programs.ts'
import { repositoryRoot } from '../../src/lab/netns/node-program.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { type Receiver, startReceiver } from '../../src/lab/receiver/receiver.ts'
import { parseAsn, parseRouterId } from '../../src/net/asn.ts'
import { parsePrefix } from '../../src/net/prefix.ts'
import { must } from '../../src/runtime/result.ts'
import { describeWith } from '../support/privileges.ts'
import { grantedRights, type RecordedRights, recordRights } from './support-rights.ts'

const timeout = 60_000

/** MetalLB is not installed here: its kinds are looked for, and nothing more. */
const notOfMetalLb = (right: string): boolean => !/^(watch|patch) metallb\.io\//.test(right)

/** As OpenELB's own, as far as it matters here: any fields, and a status of its own. */
const crd = (kind: string, plural: string): string => `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ${plural}.network.kubesphere.io}
spec:
  group: network.kubesphere.io
  scope: Cluster
  names: {kind: ${kind}, listKind: ${kind}List, plural: ${plural}, singular: ${kind.toLowerCase()}}
  versions:
    - name: v1alpha2
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

const openElb = (port: number): string => `
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpConf
metadata: {name: default, finalizers: [finalizer.lb.kubesphere.io/v1alpha1]}
spec: {as: 64512, routerId: 192.0.2.1, listenPort: 17901}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpPeer
metadata: {name: leaf1, finalizers: [finalizer.lb.kubesphere.io/v1alpha1]}
spec:
  conf: {neighborAddress: 127.0.0.1, peerAs: 64513}
  transport: {remotePort: ${port}}
  ebgpMultihop: {enabled: true, multihopTtl: 2}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata:
  name: eip-1
  annotations: {eip.openelb.kubesphere.io/is-default-eip: "true"}
  finalizers: [finalizer.ipam.kubesphere.io/v1alpha1]
spec: {address: 203.0.113.0-203.0.113.7}
---
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations: {lb.kubesphere.io/v1alpha1: openelb, eip.openelb.kubesphere.io/v1alpha2: eip-1}
  finalizers: [finalizer.lb.kubesphere.io/v1alpha1]
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.0.1], nodeName: node1, conditions: {ready: true}}]
`

describeWith({ programs: ['kubectl'] }, 'OpenELB’s objects, adopted in place', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'bellhop-adopt-'))
  let server: ApiServerHandle
  let rights: RecordedRights
  let kubectl: Kubectl
  let router: Receiver
  let controller: RunningController | undefined

  const apply = (input: string): Promise<string> => kubectl.must(['apply', '-f', '-'], { input })
  const get = async (what: string, jsonPath: string): Promise<string> =>
    kubectl.must(['get', ...what.split(' '), '-o', `jsonpath=${jsonPath}`])
  const becomes = (what: string, jsonPath: string, wanted: string): Promise<unknown> => {
    let last = ''
    return waitFor(
      async () => {
        last = await get(what, jsonPath)
        return last === wanted
      },
      { what: `${what} ${jsonPath} to be ${wanted}`, timeoutMs: 30_000, intervalMs: 200, evidence: () => last },
    )
  }

  beforeAll(async () => {
    server = await startApiServer({ authorization: 'RBAC' })
    rights = recordRights(server, 'controller')
    const kubeconfig = path.join(directory, 'kubeconfig')
    writeFileSync(kubeconfig, server.kubeconfig(), { mode: 0o600 })
    kubectl = createKubectl(kubeconfig, directory)
    server.objects.put({
      ...{ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node1' } },
      status: {
        addresses: [{ type: 'InternalIP', address: '10.0.0.11' }],
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    })
    for (const file of ['deploy/base/namespace.yaml', 'deploy/base/controller-rbac.yaml', 'deploy/adopt/rbac.yaml'])
      await kubectl.must(['apply', '-f', path.join(repositoryRoot, file)])
    await kubectl.must(['apply', '-k', path.join(repositoryRoot, 'crds')])
    for (const [kind, plural] of [
      ['BgpConf', 'bgpconfs'],
      ['BgpPeer', 'bgppeers'],
      ['Eip', 'eips'],
    ] as const)
      await apply(crd(kind, plural))
    router = await startReceiver({ asn: must(parseAsn(64513)), routerId: must(parseRouterId('10.0.0.1')) })
    await waitFor(async () => (await kubectl.run(['apply', '-f', '-'], { input: openElb(router.port) })).status === 0, {
      what: 'the definitions to be served',
      timeoutMs: 30_000,
    })
    // As OpenELB left it: an address in the statuses.
    await kubectl.must([
      ...['patch', 'service', 'web', '--subresource=status', '--type=merge', '-p'],
      '{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.5"}]}}}',
    ])
    await kubectl.must([
      ...['patch', 'eip', 'eip-1', '--subresource=status', '--type=merge', '-p'],
      '{"status":{"usage":2,"used":{"203.0.113.5":"default/web","203.0.113.6":"default/gone"}}}',
    ])
    const controllerConfig = path.join(directory, 'kubeconfig-controller')
    writeFileSync(
      controllerConfig,
      server.kubeconfig(server.serviceAccountToken('bellhop-system', 'bellhop-controller')),
      {
        mode: 0o600,
      },
    )
    controller = await startControllerProcess({
      ...{ kubeconfig: controllerConfig, name: 'one', node: 'node1', directory },
      args: ['--adopt', 'openelb,metallb', '--bfd', 'false'],
    })
    await whenReady(controller)
  }, timeout)
  afterAll(async () => {
    await controller?.process.stop()
    await router?.close()
    await server?.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  test('the Service keeps its address, and the router hears of it', { timeout }, async () => {
    const prefix = must(parsePrefix('203.0.113.5/32'))
    await waitFor(() => router.nextHops(prefix).join() === '10.0.0.11', { what: 'the route', timeoutMs: 30_000 })
    expect(await get('service web', '{.status.loadBalancer.ingress[*].ip}')).toBe('203.0.113.5')
    expect(await get('vips', '{.items[*].spec.pool}')).toBe('eip-1')
  })

  test('`kubectl get eip` shows whose which address is, and forgets who is gone', { timeout }, async () => {
    await becomes('eip eip-1', '{.status.used}', '{"203.0.113.5":"default/web"}')
    await becomes('eip eip-1', '{.status.usage} {.status.poolSize} {.status.firstIP}', '1 8 203.0.113.0')
  })

  test('the finalizer of the predecessor goes from the Service, ours stays', { timeout }, async () => {
    await becomes('service web', '{.metadata.finalizers}', '["service.kubernetes.io/load-balancer-cleanup"]')
  })

  test('an edit of an Eip counts at once', { timeout }, async () => {
    await kubectl.must([
      'patch',
      'eip',
      'eip-1',
      '--type=merge',
      '-p',
      '{"spec":{"address":"203.0.113.5-203.0.113.20"}}',
    ])
    await becomes('eip eip-1', '{.status.poolSize}', '16')
  })

  test('an object of ours wins over an adopted one of the same name, and gives way to it again', {
    timeout,
  }, async () => {
    const prefix = must(parsePrefix('203.0.113.5/32'))
    await apply(
      `{apiVersion: bellhop.io/v1alpha1, kind: BgpPeer, metadata: {name: leaf1}, spec: {address: 127.0.0.1, asn: 64513, port: ${router.port}, shutdown: maintenance}}`,
    )
    await waitFor(() => router.nextHops(prefix).length === 0, { what: 'our BgpPeer to count', timeoutMs: 30_000 })
    await kubectl.must(['delete', 'bgppeers.bellhop.io', 'leaf1'])
    await waitFor(() => router.nextHops(prefix).length === 1, { what: 'OpenELB’s to count again', timeoutMs: 30_000 })
  })

  test('what is deleted can go: Service, peer and Eip, with the finalizers that nobody else would remove', {
    timeout,
  }, async () => {
    await kubectl.must(['delete', 'service', 'web', '--timeout=30s'])
    await kubectl.must(['delete', 'bgppeers.network.kubesphere.io', 'leaf1', '--timeout=30s'])
    await kubectl.must(['delete', 'eip', 'eip-1', '--timeout=30s'])
    await kubectl.must(['delete', 'bgpconfs.network.kubesphere.io', 'default', '--timeout=30s'])
    await becomes('vips', '{.items[*].metadata.name}', '')
  })

  test('nothing was refused', () => {
    const output = controller?.process.output() ?? ''
    expect(output.split('\n').filter((line) => /"level":"(error|warn)"/.test(line))).toEqual([])
    const added = grantedRights('deploy/adopt/rbac.yaml')
    const asked = rights.asked()
    const granted = [...added, ...grantedRights('deploy/base/controller-rbac.yaml')]
    expect(asked.filter((right) => !granted.includes(right))).toEqual([])
    expect(added.filter((right) => !asked.includes(right) && notOfMetalLb(right))).toEqual([])
  })
})
