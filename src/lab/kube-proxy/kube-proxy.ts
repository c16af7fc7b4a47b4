// A stand-in for kube-proxy on one lab node, in iptables or nftables mode: watches Services and EndpointSlices and writes the node's
// tables, one transaction a family, both families. It runs in the lab's process and reaches into the node's
// namespace.
//
//   const proxy = startKubeProxy({ node, client, clock, log, podPrefixes: clusterPodPrefixes })
//   await proxy.synced                                   // the first complete rules are in place
//   await proxy.stop()                                   // the rules stay, as they do when kube-proxy ends

import type { KubeClient } from '../../k8s/client.ts'
import type { IpFamily } from '../../net/ip.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { ExecResult } from '../../runtime/exec.ts'
import type { Log } from '../../runtime/log.ts'
import { watchCollection } from '../kubelet/watched.ts'
import type { Namespace } from '../netns/namespace.ts'
import type { DualStack } from '../topology/addresses.ts'
import { renderNftTable } from './nft-rules.ts'
import { type ObservedTables, parseTables, renderTables } from './rules.ts'
import { proxiedPorts } from './services.ts'

export type KubeProxyMode = 'iptables' | 'nftables'

export interface KubeProxyOptions {
  readonly node: { readonly name: string; readonly namespace: Namespace; readonly address: DualStack }
  readonly client: KubeClient
  readonly clock: Clock
  readonly log: Log
  /** All pods of the cluster: traffic from elsewhere to a cluster IP is masqueraded. */
  readonly podPrefixes: { readonly ipv4: string; readonly ipv6: string }
  /** What the rules are written with. Default `iptables`. */
  readonly mode?: KubeProxyMode
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
  const written = new Map<IpFamily, Written>()
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
      await trigger.wait(waitMs, () => {
        for (const [family, { ports }] of written) written.set(family, { signature: '', ports })
      })
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

interface Written {
  readonly signature: string
  readonly ports: ReturnType<typeof proxiedPorts>
}

// Writes what differs from what was written last; returns what the program complained about.
async function sync(
  { node, podPrefixes, mode = 'iptables' }: KubeProxyOptions,
  ports: ReturnType<typeof proxiedPorts>,
  written: Map<IpFamily, Written>,
): Promise<string | undefined> {
  for (const [family, podPrefix, nodeAddress] of [
    ['IPv4', podPrefixes.ipv4, node.address.ipv4],
    ['IPv6', podPrefixes.ipv6, node.address.ipv6],
  ] as const) {
    const signature = JSON.stringify(ports.filter((port) => port.family === family))
    const before = written.get(family)
    if (before?.signature === signature) continue
    const previous = before === undefined ? {} : { previous: before.ports }
    const result =
      mode === 'nftables'
        ? await node.namespace.exec(['nft', '-f', '-'], {
            input: renderNftTable(family, ports, { podPrefix, nodeAddress, ...previous }),
          })
        : await restore(family === 'IPv4' ? 'iptables' : 'ip6tables', node.namespace, (observed) =>
            renderTables(family, ports, { podPrefix, observed }),
          )
    if (result.status !== 0) {
      // Somebody took away what was there: made anew next time.
      written.delete(family)
      return result.stderr.trim()
    }
    written.set(family, { signature, ports })
  }
  return undefined
}

async function restore(
  program: string,
  namespace: Namespace,
  render: (observed: ObservedTables) => string,
): Promise<ExecResult> {
  const saved = await namespace.exec([`${program}-save`])
  if (saved.status !== 0) return saved
  return namespace.exec([`${program}-restore`, '--noflush', '-w', '5'], { input: render(parseTables(saved.stdout)) })
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
