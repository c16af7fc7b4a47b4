// A kubeconfig for this server, as text for kubectl and clients.

import { stringify } from 'yaml'

/** YAML of a kubeconfig with one cluster, one user with a bearer token, one context. */
export function renderKubeconfig(server: string, token: string): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster: { server } }],
    users: [{ name: 'user', user: { token } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'user', namespace: 'default' } }],
    'current-context': 'lab',
  })
}
