// Which cluster keeps the API objects of an end-to-end test. Only `make test-cluster` names another one than the embedded: many
// people have a production cluster in KUBECONFIG all day, and no `make test` may touch it.

import { flattenedKubeconfig } from '../../src/lab/control-plane/named-cluster.ts'
import type { LabOptions } from '../../src/lab/lab.ts'

/** Whether the cluster that KUBECONFIG names is meant. */
export const onNamedCluster = process.env['BELLHOP_TEST_CLUSTER'] === 'yes'

/** KUBECONFIG may name several files, and they certificates beside them: what it means, in one text. */
export const namedKubeconfig = (): Promise<string> => flattenedKubeconfig(process.env['KUBECONFIG'] ?? '')

/** For `startLab`. */
export const labCluster = async (): Promise<Pick<LabOptions, 'cluster'>> =>
  onNamedCluster ? { cluster: { kubeconfig: await namedKubeconfig() } } : {}
