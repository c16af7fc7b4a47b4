// The leader's hand in mode layer2: writes into the Vips who answers for them, as the plan has it. At once and one by one, beside the
// statuses and their pace: until it is written nobody answers for the VIPs of a node that died.

import type { KubeClient } from '../k8s/client.ts'
import type { ClusterStore } from '../k8s/cluster-store.ts'
import type { EventNote } from '../k8s/events.ts'
import type { Fence } from '../k8s/fence.ts'
import { createFencedRequests } from '../k8s/fenced-requests.ts'
import type { Vip, VipLayer2 } from '../k8s/objects.ts'
import { createVipWriter, type VipWriter } from '../k8s/vip-writer.ts'
import type { Layer2Node } from '../layer2/links.ts'
import type { Plan, VipReport } from '../plan/types.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { createTrigger, type Trigger } from '../runtime/trigger.ts'

export interface Layer2OwnersOptions {
  readonly client: KubeClient
  readonly store: ClusterStore
  readonly clock: Clock
  readonly log: Log
  readonly plan: () => Plan | undefined
  /** Records an Event. */
  readonly note: (note: EventNote) => void
}

export interface Layer2Owners {
  readonly begin: (fence: Fence) => void
  /** These Vips have another plan than before. */
  readonly changed: (vips: ReadonlySet<string>) => void
  readonly stop: () => Promise<void>
}

/** As for allocation: enough to fill a round trip, few enough for a small API server. */
const concurrency = 32
const retryMs = 500
/** A conflict: a status was written meanwhile, and the newer version is on its way to the view. */
const conflictRetryMs = 20

export function createLayer2Owners(options: Layer2OwnersOptions): Layer2Owners {
  const { store, clock, log } = options
  const pending = new Set<string>()
  let leading: { readonly fence: Fence; readonly writer: VipWriter } | undefined

  const isDue = (report: VipReport | undefined): boolean => report?.layer2 !== undefined && !report.layer2.settled

  const pass = async (): Promise<void> => {
    const names = pending.values()
    const worker = async (): Promise<void> => {
      for (const name of names) {
        pending.delete(name)
        if (!leading?.fence.holds()) continue
        const againMs = await write(name, leading.writer)
        if (againMs !== undefined) retry(name, againMs)
      }
    }
    await Promise.all(Array.from({ length: Math.min(concurrency, pending.size) }, worker))
  }
  const trigger: Trigger = createTrigger(pass, {
    clock,
    onError: (error) => log.error({ event: 'layer2-owners-failed', message: String(error) }),
  })
  const retry = (name: string, afterMs: number): void => {
    clock.setTimer(afterMs, () => {
      if (!isDue(options.plan()?.vips.get(name))) return
      pending.add(name)
      trigger.pull()
    })
  }

  /** Returns after how long to try again, or undefined when there is no need to. */
  const write = async (name: string, writer: VipWriter): Promise<number | undefined> => {
    const report = options.plan()?.vips.get(name)
    const vip = store.view().vips.get(name)
    if (vip === undefined || report === undefined || !isDue(report)) return undefined
    const owner = nextOwner(vip, report, options.plan()?.layer2.get(vip.layer2?.node ?? '')?.agent)
    const written = await writer.setVipOwner({ name, resourceVersion: vip.meta.resourceVersion }, owner)
    if (!written.ok) {
      const { status, reason, message } = written.error
      const level = status === 409 || status === 404 ? 'debug' : 'warn'
      log[level]({ event: 'layer2-owner-not-written', vip: name, status, reason, message })
      return status === 409 ? conflictRetryMs : retryMs
    }
    log.info({ event: 'layer2-owner', vip: name, node: owner?.node ?? '', from: vip.layer2?.node ?? '' })
    for (const note of notesOf(vip, owner, report)) options.note(note)
    return undefined
  }

  return {
    begin: (fence) => {
      const { absorb, absorbDeletion } = store
      const requests = createFencedRequests({ client: options.client, absorb, fence })
      const writer = createVipWriter({ requests, absorbDeletion })
      leading = { fence, writer }
      for (const [name, report] of options.plan()?.vips ?? []) if (isDue(report)) pending.add(name)
      trigger.pull()
    },
    changed: (vips) => {
      const plan = options.plan()
      for (const name of vips) {
        if (isDue(plan?.vips.get(name))) pending.add(name)
        else pending.delete(name)
      }
      // A replica that does not lead remembers nothing: it looks at the whole plan when it is elected.
      if (leading === undefined || !leading.fence.holds()) pending.clear()
      else if (pending.size > 0) trigger.pull()
    },
    stop: () => trigger.stop(),
  }
}

// Who had it before is named, so that the next one takes it without asking around; the same node on another link is that, too. One that
// refuses may never have had it: then the next one asks as well.
function nextOwner(
  { address, layer2 }: Vip,
  { layer2: planned }: VipReport,
  before: Layer2Node | undefined,
): VipLayer2 | undefined {
  if (planned?.owner === undefined) return undefined
  const from = before?.refusals.has(address) ? layer2?.from : layer2?.node
  return { ...planned.owner, ...(from === undefined ? {} : { from }) }
}

function notesOf(vip: Vip, owner: VipLayer2 | undefined, { refusal }: VipReport): readonly EventNote[] {
  if (owner === undefined && (refusal === undefined || refusal.reason === 'NoService')) return []
  const before = vip.layer2 === undefined ? '' : ` (before: node ${vip.layer2.node})`
  const said =
    owner === undefined
      ? ({
          severity: 'Warning',
          reason: 'AddressUnanswered',
          message: `no node answers for ${vip.address}: ${refusal?.message}`,
        } as const)
      : ({
          severity: 'Normal',
          reason: vip.layer2 === undefined ? 'AddressAnswered' : 'AddressMoved',
          message: `node ${owner.node} is to answer for ${vip.address} on ${owner.interface}${before}`,
        } as const)
  return vip.services.map(({ namespace, name, uid }) => ({
    subject: { apiVersion: 'v1', kind: 'Service', namespace, name, uid },
    ...said,
  }))
}
