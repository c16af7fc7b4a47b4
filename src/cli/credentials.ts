// Which API server, as whom: a named kubeconfig file, or whatever the surroundings offer. $KUBECONFIG is part of the surroundings,
// because it may name several files.

import type { CredentialsSource } from '../k8s/credentials.ts'

export const credentialsFrom = (kubeconfig: string | undefined): CredentialsSource =>
  kubeconfig === undefined || kubeconfig === process.env['KUBECONFIG']
    ? { type: 'default' }
    : { type: 'kubeconfig', path: kubeconfig }
