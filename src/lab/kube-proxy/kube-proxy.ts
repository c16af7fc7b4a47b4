// A stand-in for kube-proxy on one lab node, in iptables mode: watches Services and EndpointSlices and writes the node's
// nat and filter tables, one transaction a family, both families. It runs in the lab's process and reaches into the node's
// namespace.
//
//   const proxy = startKubeProxy({ node, client, clock, log, podPrefixes: clusterPodPrefixes })
//   await proxy.synced                                   // the first complete rules are in place
//   await proxy.stop()                                   // the rules stay, as they do when kube-proxy ends

import type { KubeClient } from '../../k8s/client.ts'
import type { IpFamily } from '../../net/ip.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { watchCollection } from '../kubelet/watched.ts'
import type { Namespace } from '../netns/namespace.ts'
import { parseTables, renderTables } from './rules.ts'
import { proxiedPorts } from './services.ts'

export interface KubeProxyOptions {
  readonly node: { readonly name: string; readonly namespace: Namespace }
  readonly client: KubeClient
  readonly clock: Clock
  readonly log: Log
  /** All pods of the cluster: traffic from elsewhere to a cluster IP is masqueraded. */
  readonly podPrefixes: { readonly ipv4: string; readonly ipv6: string }
  /** `iptables`, or `iptables-legacy`: what the rules are written with. Default `iptables`. */
  readonly iptables?: 'iptables' | 'iptables-nft' | 'iptables-legacy'
}

export interface KubeProxy {
  readonly synced: Promise<void>
  /** How often the rules were written. */
  readonly syncs: () => number
  readonly stop: () => Promise<void>
}

const retryMs = 500
// What others did to the rules is undone at the latest then, as with the real one.
const fullSyncMs = 30_000

/** Starts the proxy of a node. */
export function startKubeProxy(options: KubeProxyOptions): KubeProxy {
  const ending = new AbortController()
  const trigger = createTrigger(options.clock)
  const watch = (path: string) =>
    watchCollection({
      client: options.client,
      clock: options.clock,
      path,
      signal: ending.signal,
      onChange: trigger.fire,
    })
  const services = watch('/api/v1/services')
  const slices = watch('/apis/discovery.k8s.io/v1/endpointslices')
  const written = new Map<IpFamily, string>()
  const first = Promise.withResolvers<void>()
  let syncs = 0

  const run = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      const wanted = services.objects()
      const endpoints = slices.objects()
      let waitMs = fullSyncMs
      if (wanted !== undefined && endpoints !== undefined) {
        const ports = proxiedPorts(wanted.values(), endpoints.values(), options.node.name)
        const error = await sync(options, ports, written)
        if (error === undefined) {
          syncs++
          first.resolve()
        } else {
          waitMs = retryMs
          options.log.warn({ event: 'kube-proxy-sync-failed', node: options.node.name, error })
        }
      }
      await trigger.wait(waitMs, () => written.clear())
    }
  }
  const running = run()
  return {
    synced: first.promise,
    syncs: () => syncs,
    stop: async () => {
      ending.abort()
      trigger.fire()
      await Promise.all([running, services.ended, slices.ended])
    },
  }
}

// Writes what differs from what was written last; returns what iptables complained about.
async function sync(
  { node, podPrefixes, iptables = 'iptables' }: KubeProxyOptions,
  ports: ReturnType<typeof proxiedPorts>,
  written: Map<IpFamily, string>,
): Promise<string | undefined> {
  for (const [family, program, podPrefix] of [
    ['IPv4', iptables, podPrefixes.ipv4],
    ['IPv6', iptables.replace('iptables', 'ip6tables'), podPrefixes.ipv6],
  ] as const) {
    const signature = JSON.stringify(ports.filter((port) => port.family === family))
    if (written.get(family) === signature) continue
    const saved = await node.namespace.exec([`${program}-save`])
    const input = renderTables(family, ports, { podPrefix, observed: parseTables(saved.stdout) })
    const restored = await node.namespace.exec([`${program}-restore`, '--noflush', '-w', '5'], { input })
    if (saved.status !== 0 || restored.status !== 0) return (saved.stderr || restored.stderr).trim()
    written.set(family, signature)
  }
  return undefined
}

interface Trigger {
  readonly fire: () => void
  /** Resolves when fired since the last wait, or after `ms`, which `onTimeout` is told. */
  readonly wait: (ms: number, onTimeout: () => void) => Promise<void>
}

function createTrigger(clock: Clock): Trigger {
  let fired = false
  let wake: (() => void) | undefined
  return {
    fire: () => {
      fired = true
      wake?.()
    },
    wait: (ms, onTimeout) =>
      new Promise((resolve) => {
        const end = (): void => {
          fired = false
          wake = undefined
          cancel()
          resolve()
        }
        const cancel = clock.setTimer(ms, () => {
          onTimeout()
          end()
        })
        wake = end
        if (fired) end()
      }),
  }
}
