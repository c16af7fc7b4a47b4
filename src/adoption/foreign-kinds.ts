// The kinds of other products that can be read in place of ours, and where they live in the API. What is not installed is not there:
// none of them has to exist.

import type { Resource } from '../k8s/resources.ts'
import type { Product } from '../migrate/migrate.ts'

const cluster = (apiVersion: string, kind: string, plural: string): Resource => ({
  ...{ apiVersion, kind, plural },
  namespaced: false,
})
const inNamespace = (kind: string, plural: string, version = 'v1beta1'): Resource => ({
  ...{ apiVersion: `metallb.io/${version}`, kind, plural },
  namespaced: true,
})

/** OpenELB serves two versions from one storage without conversion, so both are read. */
const openElbVersions = ['network.kubesphere.io/v1alpha2', 'network.kubesphere.io/v1alpha1'] as const

/** By product. */
export const foreignKinds: Readonly<Record<Product, readonly Resource[]>> = {
  openelb: openElbVersions.flatMap((apiVersion) => [
    cluster(apiVersion, 'BgpConf', 'bgpconfs'),
    cluster(apiVersion, 'BgpPeer', 'bgppeers'),
    cluster(apiVersion, 'Eip', 'eips'),
  ]),
  metallb: [
    inNamespace('IPAddressPool', 'ipaddresspools'),
    inNamespace('BGPPeer', 'bgppeers', 'v1beta2'),
    inNamespace('BGPAdvertisement', 'bgpadvertisements'),
    inNamespace('L2Advertisement', 'l2advertisements'),
    inNamespace('BFDProfile', 'bfdprofiles'),
    inNamespace('Community', 'communities'),
  ],
}
