// A small cluster for tests of the stand-ins: the lab's API server, a topology of two nodes, and objects put in by hand,
// among them the EndpointSlices, so that nothing but the stand-in under test acts.

import { createKubeClient, type KubeClient } from '../../../src/k8s/client.ts'
import { asList, asObject, type RawObject } from '../../../src/k8s/json.ts'
import { type ApiServerHandle, startApiServer } from '../../../src/lab/apiserver/server.ts'
import { type Kubelet, startKubelet } from '../../../src/lab/kubelet/kubelet.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { createTopology, type LabNode, type Topology } from '../../../src/lab/topology/topology.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { must } from '../../../src/runtime/result.ts'
import { systemClock } from '../../../src/runtime/system-clock.ts'

export interface LabCluster extends AsyncDisposable {
  readonly api: ApiServerHandle
  readonly client: KubeClient
  readonly topology: Topology
  readonly kubelets: readonly Kubelet[]
  readonly node: (number: number) => LabNode
  readonly get: (path: string) => Promise<RawObject>
  readonly post: (path: string, body: RawObject) => Promise<RawObject>
  readonly patch: (path: string, body: RawObject) => Promise<RawObject>
  readonly remove: (path: string) => Promise<void>
}

export const deps = { clock: systemClock, log: silentLog }

export async function createLabCluster(prefix: string, nodes: number): Promise<LabCluster> {
  const api = await startApiServer()
  const topology = await createTopology({ prefix, nodes })
  const credentials = { type: 'server', url: api.url, token: api.adminToken } as const
  const client = must(await createKubeClient({ ...deps, credentials, userAgent: 'test' }))
  const kubelets = topology.nodes.map((node) =>
    startKubelet({
      ...deps,
      node,
      network: topology.network,
      client,
      renewIntervalMs: 200,
      probePeriodMs: 50,
      terminationDelayMs: 700,
    }),
  )
  await Promise.all(kubelets.map(({ registered }) => registered))
  const send = async (
    method: 'POST' | 'PATCH' | 'GET' | 'DELETE',
    path: string,
    body?: RawObject,
  ): Promise<RawObject> =>
    must(
      await client.request({
        method,
        path,
        ...(body === undefined ? {} : { body }),
        ...(method === 'PATCH' ? { patchType: 'merge' } : {}),
      }),
    )
  return {
    api,
    client,
    topology,
    kubelets,
    node: (number) => {
      const node = topology.nodes[number - 1]
      if (node === undefined) throw new Error(`the lab has no node ${number}`)
      return node
    },
    get: (path) => send('GET', path),
    post: (path, body) => send('POST', path, body),
    patch: (path, body) => send('PATCH', path, body),
    remove: async (path) => void (await send('DELETE', path)),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(kubelets.map((kubelet) => kubelet.stop()))
      client.close()
      await topology.destroy()
      await api.stop()
    },
  }
}

export const podPath = (name: string): string => `/api/v1/namespaces/default/pods/${name}`

/** Puts a pod on a node, as the scheduler would. */
export const addPod = (cluster: LabCluster, name: string, node: LabNode): Promise<RawObject> =>
  cluster.post('/api/v1/namespaces/default/pods', {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      nodeName: node.name,
      containers: [{ name: 'web', image: 'whoami', ports: [{ containerPort: 8080 }] }],
    },
  })

/** The status of a condition of an object. */
export function conditionOf(object: RawObject, type: string): unknown {
  const conditions = asList(asObject(object['status'])?.['conditions']) ?? []
  return conditions.map(asObject).find((condition) => condition?.['type'] === type)?.['status']
}

/** Waits until a pod is ready; its addresses. */
export async function readyPod(cluster: LabCluster, name: string): Promise<readonly string[]> {
  return waitFor(
    async () => {
      const pod = await cluster.get(podPath(name))
      if (conditionOf(pod, 'Ready') !== 'True') return undefined
      return (asList(asObject(pod['status'])?.['podIPs']) ?? []).map((ip) => String(asObject(ip)?.['ip']))
    },
    { what: `pod ${name} to be ready` },
  )
}
