// The parts of a cluster that Bellhop depends on and does not own, in process against the store of the lab's API server: pods get
// nodes, Services get EndpointSlices, Deployments get pods, and silent nodes are noticed.

import type { Cluster } from '../cluster.ts'
import { runCrdCleanup } from './crd-cleanup.ts'
import { runDeploymentController } from './deployments.ts'
import { runEndpointSliceController } from './endpoint-slices.ts'
import { runGarbageCollector } from './garbage-collector.ts'
import { runNamespaceController } from './namespaces.ts'
import { runNodeLifecycle } from './node-lifecycle.ts'
import { runScheduler } from './scheduler.ts'

export interface ClusterControllerOptions {
  /** How long a node's Lease may go without renewal before the node counts as lost. Default 40 s, as in a real cluster. */
  readonly leaseGraceMs?: number
}

export interface ClusterControllers {
  stop(): void
}

/** Starts the controllers on the cluster of a running server. A server restarted without its data needs them started again. */
export function startClusterControllers(cluster: Cluster, options: ClusterControllerOptions = {}): ClusterControllers {
  return together([
    runEndpointSliceController(cluster),
    runDeploymentController(cluster),
    runScheduler(cluster),
    runNodeLifecycle(cluster, { leaseGraceMs: options.leaseGraceMs ?? 40_000 }),
  ])
}

/** What deletion means in every cluster: of namespaces, of owners, of definitions. The server itself runs these. */
export function startDeletionControllers(cluster: Cluster): ClusterControllers {
  return together([runNamespaceController(cluster), runGarbageCollector(cluster), runCrdCleanup(cluster)])
}

const together = (stops: readonly (() => void)[]): ClusterControllers => ({
  stop: () => {
    for (const stop of stops) stop()
  },
})
