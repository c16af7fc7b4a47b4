// A cluster in one process for where there is neither root nor a network namespace: the embedded API server, its controllers and
// two receivers as leaf routers on addresses of the loopback. There are no kubelets: who uses this says which pods are ready.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseAsn, parseRouterId } from '../../net/asn.ts'
import { parseIp } from '../../net/ip.ts'
import { must } from '../../runtime/result.ts'
import { startClusterControllers } from '../apiserver/cluster-controllers/cluster-controllers.ts'
import { type ApiServerHandle, type ApiServerOptions, startApiServer } from '../apiserver/server.ts'
import { type Receiver, startReceiver } from '../receiver/receiver.ts'
import { createKubectl, type Kubectl, type RunningController, startControllerProcess } from './programs.ts'

export interface LoopbackLab extends AsyncDisposable {
  readonly api: ApiServerHandle
  /** Kubeconfig, logs; removed by `destroy` unless told otherwise. */
  readonly directory: string
  readonly kubeconfig: string
  readonly kubectl: Kubectl
  /** leaf1 and leaf2. */
  readonly leaves: readonly [Receiver, Receiver]
  /** Starts a replica that is ended, at the latest, with the lab. */
  readonly startController: (options: {
    readonly name: string
    readonly node: string
    readonly args?: readonly string[]
  }) => Promise<RunningController>
  /** Ends everything, once; a second call waits for the first. `keepDirectory` leaves the logs where they are. */
  readonly destroy: (options?: { readonly keepDirectory?: boolean }) => Promise<void>
}

/** AS numbers of the cluster and of the leaves. */
export const clusterAsn = 64512
export const leafAsns = [64513, 64514] as const

/** Where the leaves listen: the loopback has all of 127.0.0.0/8, and peers are told apart by address. */
const leafAddresses = ['127.0.0.2', '127.0.0.3'] as const
const leafRouterIds = ['10.0.0.1', '10.0.0.2'] as const

/** Builds the lab. */
export async function startLoopbackLab(options: ApiServerOptions = {}): Promise<LoopbackLab> {
  const directory = mkdtempSync(path.join(tmpdir(), 'bellhop-loopback-'))
  const running = new Set<RunningController>()
  const cleanups: (() => Promise<unknown>)[] = []
  let destroyed: Promise<void> | undefined
  const takeDown = async (keepDirectory: boolean | undefined): Promise<void> => {
    await Promise.all([...running].map(({ process: child }) => child.stop()))
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
    if (keepDirectory !== true) rmSync(directory, { recursive: true, force: true })
  }
  const destroy: LoopbackLab['destroy'] = (how) => {
    destroyed ??= takeDown(how?.keepDirectory)
    return destroyed
  }
  try {
    const api = await startApiServer({ podDeletion: 'immediate', ...options })
    cleanups.push(() => api.stop())
    const controllers = startClusterControllers(api.cluster)
    cleanups.push(async () => controllers.stop())
    const kubeconfig = path.join(directory, 'kubeconfig')
    writeFileSync(kubeconfig, api.kubeconfig(), { mode: 0o600 })
    const leaves = [await startLeaf(0, cleanups), await startLeaf(1, cleanups)] as const
    return {
      ...{ api, directory, kubeconfig, leaves, destroy },
      kubectl: createKubectl(kubeconfig, directory),
      startController: async (replica) => {
        const controller = await startControllerProcess({ ...replica, kubeconfig, directory })
        running.add(controller)
        void controller.process.end.then(() => running.delete(controller))
        return controller
      },
      [Symbol.asyncDispose]: () => destroy(),
    }
  } catch (error) {
    await destroy()
    throw error
  }
}

async function startLeaf(index: 0 | 1, cleanups: (() => Promise<unknown>)[]): Promise<Receiver> {
  const leaf = await startReceiver({
    address: must(parseIp(leafAddresses[index])),
    asn: must(parseAsn(leafAsns[index])),
    routerId: must(parseRouterId(leafRouterIds[index])),
  })
  cleanups.push(() => leaf.close())
  return leaf
}
