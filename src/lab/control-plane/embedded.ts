// The lab's own control plane: the embedded API server with RBAC, and the cluster controllers in the same process.

import { startClusterControllers } from '../apiserver/cluster-controllers/cluster-controllers.ts'
import { defaultRanges, startApiServer } from '../apiserver/server.ts'
import type { Families } from '../topology/addresses.ts'
import type { ControlPlane } from './control-plane.ts'

/** Starts it. `leaseSeconds`: a node whose Lease is older counts as lost. */
export async function startEmbeddedControlPlane(options: {
  readonly leaseSeconds: number
  readonly families: Families
}): Promise<ControlPlane> {
  const clusterIpRanges = Object.fromEntries(options.families.map((family) => [family, defaultRanges[family]]))
  const api = await startApiServer({ podDeletion: 'graceful', authorization: 'RBAC', clusterIpRanges })
  const controllers = startClusterControllers(api.cluster, { leaseGraceMs: options.leaseSeconds * 1000 })
  return {
    embedded: api,
    kubeconfig: api.kubeconfig(),
    credentials: { type: 'server', url: api.url, token: api.adminToken },
    server: { host: api.host, port: api.port },
    nodeKubeconfig: ({ host, port }, token) =>
      api.kubeconfig(token).replaceAll(api.url, `http://${host.includes(':') ? `[${host}]` : host}:${port}`),
    nodeTaints: [],
    programArgs: [],
    adapt: (manifest) => manifest,
    stop: async () => {
      controllers.stop()
      await api.stop()
    },
  }
}
