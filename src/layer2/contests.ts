// Somebody else on the link says that he has a VIP of ours. Whoever moved it has written so, and the list knows: it is asked, and what it
// says decides whether we defend the address (RFC 5227 section 2.4) or let it go. Who cannot ask lets go until he can.

import type { Ip } from '../net/ip.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { Claim } from './frames.ts'
import type { NodeView } from './node-view.ts'
import type { Refusals } from './refusals.ts'
import type { Wire } from './wire.ts'

export interface ContestsOptions {
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
  /** Resolves when a list of the VIPs that is younger than this call has come in. */
  readonly confirm: () => Promise<void>
  /** By the list that came in last. */
  readonly isOwned: (address: Ip) => boolean
  readonly view: Pick<NodeView, 'node'>
  readonly wire: Pick<Wire, 'announce'>
  readonly refusals: Pick<Refusals, 'conflict'>
  /** An address was defended, or is to go, or to come back. */
  readonly onSettled: () => void
}

export interface Contests {
  /** A claim was heard; our own come back where a switch sends them back. */
  readonly heard: (claim: Claim, interfaceName: string) => void
  /** Given up to one who contested it; not taken again before a list younger than that says so. */
  readonly yielded: ReadonlySet<Ip>
  /** How often one was. */
  readonly yields: () => number
}

/** How long the API server has for the list that decides. */
const confirmMs = 3_000
/** Whoever took it in our place is in a list that is on its way to us. */
const settleAfterMs = 300
/** RFC 5227 section 2.4: an address is defended at most every ten seconds. */
const defendEveryMs = 10_000

export function createContests(options: ContestsOptions): Contests {
  const { clock, log, signal, confirm, isOwned, view, wire, refusals, onSettled } = options
  const contested = new Set<Ip>()
  const yielded = new Set<Ip>()
  let yields = 0

  const giveWay = (address: Ip, mac: string): void => {
    const because = 'the API server could not be asked whose it is'
    log.warn({ event: 'layer2-yielded', address, to: mac, because })
    yields++
    yielded.add(address)
    void confirm().then(
      () => {
        yielded.delete(address)
        onSettled()
      },
      // Rejected only at the end of the process.
      () => {},
    )
  }
  const defend = (address: Ip, mac: string, interfaceName: string): void => {
    const { node } = view
    const link = node?.links.find(({ name }) => name === interfaceName)
    if (link === undefined || !node?.held.has(address)) return
    log.warn({ event: 'layer2-contested', address, by: mac, interface: interfaceName })
    refusals.conflict(address, `${mac} says on ${interfaceName} that it has ${address} too`)
    wire.announce(link, address, { once: true })
  }
  const settle = async (address: Ip, mac: string, interfaceName: string): Promise<void> => {
    if (signal.aborted) return
    if (isOwned(address)) {
      if (!(await within(confirm(), confirmMs, clock))) giveWay(address, mac)
      else if (isOwned(address)) defend(address, mac, interfaceName)
      onSettled()
    }
    clock.setTimer(defendEveryMs, () => contested.delete(address))
  }

  return {
    yielded,
    yields: () => yields,
    heard: ({ address, mac }, interfaceName) => {
      const { node } = view
      const isOwn = node?.links.some((link) => link.mac === mac) ?? true
      if (isOwn || contested.has(address) || node?.held.get(address)?.interface !== interfaceName) return
      contested.add(address)
      clock.setTimer(settleAfterMs, () => void settle(address, mac, interfaceName))
    },
  }
}

/** Whether the work is done within the time. */
function within(work: Promise<void>, ms: number, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.setTimer(ms, () => resolve(false))
    work.then(
      () => {
        cancel()
        resolve(true)
      },
      () => resolve(false),
    )
  })
}
