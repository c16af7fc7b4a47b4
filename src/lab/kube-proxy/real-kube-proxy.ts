// The real kube-proxy in place of the stand-in, on one lab node, where somebody has one: its binary's path comes from an environment
// variable and nothing of it is in this repository. It talks to the lab's API server over the management network as on a real node,
// and its log is in the lab's directory.
//
//   BELLHOP_KUBE_PROXY=/path/to/kube-proxy BELLHOP_KUBE_PROXY_MODE=nftables vitest run test/e2e/source-address.test.ts

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { stringify } from 'yaml'
import type { Namespace } from '../netns/namespace.ts'
import { waitFor } from '../netns/wait.ts'
import type { KubeProxy, KubeProxyMode } from './kube-proxy.ts'

/** How the proxies of a lab work; without `program` they are stand-ins. */
export interface ProxyChoice {
  readonly mode: KubeProxyMode
  /** Path of a kube-proxy. */
  readonly program?: string
}

/** From BELLHOP_KUBE_PROXY and BELLHOP_KUBE_PROXY_MODE. Throws when the mode is none that the lab knows. */
export function proxyChoiceOf(env: Readonly<Record<string, string | undefined>>): ProxyChoice {
  const mode = env['BELLHOP_KUBE_PROXY_MODE'] ?? 'iptables'
  if (mode !== 'iptables' && mode !== 'nftables')
    throw new Error(`BELLHOP_KUBE_PROXY_MODE is iptables or nftables, not ${mode}`)
  const program = env['BELLHOP_KUBE_PROXY'] ?? ''
  return program === '' ? { mode } : { mode, program }
}

export interface RealKubeProxyOptions {
  readonly node: { readonly name: string; readonly namespace: Namespace }
  readonly program: string
  readonly mode: KubeProxyMode
  /** As the node sees the API server. */
  readonly kubeconfig: string
  /** For its configuration and log. */
  readonly directory: string
  readonly podPrefixes: { readonly ipv4: string; readonly ipv6: string }
}

const metricsPort = 10249
// Its health check says yes before the first rules are written.
const writtenMetric = 'kubeproxy_sync_proxy_rules_last_timestamp_seconds'

/** Starts it; `synced` when it says that its rules are written. */
export function startRealKubeProxy(options: RealKubeProxyOptions): Omit<KubeProxy, 'syncs'> {
  const { node, directory, program } = options
  const configPath = path.join(directory, `kube-proxy-${node.name}.yaml`)
  writeFileSync(configPath, stringify(configurationOf(options)))
  const child = node.namespace.spawn([program, '--config', configPath, '--v', '2'], {
    logPath: path.join(directory, `kube-proxy-${node.name}.log`),
  })
  const hasWritten = async (): Promise<boolean> => {
    const ended = child.ended()
    if (ended !== undefined) throw new Error(`kube-proxy on ${node.name} has ended: ${child.output()}`)
    const { stdout } = await node.namespace.exec(['curl', '-s', '-m', '2', `http://127.0.0.1:${metricsPort}/metrics`])
    return ['IPv4', 'IPv6'].every((family) => stdout.includes(`${writtenMetric}{ip_family="${family}"} 1.`))
  }
  return {
    synced: waitFor(hasWritten, { what: `kube-proxy on ${node.name}`, timeoutMs: 60_000 }).then(() => {}),
    stop: async () => void (await child.stop()),
  }
}

// Its defaults, but for what a namespace can not have: the size of the connection table is the machine's.
const configurationOf = ({ node, mode, kubeconfig, podPrefixes }: RealKubeProxyOptions): unknown => ({
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  kind: 'KubeProxyConfiguration',
  mode,
  hostnameOverride: node.name,
  clientConnection: { kubeconfig, contentType: 'application/json' },
  clusterCIDR: `${podPrefixes.ipv4},${podPrefixes.ipv6}`,
  detectLocalMode: 'ClusterCIDR',
  metricsBindAddress: `127.0.0.1:${metricsPort}`,
  conntrack: { maxPerCore: 0, min: 0 },
  oomScoreAdj: 0,
})
