// Asking before taking (RFC 5227 section 2.1): of which addresses it is known that nobody on the link has them. The answer is good for one
// taking, since whoever has the address the next time may be another.

import type { Ip } from '../net/ip.ts'
import type { ObservedLink } from './addresses.ts'
import type { Refusals } from './refusals.ts'
import type { Wire } from './wire.ts'

export interface ProbesOptions {
  readonly wire: Pick<Wire, 'probe'>
  readonly refusals: Pick<Refusals, 'failed' | 'inUse' | 'lift'>
  /** No answer counts after it fired. */
  readonly signal: AbortSignal
  /** An answer has come, whatever it says. */
  readonly onAnswer: () => void
}

export interface Probes {
  /** Nobody answered for it. */
  readonly isFree: (address: Ip) => boolean
  /** Asks, unless that is being done. */
  readonly ask: (link: ObservedLink, address: Ip) => void
  /** It was taken, or tried to. */
  readonly spend: (address: Ip) => void
  /** These are ours now. */
  readonly own: (owned: { readonly has: (address: Ip) => boolean }) => void
}

export function createProbes({ wire, refusals, signal, onAnswer }: ProbesOptions): Probes {
  const asking = new Set<Ip>()
  const free = new Set<Ip>()

  const ask = async (link: ObservedLink, address: Ip): Promise<void> => {
    if (asking.has(address)) return
    asking.add(address)
    const answer = await wire.probe(link, address)
    asking.delete(address)
    if (signal.aborted) return
    if (!answer.ok) refusals.failed(address, answer.error.message)
    else if (answer.value !== undefined) refusals.inUse(address, `${answer.value.mac} answers for it on ${link.name}`)
    else {
      refusals.lift(address)
      free.add(address)
    }
    onAnswer()
  }

  return {
    isFree: (address) => free.has(address),
    ask: (link, address) => void ask(link, address),
    spend: (address) => void free.delete(address),
    own: (owned) => {
      for (const address of [...free]) if (!owned.has(address)) free.delete(address)
    },
  }
}
