// A client whose cable can be pulled. The stand-ins for kubelet and kube-proxy run in the lab's process and reach the API server
// directly; with this they lose it when their node loses its links, as the real ones would.

import type { KubeClient } from '../k8s/client.ts'
import { localError } from '../k8s/kube-error.ts'
import { err } from '../runtime/result.ts'

export interface Unpluggable {
  readonly client: KubeClient
  /** Breaks what is under way, and fails what is asked from now on. */
  readonly unplug: () => void
  readonly plug: () => void
}

export function unpluggable(client: KubeClient): Unpluggable {
  let cable = new AbortController()
  const unplugged = () => err(localError('Unreachable', 'the node has lost its links'))
  return {
    client: {
      ...client,
      request: async (request) => (cable.signal.aborted ? unplugged() : client.request(bound(request, cable.signal))),
      stream: async (request) => (cable.signal.aborted ? unplugged() : client.stream(bound(request, cable.signal))),
    },
    unplug: () => cable.abort(),
    plug: () => {
      cable = new AbortController()
    },
  }
}

function bound<Request extends { readonly signal?: AbortSignal }>(request: Request, cable: AbortSignal): Request {
  return { ...request, signal: request.signal === undefined ? cable : AbortSignal.any([request.signal, cable]) }
}
