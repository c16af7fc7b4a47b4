// A kubeconfig for this server, as text for kubectl and clients.

import { stringify } from 'yaml'

/**
 * YAML of a kubeconfig with one cluster, one user with a bearer token, one context. TLS is declared skipped
 * because the JavaScript client speaks plain HTTP only to those who say so.
 */
export function renderKubeconfig(server: string, token: string): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'user', user: { token } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'user', namespace: 'default' } }],
    'current-context': 'lab',
  })
}
