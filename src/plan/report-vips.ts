// What a Vip's status says: where its traffic goes, who was told, and why not.

import type { Condition, Vip } from '../k8s/objects.ts'
import { rfc3339 } from '../vip/rfc3339.ts'
import type { ReportInput } from './report.ts'
import { toldPeers } from './report-peers.ts'
import { clip, shortList } from './status-text.ts'
import type { VipReport } from './types.ts'

/** What the schema of Vip lets a status hold. */
const nextHopsMax = 5_000

/** The leader's part of a Vip's status. `established`: sessions in this moment, as `establishedPeers` has them. */
export function vipStatus(
  input: ReportInput,
  vip: Vip,
  established: ReadonlySet<string>,
): Readonly<Record<string, unknown>> {
  const planned = input.plan.vips.get(vip.meta.name)
  const hops = planned?.nextHops ?? []
  const generation = vip.meta.generation > 0 ? { observedGeneration: vip.meta.generation } : {}
  const names = vip.services.map(({ namespace, name }) => `${namespace}/${name}`)
  const more = names.length > 1 ? ` +${names.length - 1}` : ''
  return {
    ...generation,
    services: clip(`${names[0] ?? ''}${more}`, 512),
    nextHopNodes: shortList(
      hops.map(({ node }) => node),
      3,
      1024,
    ),
    nextHops: hops.slice(0, nextHopsMax),
    announcedTo: planned === undefined ? [] : toldPeers(planned, established),
    conditions: [{ type: 'Announced', ...announcedOf(input, vip.meta.name, established), ...generation }],
  }
}

/** Whether routers know the VIP, or the first reason why they do not. */
export function announcedOf(
  { view, plan, guarded }: ReportInput,
  name: string,
  established: ReadonlySet<string>,
): Pick<Condition, 'status' | 'reason' | 'message'> {
  const no = (reason: string, message: string): Pick<Condition, 'status' | 'reason' | 'message'> => ({
    status: 'False',
    reason,
    message,
  })
  const planned = plan.vips.get(name)
  const hold = view.vips.get(name)?.hold
  if (hold !== undefined)
    return no('OnHold', `waits for ${hold.namespace}/${hold.name} to return, until ${rfc3339(hold.untilMs)}`)
  if (guarded?.has(name))
    return no('Guarded', 'its withdrawal is one of so many that it waits to be confirmed: it is still announced')
  if (planned === undefined) return no('NoVip', 'no Vip records the address')
  if (planned.refusal !== undefined) return no(planned.refusal.reason, planned.refusal.message + keeping(planned))
  const owner = planned.layer2?.owner
  if (owner !== undefined)
    return { status: 'True', reason: 'Announced', message: `node ${owner.node} answers for it on ${owner.interface}` }
  const told = toldPeers(planned, established)
  const meant = [...planned.peers, ...(planned.nodePeers ?? [])]
  if (told.length === 0) return no('NoEstablishedPeer', `no session is established with ${shortList(meant, 5, 1024)}`)
  const hops = planned.nextHops.length
  const leaving = planned.nextHops.flatMap((hop) => (hop.leaving ? [hop.node] : []))
  const going = leaving.length === 0 ? '' : ` (leaving: ${shortList(leaving, 3, 1024)})`
  const excluded = planned.excluded.slice(0, 3).map(({ node, because }) => `node ${node} ${because}`)
  const left = planned.excluded.length > 3 ? [`and ${planned.excluded.length - 3} more`] : []
  const words = excluded.length === 0 ? '' : `; left out: ${[...excluded, ...left].join(', ')}`
  return {
    status: 'True',
    reason: 'Announced',
    message: clip(
      `${hops} next hop${hops === 1 ? '' : 's'}${going}, told to ${shortList(told, 5, 1024)}${words}`,
      32_768,
    ),
  }
}

const keeping = ({ layer2, refusal }: VipReport): string =>
  layer2?.owner === undefined || layer2.answered !== true || !refusal?.reason.startsWith('No')
    ? ''
    : `; node ${layer2.owner.node} answers for it`
