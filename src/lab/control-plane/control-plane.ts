// Where the lab's API objects live: on the embedded API server, or on a cluster that somebody names. The network, the routers, the
// nodes' kernels and the pods are the lab's own in both cases; this is the border between the two.

import type { CredentialsSource } from '../../k8s/credentials.ts'
import type { ApiServerHandle } from '../apiserver/server.ts'

/** A TCP port that answers as the API server. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

export interface ControlPlane {
  /** The embedded server, where it is that: its storage and its faults. */
  readonly embedded?: ApiServerHandle
  /** YAML of the administrator's kubeconfig, for programs on this host. */
  readonly kubeconfig: string
  /** The same for the lab's own client. */
  readonly credentials: CredentialsSource
  /** As this host reaches it. */
  readonly server: Endpoint
  /** YAML of a kubeconfig for a node, which reaches the server at `from`, as whoever has the token. */
  readonly nodeKubeconfig: (from: Endpoint, token: string) => string
  /** The one namespace whose pods the lab runs, and that of `kubeconfig`; absent: all of them. */
  readonly namespace?: string
  /** What makes a node's kubelet register it so that nobody else's pods come; none needed on the embedded server. */
  readonly nodeTaints: readonly NodeTaint[]
  /** What Bellhop's programs are told, so that they serve the lab's Services and nobody else's. */
  readonly programArgs: readonly string[]
  /** A manifest of the demo as it must be here. */
  readonly adapt: (manifest: string) => string
  /** Ends what runs for the lab, and removes what the lab made on a cluster that stays. */
  readonly stop: () => Promise<void>
}

export interface NodeTaint {
  readonly key: string
  readonly value: string
  readonly effect: 'NoSchedule'
}
