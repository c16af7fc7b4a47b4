// A stand-in for the kubelet of one lab node: registers the Node, keeps its Lease, and runs every pod that the scheduler put
// there as a namespace with an HTTP server that is probed for real. It runs in the lab's process; the pods' servers and the
// probes run in namespaces.
//
//   const kubelet = startKubelet({ node, network: topology.network, client, clock, log })
//   await kubelet.registered
//   kubelet.pods()                      // ['default/web-1', ...]
//   await kubelet.stop()                // as a power cut: the pods are gone, and nobody is told
//
// A pod becomes unready by `kubectl annotate pod <pod> lab.bellhop.io/ready=false`, and ready again by `=true`.

import type { KubeClient } from '../../k8s/client.ts'
import { asObject } from '../../k8s/json.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { pause } from '../../runtime/pause.ts'
import type { Network } from '../netns/network.ts'
import { podAddress } from '../topology/addresses.ts'
import type { LabNode } from '../topology/topology.ts'
import { createNodeReporter } from './node-status.ts'
import { type PodFacts, podFacts } from './pod-status.ts'
import { type PodWorker, startPodWorker } from './pod-worker.ts'
import { startProber } from './prober.ts'
import { watchCollection } from './watched.ts'

export interface KubeletOptions {
  readonly node: LabNode
  readonly network: Network
  readonly client: KubeClient
  readonly clock: Clock
  readonly log: Log
  /** Whose pods it runs; absent: those of all namespaces. */
  readonly namespace?: string
  /** Of the Node, from its registration on. */
  readonly taints?: readonly { readonly key: string; readonly value: string; readonly effect: string }[]
  /** Default 1000. */
  readonly renewIntervalMs?: number
  /** What the Lease promises; default 4. */
  readonly leaseSeconds?: number
  /** Between two probes of a pod; default 500. */
  readonly probePeriodMs?: number
  /** How long a pod's server goes on after SIGTERM; default 2000. The pod's own grace period bounds it. */
  readonly terminationDelayMs?: number
}

export interface Kubelet {
  /** Node and Lease exist, the node is Ready. */
  readonly registered: Promise<void>
  /** `namespace/name` of the pods on this node now. */
  readonly pods: () => readonly string[]
  /** Ends probes and reports and removes the pods from the node. The API server hears nothing more. */
  readonly stop: () => Promise<void>
}

// The kubelet's chains in the mangle table, by which others find out which iptables is in use on the node.
const hintChains = '*mangle\n:KUBE-IPTABLES-HINT - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n'

const retryMs = 1000

interface Running {
  readonly worker: PodWorker
  readonly uid: string
}

/** Starts the kubelet of a node. */
export function startKubelet(options: KubeletOptions): Kubelet {
  const { node, client, clock } = options
  const ending = new AbortController()
  const prober = startProber(node.namespace)
  const pods = new Map<string, Running>()
  const addresses = createAddressBook(node.number)
  // Pods that are wound up and whose disappearance the watch has not told yet.
  const finished = new Set<string>()
  let serial = 0

  const begin = (facts: PodFacts): void => {
    const lease = addresses.take()
    const worker = startPodWorker(facts, {
      ...options,
      prober,
      address: lease.address,
      serial: String(serial++),
      probePeriodMs: options.probePeriodMs ?? 500,
      terminationDelayMs: options.terminationDelayMs ?? 2000,
    })
    pods.set(facts.key, { worker, uid: facts.uid })
    void worker.ended.then((end) => {
      lease.release()
      pods.delete(facts.key)
      if (end === 'deleted') finished.add(facts.uid)
      if (end === 'failed') clock.setTimer(retryMs, reconcile)
      else reconcile()
    })
  }
  const reconcile = (): void => {
    const objects = watched.objects()
    if (ending.signal.aborted || objects === undefined) return
    const wanted = new Map(
      [...objects.values()]
        .filter((pod) => asObject(pod['spec'])?.['nodeName'] === node.name)
        .map((pod) => [podFacts(pod).key, podFacts(pod)]),
    )
    const uids = new Set([...wanted.values()].map(({ uid }) => uid))
    for (const [key, { worker, uid }] of pods) {
      const facts = wanted.get(key)
      worker.update(facts?.uid === uid ? facts : undefined)
    }
    for (const uid of finished) if (!uids.has(uid)) finished.delete(uid)
    for (const [key, facts] of wanted) if (!pods.has(key) && !finished.has(facts.uid)) begin(facts)
  }
  const watched = watchCollection({
    client,
    clock,
    path: options.namespace === undefined ? '/api/v1/pods' : `/api/v1/namespaces/${options.namespace}/pods`,
    query: { fieldSelector: `spec.nodeName=${node.name}` },
    signal: ending.signal,
    onChange: reconcile,
  })
  const registered = Promise.withResolvers<void>()
  const reporting = reportNode(options, registered.resolve, ending.signal).catch(registered.reject)

  const stop = async (): Promise<void> => {
    ending.abort()
    await Promise.all([reporting, watched.ended, ...[...pods.values()].map(({ worker }) => worker.abandon())])
    await prober.stop()
  }
  return { registered: registered.promise, pods: () => [...pods.keys()].sort(), stop }
}

async function reportNode(options: KubeletOptions, onRegistered: () => void, signal: AbortSignal): Promise<void> {
  const { node, clock, log } = options
  const reporter = createNodeReporter({ ...options, leaseSeconds: options.leaseSeconds ?? 4 })
  for (const program of ['iptables-restore', 'ip6tables-restore'])
    await node.namespace.run([program, '--noflush', '-w', '5'], { input: hintChains })
  let registered = false
  while (!signal.aborted) {
    const outcome = registered ? await reporter.renew() : await reporter.register()
    if (outcome.ok && !registered) {
      registered = true
      onRegistered()
    } else if (!outcome.ok) {
      // A Node that somebody deleted is registered anew.
      if (outcome.error.status === 404) registered = false
      log.warn({ event: 'lab-node-not-reported', node: node.name, message: outcome.error.message })
    }
    await pause(clock, options.renewIntervalMs ?? 1000, signal)
  }
}

/** Gives out pod addresses of a node, each again only after all others. */
function createAddressBook(node: number): {
  readonly take: () => { readonly address: ReturnType<typeof podAddress>; readonly release: () => void }
} {
  const free = Array.from({ length: 253 }, (_, i) => i + 2)
  return {
    take: () => {
      const number = free.shift()
      if (number === undefined) throw new Error(`node ${node} has no pod address left`)
      return { address: podAddress(node, number), release: () => void free.push(number) }
    },
  }
}
