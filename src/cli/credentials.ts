// Which API server, as whom: a named kubeconfig file, or whatever the surroundings offer.

import type { CredentialsSource } from '../k8s/credentials.ts'

export const credentialsFrom = (kubeconfig: string | undefined): CredentialsSource =>
  kubeconfig === undefined ? { type: 'default' } : { type: 'kubeconfig', path: kubeconfig }
