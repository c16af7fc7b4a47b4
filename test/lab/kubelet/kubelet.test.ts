// The stand-in for the kubelet against the lab's API server, with pods that are real namespaces and probes that are real
// requests: what the cluster gets to see of a node and its pods.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { asList, asObject, type RawObject } from '../../../src/k8s/json.ts'
import { startKubelet } from '../../../src/lab/kubelet/kubelet.ts'
import { listNamespaces } from '../../../src/lab/netns/leftovers.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { systemExec } from '../../../src/runtime/exec.ts'
import { describeWith } from '../../support/privileges.ts'
import { addPod, conditionOf, createLabCluster, deps, type LabCluster, podPath, readyPod } from './lab-cluster.ts'

const nodePath = '/api/v1/nodes/node1'
const leasePath = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node1'

describeWith({ netns: true, programs: ['curl', 'iptables-restore'] }, 'the lab kubelet', () => {
  let cluster: LabCluster

  const whoami = async (from: number, address: string): Promise<RawObject | undefined> => {
    const host = address.includes(':') ? `[${address}]` : address
    const url = `http://${host}:8080/`
    const { status, stdout } = await cluster.node(from).namespace.exec(['curl', '-gs', '-m', '1', url])
    return status === 0 ? asObject(JSON.parse(stdout)) : undefined
  }
  const renewTime = async (): Promise<unknown> => asObject((await cluster.get(leasePath))['spec'])?.['renewTime']
  const podNamespaces = async (): Promise<number> =>
    (await listNamespaces(systemExec)).filter(
      (name) => name.startsWith(`klet-${process.pid}.`) && name.includes('-pod-'),
    ).length

  beforeAll(async () => {
    cluster = await createLabCluster('klet', 2)
  })
  afterAll(() => cluster?.[Symbol.asyncDispose]())

  test('the Node has the addresses of the lab, is Ready, and its Lease is renewed', async () => {
    const node = await cluster.get(nodePath)
    expect(asObject(node['status'])?.['addresses']).toEqual([
      { type: 'InternalIP', address: '10.0.0.11' },
      { type: 'InternalIP', address: 'fd00:10::11' },
      { type: 'Hostname', address: 'node1' },
    ])
    expect(conditionOf(node, 'Ready')).toBe('True')
    const before = await renewTime()
    await waitFor(async () => (await renewTime()) !== before, { what: 'a renewal' })
  })

  test('who starts one on a node that takes no rules is told', async () => {
    const { namespace, ...node } = cluster.node(2)
    const killed = new Error('iptables-restore was interrupted')
    const kubelet = startKubelet({
      ...{ ...deps, client: cluster.client, network: cluster.topology.network },
      node: { ...node, namespace: { ...namespace, run: () => Promise.reject(killed) } },
    })
    await expect(kubelet.registered).rejects.toBe(killed)
    await kubelet.stop()
  })

  test('a Ready condition that was taken away comes back', async () => {
    const conditions = [{ type: 'Ready', status: 'Unknown', reason: 'NodeStatusUnknown' }]
    await cluster.patch(`${nodePath}/status`, { status: { conditions } })
    await waitFor(async () => conditionOf(await cluster.get(nodePath), 'Ready') === 'True', {
      what: 'the node to be Ready',
    })
  })

  test('a pod is reached at both its addresses, from its node and from the other one, and says who it is', async () => {
    await addPod(cluster, 'web-1', cluster.node(1))
    const addresses = await readyPod(cluster, 'web-1')
    expect(addresses).toEqual(['10.244.1.2', 'fd00:244:1::2'])
    for (const address of addresses) {
      expect(await whoami(1, address)).toMatchObject({ pod: 'web-1', node: 'node1' })
      expect(await whoami(2, address)).toMatchObject({
        pod: 'web-1',
        client: address.includes(':') ? 'fd00:10::12' : '10.0.0.12',
      })
    }
  })

  test('the annotation makes the pod unready and ready again, by its own probe', async () => {
    const annotate = (value: string): Promise<RawObject> =>
      cluster.patch(podPath('web-1'), { metadata: { annotations: { 'lab.bellhop.io/ready': value } } })
    await annotate('false')
    await waitFor(async () => conditionOf(await cluster.get(podPath('web-1')), 'Ready') === 'False', {
      what: 'unready',
    })
    expect(await whoami(1, '10.244.1.2')).toMatchObject({ pod: 'web-1' })
    await annotate('true')
    await readyPod(cluster, 'web-1')
  })

  test('a server that dies is started again and counted', async () => {
    const namespace =
      (await listNamespaces(systemExec)).find(
        (name) => name.startsWith(`klet-${process.pid}.`) && name.endsWith('node1-pod-0'),
      ) ?? ''
    const { stdout } = await systemExec('ip', ['netns', 'pids', namespace])
    process.kill(Number(stdout.trim()), 'SIGKILL')
    await waitFor(
      async () => {
        const pod = await cluster.get(podPath('web-1'))
        const [status] = asList(asObject(pod['status'])?.['containerStatuses']) ?? []
        return asObject(status)?.['restartCount'] === 1 && conditionOf(pod, 'Ready') === 'True'
      },
      { what: 'a restart' },
    )
  })

  test('a pod being deleted goes on answering for its grace, then object and namespace are gone', async () => {
    expect(await podNamespaces()).toBe(1)
    await cluster.remove(podPath('web-1'))
    const dying = await cluster.get(podPath('web-1'))
    expect(asObject(dying['metadata'])?.['deletionTimestamp']).toBeTypeOf('string')
    expect(conditionOf(dying, 'Ready')).toBe('True')
    expect(await whoami(1, '10.244.1.2')).toMatchObject({ pod: 'web-1' })
    await waitFor(async () => !(await cluster.client.request({ method: 'GET', path: podPath('web-1') })).ok, {
      what: 'the object to be gone',
    })
    expect(await podNamespaces()).toBe(0)
  })

  test('a pod of the same name is another pod', async () => {
    await addPod(cluster, 'web-1', cluster.node(1))
    expect((await readyPod(cluster, 'web-1'))[0]).toBe('10.244.1.3')
  })

  test('a node that lost its power says nothing any more, and its pods do not answer', async () => {
    await cluster.kubelets[0]?.stop()
    const last = await renewTime()
    expect(await whoami(2, '10.244.1.3')).toBeUndefined()
    expect(await podNamespaces()).toBe(0)
    expect(await renewTime()).toBe(last)
    expect(conditionOf(await cluster.get(podPath('web-1')), 'Ready')).toBe('True')
  })
})
