// Keeps the VIPs that this node owns on its links: looks at the node, takes what is missing, renews what is there, gives up what is not
// ours any more. An address has a lifetime that reaches no further than the proof that we are still its owner (see `provenMs`), so that
// the kernel takes it away when this agent dies, hangs, or is cut off. Nothing is touched before the first complete list.

import type { Ip } from '../net/ip.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import {
  type AddressChange,
  changeAddresses,
  type IpError,
  type ObservedLink,
  type ObservedNode,
  observeNode,
} from './addresses.ts'
import type { Claim } from './frames.ts'
import type { NodeLinks, TakeRefusal } from './links.ts'
import type { OpenPacketSocket, PacketError } from './native-packets.ts'
import { createWire } from './wire.ts'

/** A VIP that this node is to answer for. */
export interface OwnedVip {
  readonly address: Ip
  readonly interface: string
  /** The node that answered for it before: it is known to be Bellhop's, and taken without asking around first. */
  readonly from?: string
}

export interface Layer2Options {
  /** How long a proof lasts: no longer than this do two nodes have one address. */
  readonly holdMs: number
}

/** What the kernel says outside of `ip`. */
export interface KernelFacts {
  /** The node forwards IPv6 packets on the interface. */
  readonly isRouter: (interfaceName: string) => boolean
  /** The node answers ARP on this interface for addresses that are on others (arp_ignore 0). */
  readonly answersForOthers: (interfaceName: string) => boolean
  /** The cable is plugged. */
  readonly hasCarrier: (interfaceName: string) => boolean
}

export interface Layer2Deps {
  readonly exec: Exec
  readonly clock: Clock
  readonly log: Log
  /** Ends the keeping; the addresses stay for `goodbyeSeconds`, so that an update of the agent moves nothing. */
  readonly signal: AbortSignal
  readonly openSocket: OpenPacketSocket
  readonly kernel: KernelFacts
  /** Monotonic time at which it was last certain that nobody can have moved our VIPs without our knowing. */
  readonly provenMs: () => number | undefined
  /** Resolves when a list of the VIPs that is younger than this call has come in by `setVips`. */
  readonly confirm: () => Promise<void>
  /** What `nodeLinks` says is another thing than before. */
  readonly onChange: () => void
}

export interface Layer2Facts {
  /** VIPs on the node by our hand. */
  readonly held: number
  readonly takes: number
  /** By cause. */
  readonly losses: Readonly<Record<'moved' | 'unproven' | 'contested', number>>
  readonly announced: number
  readonly refusals: ReadonlyMap<Ip, TakeRefusal>
  readonly lastError?: IpError
}

export interface Layer2Keeper {
  /** The complete set of VIPs that this node owns. */
  readonly setVips: (vips: readonly OwnedVip[]) => void
  readonly facts: () => Layer2Facts
  /** undefined before the first look. */
  readonly nodeLinks: () => NodeLinks | undefined
  /** Resolves after the signal fired and the addresses were given their last lifetime. */
  readonly ended: Promise<void>
}

/** An agent that ends returns within this time after its last proof, or its addresses go. */
export const goodbyeSeconds = 30

/** Five looks and three renewals in the time that a proof lasts, and no more than one every three seconds. */
const ownerRoundMs = (holdMs: number): number => Math.min(3_000, holdMs / 5)
/** A lifetime that could be longer by more than this is renewed: every other round. */
const renewSeconds = (holdMs: number): number => Math.min(5, holdMs / 3_000)
const idleRoundMs = 10_000
const carrierPollMs = 250
/** A VIP that could not be taken is tried again; soon at first, for who answers may be a former owner that is about to let go. */
const retryMs = 10_000
const retryFirstMs = 1_000
/** How long one who contests us has to convince the API server's list, and how long he is remembered. */
const confirmMs = 3_000
const contestDelayMs = 300
const contestMemoryMs = 60_000
/** So long a node that could not take a VIP goes on saying so after the VIP has gone to another one: nobody gives it back meanwhile. */
const avoidMs = 60_000
/** Rounds in a row of which nothing came: the node cannot be given anything. */
const failedRoundsMax = 2

interface Trouble extends TakeRefusal {
  /** When it is tried again, or forgotten. */
  readonly untilMs: number
  /** When it was last tried. */
  readonly sinceMs: number
}

export function keepLayer2(options: Layer2Options, deps: Layer2Deps): Layer2Keeper {
  const { clock, exec, log, signal } = deps
  let desired: ReadonlyMap<Ip, OwnedVip> | undefined
  let node: ObservedNode | undefined
  let told = ''
  let lastError: IpError | undefined
  let failedRounds = 0
  let takes = 0
  const losses = { moved: 0, unproven: 0, contested: 0 }
  const troubles = new Map<Ip, Trouble>()
  const probing = new Set<Ip>()
  const clean = new Set<Ip>()
  const contested = new Set<Ip>()
  /** Given up to one who contested it; not taken again before a list younger than that says so. */
  const yielded = new Set<Ip>()
  let wake: () => void = () => {}
  let changed = false

  const pull = (): void => {
    changed = true
    wake()
  }
  const wire = createWire({
    open: deps.openSocket,
    clock,
    isRouter: deps.kernel.isRouter,
    onClaim: (claim, interfaceName) => contest(claim, interfaceName),
    onError: (error, interfaceName) => noteWireError(error, interfaceName),
  })
  let wireError = ''
  const noteWireError = ({ message }: PacketError, interfaceName: string): void => {
    if (wireError === message) return
    wireError = message
    log.warn({ event: 'layer2-wire-failed', interface: interfaceName, message })
  }

  // ------------------------------------------------------------------------------------------------- contests

  const contest = ({ address, mac }: Claim, interfaceName: string): void => {
    const isOwn = node?.links.some((link) => link.mac === mac) ?? true
    if (isOwn || contested.has(address) || node?.held.get(address)?.interface !== interfaceName) return
    contested.add(address)
    // Whoever took it in our place is in a list that is on its way to us.
    clock.setTimer(contestDelayMs, () => void settleContest(address, mac, interfaceName))
  }
  const settleContest = async (address: Ip, mac: string, interfaceName: string): Promise<void> => {
    if (signal.aborted) return
    if (desired?.has(address)) {
      const confirmed = await within(deps.confirm(), confirmMs, clock)
      const link = node?.links.find(({ name }) => name === interfaceName)
      if (!confirmed) {
        log.warn({
          event: 'layer2-yielded',
          address,
          to: mac,
          because: 'the API server could not be asked whose it is',
        })
        losses.contested++
        yielded.add(address)
        void deps.confirm().then(
          () => {
            yielded.delete(address)
            pull()
          },
          // Rejected only at the end of the process.
          () => {},
        )
      } else if (desired?.has(address) && link !== undefined && node?.held.has(address)) {
        log.warn({ event: 'layer2-contested', address, by: mac, interface: interfaceName })
        const message = `${mac} says on ${interfaceName} that it has ${address} too`
        const nowMs = clock.monotonicMs()
        const untilMs = nowMs + contestMemoryMs
        troubles.set(address, { reason: 'AddressConflict', message, scope: 'link', untilMs, sinceMs: nowMs })
        wire.announce(link, address, { once: true })
      }
      pull()
    }
    // RFC 5227 section 2.4: an address is defended at most every ten seconds.
    clock.setTimer(retryMs, () => contested.delete(address))
  }

  // --------------------------------------------------------------------------------------------------- rounds

  const provenForMs = (): number => {
    const proven = deps.provenMs()
    return proven === undefined ? 0 : proven + options.holdMs - clock.monotonicMs()
  }

  const round = async (): Promise<void> => {
    const observed = await observeNode(exec)
    if (!observed.ok) {
      if (lastError?.message !== observed.error.message) log.error({ event: 'layer2-failed', ...observed.error })
      lastError = observed.error
      failedRounds++
      return
    }
    lastError = undefined
    failedRounds = 0
    node = observed.value
    if (desired === undefined) return
    await settle(node, desired)
  }

  const settle = async (now: ObservedNode, wanted: ReadonlyMap<Ip, OwnedVip>): Promise<void> => {
    const seconds = Math.floor(provenForMs() / 1000)
    const isProven = seconds >= 1
    const isWanted = (address: Ip): boolean => isProven && wanted.has(address) && !yielded.has(address)
    const removals: AddressChange[] = []
    const additions: AddressChange[] = []
    const renewals: AddressChange[] = []
    for (const [address, held] of now.held) {
      const vip = wanted.get(address)
      if (isWanted(address) && vip?.interface === held.interface) {
        if (held.validSeconds < seconds - renewSeconds(options.holdMs))
          renewals.push({ type: 'renew', address, interface: held.interface, seconds })
        continue
      }
      removals.push({ type: 'remove', address, interface: held.interface })
      wire.silence(address)
      if (vip === undefined) losses.moved++
      else if (!isProven) losses.unproven++
      const because =
        vip === undefined
          ? 'another node owns it'
          : !isProven
            ? 'cut off from the control plane'
            : yielded.has(address)
              ? 'contested'
              : `it belongs on ${vip.interface}`
      log.info({ event: 'layer2-given-up', address, interface: held.interface, because })
    }
    // An address may go without our hand, and whoever has it next is not to be contradicted.
    wire.silenceOthers(new Set([...now.held.keys()].filter(isWanted)))
    for (const address of [...clean]) if (!wanted.has(address)) clean.delete(address)
    for (const [address, { scope, sinceMs }] of troubles)
      if (!wanted.has(address) && (scope === 'link' || clock.monotonicMs() - sinceMs >= avoidMs))
        troubles.delete(address)
    const links = new Map(now.links.map((link) => [link.name, link]))
    for (const vip of wanted.values()) {
      if (!isWanted(vip.address)) continue
      if (now.held.get(vip.address)?.interface === vip.interface) {
        const link = links.get(vip.interface)
        if (link !== undefined) wire.remind(link, vip.address)
        forgetTrouble(vip.address)
        continue
      }
      const link = mayTake(vip, now, links)
      if (link !== undefined) additions.push({ type: 'add', address: vip.address, interface: vip.interface, seconds })
    }
    const failed = await changeAddresses([...removals, ...additions, ...renewals], exec)
    for (const change of additions) taken(change, links.get(change.interface), failed)
    for (const { address, interface: name } of renewals) {
      const why = failed.get(address)
      if (why !== undefined) refuse(address, 'AddressNotSet', `it could not be renewed on ${name}: ${why}`)
    }
    const inUse = new Set([...wanted.values()].map((vip) => vip.interface))
    wire.listenOn(now.links.filter(({ name }) => inUse.has(name)))
    if (removals.length + additions.length > 0) {
      const after = await observeNode(exec)
      if (after.ok) node = after.value
    }
  }

  const forgetTrouble = (address: Ip): void => {
    const trouble = troubles.get(address)
    if (trouble !== undefined && trouble.untilMs <= clock.monotonicMs()) troubles.delete(address)
  }

  /** The link on which the VIP can be taken now; else the reason is noted, or being found out. */
  const mayTake = (
    { address, interface: name, from }: OwnedVip,
    now: ObservedNode,
    links: ReadonlyMap<string, ObservedLink>,
  ): ObservedLink | undefined => {
    const link = links.get(name)
    const elsewhere = now.foreign.get(address)
    // What a look shows is over when the next one does not: nothing has to be tried.
    const seen = { scope: 'node', againMs: 0 } as const
    if (link === undefined) return refuse(address, 'AddressNotSet', `there is no interface ${name} that is up`, seen)
    if (elsewhere !== undefined) {
      const message = `the node has it on ${elsewhere}, and not from Bellhop: take it away there`
      return refuse(address, 'AddressInUse', message, seen)
    }
    if (from !== undefined || clean.has(address)) return link
    const trouble = troubles.get(address)
    // A conflict was about an address that was ours: that it is not any more is no reason to wait.
    const isDue =
      trouble === undefined || trouble.reason === 'AddressConflict' || trouble.untilMs <= clock.monotonicMs()
    if (isDue) void ask(link, address)
    return undefined
  }

  const refuse = (
    address: Ip,
    reason: TakeRefusal['reason'],
    message: string,
    {
      scope = reason === 'AddressNotSet' ? 'node' : 'link',
      againMs = retryMs,
    }: { readonly scope?: TakeRefusal['scope']; readonly againMs?: number } = {},
  ): undefined => {
    if (troubles.get(address)?.message !== message) log.warn({ event: 'layer2-refused', address, reason, message })
    const sinceMs = clock.monotonicMs()
    troubles.set(address, { reason, message, scope, untilMs: sinceMs + againMs, sinceMs })
  }

  const soonThenRarely = (address: Ip): number => {
    const before = troubles.get(address)
    return before?.reason === 'AddressInUse'
      ? Math.min(retryMs, Math.max(retryFirstMs, 2 * (before.untilMs - before.sinceMs)))
      : retryFirstMs
  }

  const ask = async (link: ObservedLink, address: Ip): Promise<void> => {
    if (probing.has(address)) return
    probing.add(address)
    const answer = await wire.probe(link, address)
    probing.delete(address)
    if (signal.aborted) return
    if (!answer.ok) refuse(address, 'AddressNotSet', answer.error.message)
    else if (answer.value !== undefined)
      refuse(address, 'AddressInUse', `${answer.value.mac} answers for it on ${link.name}`, {
        againMs: soonThenRarely(address),
      })
    else {
      troubles.delete(address)
      clean.add(address)
    }
    pull()
  }

  const taken = (
    { address, interface: name }: Pick<AddressChange, 'address' | 'interface'>,
    link: ObservedLink | undefined,
    failed: ReadonlyMap<Ip, string>,
  ): void => {
    const why = failed.get(address)
    // Asked for this time; whoever has it the next time may be another.
    clean.delete(address)
    if (why !== undefined || link === undefined) {
      refuse(address, 'AddressNotSet', `it could not be put on ${name}: ${why ?? 'the interface is gone'}`)
      return
    }
    takes++
    troubles.delete(address)
    wire.announce(link, address)
    log.info({ event: 'layer2-taken', address, interface: name, from: desired?.get(address)?.from ?? '' })
  }

  // ----------------------------------------------------------------------------------------------------- life

  const tell = (): void => {
    const links = nodeLinks()
    const text =
      links === undefined
        ? ''
        : JSON.stringify([links.links, [...(links.holds?.vips ?? [])].sort(), [...links.refusals], links.answersForAll])
    if (text === told) return
    told = text
    deps.onChange()
  }
  const nodeLinks = (): NodeLinks | undefined => {
    if (node === undefined) return undefined
    // Where nothing can be seen nothing can be renewed either, and what is there goes.
    const links = failedRounds >= failedRoundsMax ? [] : node.links
    const refusals = [...troubles].map(
      ([address, { reason, message, scope }]) => [address, { reason, message, scope }] as const,
    )
    return {
      links: links.map(({ name, mac, subnets }) => ({ name, mac, subnets })),
      holds: { vips: answeredOn(links), more: false },
      refusals: new Map(refusals),
      answersForAll: node.ipvs && links.some(({ name }) => deps.kernel.answersForOthers(name)),
    }
  }
  const answeredOn = (links: readonly ObservedLink[]): ReadonlySet<Ip> => {
    const up = new Set(links.map(({ name }) => name))
    return new Set([...(node?.held ?? [])].flatMap(([address, held]) => (up.has(held.interface) ? [address] : [])))
  }

  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      changed = false
      await round()
      tell()
      if (!changed) await rest()
    }
    wire.close()
    await sayGoodbye()
  }
  const rest = (): Promise<void> =>
    new Promise((resolve) => {
      const busy = (desired?.size ?? 0) > 0 || (node?.held.size ?? 0) > 0
      const cancels: CancelTimer[] = []
      wake = () => {
        for (const cancel of cancels) cancel()
        stopWatching()
        signal.removeEventListener('abort', wake)
        resolve()
      }
      const stopWatching = busy ? watchCarriers() : () => {}
      cancels.push(clock.setTimer(busy ? ownerRoundMs(options.holdMs) : idleRoundMs, wake))
      signal.addEventListener('abort', wake)
      if (signal.aborted) wake()
    })
  // The kernel keeps an address on a link without carrier: the controllers have to hear of it, and soon.
  const watchCarriers = (): CancelTimer => {
    const names = [...new Set([...(desired?.values() ?? [])].map((vip) => vip.interface))]
    const state = (): string => names.map((name) => (deps.kernel.hasCarrier(name) ? '1' : '0')).join('')
    const before = state()
    let cancel: CancelTimer = () => {}
    const look = (): void => {
      cancel = clock.setTimer(carrierPollMs, () => (state() === before ? look() : pull()))
    }
    look()
    return () => cancel()
  }
  const sayGoodbye = async (): Promise<void> => {
    const spentMs = options.holdMs - provenForMs()
    const seconds = Math.floor(goodbyeSeconds - spentMs / 1000)
    if (node === undefined || desired === undefined || spentMs >= options.holdMs - 1000) return
    const changes = [...node.held]
      .filter(([address]) => desired?.has(address))
      .map(([address, held]) => ({
        type: 'renew' as const,
        ...{ address, interface: held.interface, seconds },
      }))
    await changeAddresses(changes, exec)
  }

  return {
    setVips: (vips) => {
      const next = new Map(vips.map((vip) => [vip.address, vip]))
      const same =
        desired !== undefined &&
        desired.size === next.size &&
        vips.every(({ address, interface: name, from }) => {
          const before = desired?.get(address)
          return before?.interface === name && before.from === from
        })
      desired = next
      if (!same) pull()
    },
    facts: () => ({
      held: node?.held.size ?? 0,
      takes,
      losses,
      announced: wire.announced(),
      refusals: nodeLinks()?.refusals ?? new Map(),
      ...(lastError === undefined ? {} : { lastError }),
    }),
    nodeLinks,
    ended: run(),
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
