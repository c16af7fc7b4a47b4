// Requests in the name of whoever holds a fence: none leaves after the permission has ended, those under way end with it, and what the
// API server made of an object is in the view before the caller goes on.

import { err, type Result } from '../runtime/result.ts'
import type { KubeClient, KubeRequest } from './client.ts'
import { type Fence, unfenced } from './fence.ts'
import type { RawObject } from './json.ts'
import { type KubeError, localError } from './kube-error.ts'

/** The object as the API server has it now. */
export type WriteResult = Promise<Result<RawObject, KubeError>>

export interface FencedRequestsOptions {
  readonly client: KubeClient
  /** Takes in what an answer says of an object: `store.absorb`. */
  readonly absorb: (raw: RawObject) => void
  /** Default: none, for what needs no leader. */
  readonly fence?: Fence
}

export interface FencedRequests {
  /** The error NotLeader, without asking, where the fence does not hold. */
  readonly send: (request: KubeRequest, signal?: AbortSignal) => WriteResult
  /** As `send`; the answer is an object, and goes into the view. */
  readonly sendAndAbsorb: (request: KubeRequest, signal?: AbortSignal) => WriteResult
  readonly absorb: (raw: RawObject) => void
}

export function createFencedRequests(options: FencedRequestsOptions): FencedRequests {
  const { client, absorb } = options
  const fence = options.fence ?? unfenced
  const send: FencedRequests['send'] = async (request, signal) => {
    if (!fence.holds()) return err(localError('NotLeader', 'leadership was lost: nothing is written'))
    const either = signal === undefined ? fence.signal : AbortSignal.any([fence.signal, signal])
    return client.request({ ...request, signal: either })
  }
  return {
    send,
    absorb,
    sendAndAbsorb: async (request, signal) => {
      const result = await send(request, signal)
      if (result.ok) absorb(result.value)
      return result
    },
  }
}
