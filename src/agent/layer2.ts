// The agent's part in layer 2: which VIPs are this node's, and how certain that is. Wiring only.

import type { Heartbeat } from '../k8s/heartbeat.ts'
import type { OwnedVip } from '../layer2/address-plan.ts'
import { keepLayer2, type Layer2Deps, type Layer2Keeper } from '../layer2/keeper.ts'
import { systemKernelFacts } from '../layer2/kernel-facts.ts'
import { openNativePacketSocket } from '../layer2/native-packets.ts'
import { createTrigger } from '../runtime/trigger.ts'
import type { NodeVip, NodeVips } from './node-vips.ts'

export interface AgentLayer2Options extends Pick<Layer2Deps, 'exec' | 'clock' | 'log' | 'signal'> {
  readonly node: string
  /** How long the node answers on without any sign of the control plane. */
  readonly holdSeconds: number
  readonly vips: Pick<NodeVips, 'all' | 'synced' | 'onChange' | 'confirm'>
  readonly heartbeat: Pick<Heartbeat, 'facts' | 'renew'>
  /** A controller is heard at this moment. */
  readonly hearsController: () => boolean
}

/**
 * How long a node answers on without any sign of the control plane, unless it is told otherwise. A node that the controllers have
 * given up answers for its VIPs no longer than this beside their new owners.
 */
export const defaultHoldSeconds = 15

/** So often the agent's Lease is renewed: a sign arrives, and a failed renewal is repeated, before the time is over. */
export const leaseRenewSeconds = (holdSeconds: number): number => Math.floor((holdSeconds * 2) / 3)

/** Least time between two renewals of the Lease for what it says of links and VIPs: each is a write, and many Services may come at once. */
const tellEveryMs = 250

/** Keeps what this node owns. */
export function startLayer2(options: AgentLayer2Options): Layer2Keeper {
  const { node, vips, heartbeat, clock } = options
  const news = createTrigger(() => heartbeat.renew(), {
    ...{ clock, intervalMs: tellEveryMs },
    onError: (error) => {
      throw error
    },
  })
  options.signal.addEventListener('abort', () => void news.stop(), { once: true })
  const keeper = keepLayer2(
    { holdMs: options.holdSeconds * 1000 },
    {
      ...options,
      openSocket: openNativePacketSocket,
      kernel: systemKernelFacts,
      provenMs: () => (options.hearsController() ? clock.monotonicMs() : heartbeat.facts().renewedMonotonicMs),
      confirm: async () => {
        await vips.confirm()
        // Whoever asked goes by it at once, and what is listed is told a turn later.
        tell()
      },
      onChange: news.pull,
    },
  )
  const tell = (): void => {
    if (vips.synced()) keeper.setVips(ownedBy(node, vips.all()))
  }
  vips.onChange(tell)
  tell()
  return keeper
}

/** The VIPs that the leader has given to the node. */
export const ownedBy = (node: string, vips: Iterable<NodeVip>): readonly OwnedVip[] =>
  [...vips].flatMap(({ rules: { address }, layer2, deleting }) =>
    layer2?.node !== node || deleting
      ? []
      : [{ address, interface: layer2.interface, ...(layer2.from === undefined ? {} : { from: layer2.from }) }],
  )
