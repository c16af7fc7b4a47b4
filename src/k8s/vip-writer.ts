// Writes of Vips. Creating one is the lock on its address; all others name the version they were decided upon, and a Vip that is announced is
// not deleted.

import { err, ok } from '../runtime/result.ts'
import type { VipSpec } from '../vip/types.ts'
import type { FencedRequests, WriteResult } from './fenced-requests.ts'
import { leaderManager } from './field-managers.ts'
import type { RawObject } from './json.ts'
import { isNotFound, type KubeError } from './kube-error.ts'
import type { Kind, VipLayer2 } from './objects.ts'
import { resourcePath, resources } from './resources.ts'
import { renderTime } from './times.ts'

/** A Vip at the version that a decision was made upon. */
export interface VipVersion {
  readonly name: string
  readonly resourceVersion: string
}

export interface VipWriterOptions {
  readonly requests: FencedRequests
  /** Takes in that a Vip is gone: `store.absorbDeletion`. */
  readonly absorbDeletion: (kind: Kind, key: string, uid: string) => void
  /** Whether no route of the Vip is announced: asked again right before it is deleted. Default: nobody announces. */
  readonly isWithdrawn?: (vip: string) => boolean
  /** Default `bellhop-leader`. */
  readonly fieldManager?: string
}

export interface VipWriter {
  /** POST: 409 AlreadyExists when somebody else was first. */
  readonly createVip: (name: string, spec: VipSpec, signal?: AbortSignal) => WriteResult
  /** Replaces the spec: 409 when the Vip is at another version. */
  readonly updateVip: (vip: VipVersion, spec: VipSpec, signal?: AbortSignal) => WriteResult
  /** Writes who answers for the Vip on the link, and nothing else; undefined = nobody. 409 when the Vip is at another version. */
  readonly setVipOwner: (vip: VipVersion, owner: VipLayer2 | undefined) => WriteResult
  /** 409 when it is another Vip, at another version, or announced; one that is gone already is a success. */
  readonly deleteVip: (vip: VipVersion & { readonly uid: string }, signal?: AbortSignal) => WriteResult
}

export function createVipWriter(options: VipWriterOptions): VipWriter {
  const { requests } = options
  const query = { fieldManager: options.fieldManager ?? leaderManager }
  const path = (name?: string): string => resourcePath(resources.Vip, name === undefined ? {} : { name })

  return {
    createVip: (name, spec, signal) =>
      requests.sendAndAbsorb(
        {
          method: 'POST',
          path: path(),
          query,
          body: {
            apiVersion: resources.Vip.apiVersion,
            kind: 'Vip',
            metadata: { name, labels: { 'app.kubernetes.io/managed-by': 'bellhop' } },
            spec: vipSpecBody(spec),
          },
        },
        signal,
      ),
    updateVip: ({ name, resourceVersion }, spec, signal) =>
      requests.sendAndAbsorb(
        {
          method: 'PATCH',
          path: path(name),
          query,
          patchType: 'merge',
          // A resourceVersion in a patch is a precondition. null takes an old hold away.
          body: { metadata: { resourceVersion }, spec: { ...vipSpecBody(spec), hold: holdBody(spec) ?? null } },
        },
        signal,
      ),
    setVipOwner: ({ name, resourceVersion }, owner) =>
      requests.sendAndAbsorb({
        method: 'PATCH',
        path: path(name),
        query,
        patchType: 'merge',
        body: {
          metadata: { resourceVersion },
          spec: { layer2: owner === undefined ? null : { ...owner, from: owner.from ?? null } },
        },
      }),
    deleteVip: async ({ name, uid, resourceVersion }, signal) => {
      if (options.isWithdrawn?.(name) === false) return err(announcedAgain(name))
      const result = await requests.send(
        {
          method: 'DELETE',
          path: path(name),
          body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion } },
        },
        signal,
      )
      if (!result.ok && !isNotFound(result.error)) return result
      // With finalizers of others on it the object itself comes back: then it is only on its way out.
      if (result.ok && result.value['kind'] === 'Vip') requests.absorb(result.value)
      else options.absorbDeletion('Vip', name, uid)
      return result.ok ? result : ok({})
    },
  }
}

// Since this was decided the Service has asked for it anew, and another controller that takes itself for the leader has granted it.
const announcedAgain = (name: string): KubeError => ({
  status: 409,
  reason: 'Conflict',
  message: `Vip ${name} is announced again`,
})

function vipSpecBody(spec: VipSpec): RawObject {
  const hold = holdBody(spec)
  return {
    address: spec.address,
    pool: spec.pool,
    services: spec.services,
    ...(hold === undefined ? {} : { hold }),
  }
}

function holdBody({ hold }: VipSpec): RawObject | undefined {
  return hold === undefined
    ? undefined
    : { namespace: hold.namespace, name: hold.name, until: renderTime(hold.untilMs) }
}
