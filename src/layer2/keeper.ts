// Keeps the VIPs that this node owns on its links: looks at the node, takes what is missing, renews what is there, gives up what is not
// ours any more. An address has a lifetime that reaches no further than the proof that we are still its owner (see `provenMs`), so that
// the kernel takes it away when this agent dies, hangs, or is cut off. Nothing is touched before the first complete list.

import type { Ip } from '../net/ip.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import { type AddressPlan, type GivenUp, type OwnedVip, placeOf, planAddresses } from './address-plan.ts'
import { type AddressChange, changeAddresses, type IpError, type ObservedNode } from './addresses.ts'
import { type Contests, createContests } from './contests.ts'
import type { NodeLinks, TakeRefusal } from './links.ts'
import type { OpenPacketSocket, PacketError } from './native-packets.ts'
import { createNodeView, type NodeView } from './node-view.ts'
import { createProbes, type Probes } from './probes.ts'
import { createRefusals, type Refusals } from './refusals.ts'
import { createRoundPace, type RoundPace } from './round-pace.ts'
import { createWire, type Wire } from './wire.ts'

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
const idleRoundMs = 10_000

export function keepLayer2(options: Layer2Options, deps: Layer2Deps): Layer2Keeper {
  return new Keeper(options, deps)
}

class Keeper implements Layer2Keeper {
  readonly #holdMs: number
  readonly #deps: Layer2Deps
  readonly #view: NodeView
  readonly #wire: Wire
  readonly #refusals: Refusals
  readonly #probes: Probes
  readonly #contests: Contests
  readonly #pace: RoundPace
  /** undefined before the first complete list. */
  #owned: ReadonlyMap<Ip, OwnedVip> | undefined
  #takes = 0
  readonly #losses = { moved: 0, unproven: 0 }
  /** What `onChange` was last called for. */
  #told = ''
  #wireError = ''
  readonly ended: Promise<void>

  constructor({ holdMs }: Layer2Options, deps: Layer2Deps) {
    const { clock, exec, log, signal, kernel, confirm } = deps
    this.#holdMs = holdMs
    this.#deps = deps
    this.#pace = createRoundPace({ clock, signal, hasCarrier: kernel.hasCarrier })
    this.#view = createNodeView({ exec, log })
    this.#refusals = createRefusals({ clock, log })
    this.#wire = createWire({
      ...{ clock, open: deps.openSocket, isRouter: kernel.isRouter },
      onClaim: (claim, interfaceName) => this.#contests.heard(claim, interfaceName),
      onError: (error, interfaceName) => this.#noteWireError(error, interfaceName),
    })
    const parts = { wire: this.#wire, refusals: this.#refusals, view: this.#view }
    this.#probes = createProbes({ ...parts, signal, onAnswer: this.#pace.pull })
    this.#contests = createContests({
      ...{ ...parts, clock, log, signal, confirm },
      isOwned: (address) => this.#owned?.has(address) === true,
      onSettled: this.#pace.pull,
    })
    this.ended = this.#run()
  }

  readonly setVips = (vips: readonly OwnedVip[]): void => {
    const before = this.#owned
    this.#owned = new Map(vips.map((vip) => [vip.address, vip]))
    const isSame =
      before !== undefined &&
      before.size === this.#owned.size &&
      vips.every(({ address, interface: name, from }) => {
        const known = before.get(address)
        return known?.interface === name && known.from === from
      })
    if (!isSame) this.#pace.pull()
  }

  readonly facts = (): Layer2Facts => {
    const { node, lastError } = this.#view
    return {
      held: node?.held.size ?? 0,
      takes: this.#takes,
      losses: { ...this.#losses, contested: this.#contests.yields() },
      announced: this.#wire.announced(),
      refusals: this.#refusals.told(),
      ...(lastError === undefined ? {} : { lastError }),
    }
  }

  readonly nodeLinks = (): NodeLinks | undefined => {
    const { node } = this.#view
    if (node === undefined) return undefined
    const links = this.#view.links()
    return {
      links: links.map(({ name, mac, subnets }) => ({ name, mac, subnets })),
      holds: { vips: this.#view.answered(), more: false },
      refusals: this.#refusals.told(),
      answersForAll: node.ipvs && links.some(({ name }) => this.#deps.kernel.answersForOthers(name)),
    }
  }

  // ----------------------------------------------------------------------------------------------------- life

  async #run(): Promise<void> {
    while (!this.#deps.signal.aborted) {
      const node = await this.#view.look()
      if (node !== undefined && this.#owned !== undefined) await this.#settle(node, this.#owned)
      this.#tell()
      await this.#rest()
    }
    this.#wire.close()
    await this.#sayGoodbye()
  }

  #rest(): Promise<void> {
    const vips = [...(this.#owned?.values() ?? [])]
    const isBusy = vips.length > 0 || (this.#view.node?.held.size ?? 0) > 0
    return this.#pace.rest(
      isBusy ? ownerRoundMs(this.#holdMs) : idleRoundMs,
      vips.map((vip) => vip.interface),
    )
  }

  #tell(): void {
    const said = this.nodeLinks()
    if (said === undefined) return
    const { links, holds, refusals, answersForAll } = said
    const text = JSON.stringify([links, [...(holds?.vips ?? [])].sort(), [...refusals], answersForAll])
    if (text === this.#told) return
    this.#told = text
    this.#deps.onChange()
  }

  /** How long the last proof still lasts; may be negative. */
  #provenForMs(): number {
    const proven = this.#deps.provenMs()
    return proven === undefined ? 0 : proven + this.#holdMs - this.#deps.clock.monotonicMs()
  }

  async #sayGoodbye(): Promise<void> {
    const { node } = this.#view
    const spentMs = this.#holdMs - this.#provenForMs()
    if (node === undefined || this.#owned === undefined || spentMs >= this.#holdMs - 1000) return
    const seconds = Math.floor(goodbyeSeconds - spentMs / 1000)
    const changes = [...node.held].flatMap(([address, held]): readonly AddressChange[] =>
      this.#owned?.has(address) ? [{ type: 'renew', address, interface: held.interface, seconds }] : [],
    )
    await changeAddresses(changes, this.#deps.exec)
  }

  #noteWireError({ message }: PacketError, interfaceName: string): void {
    if (this.#wireError === message) return
    this.#wireError = message
    this.#deps.log.warn({ event: 'layer2-wire-failed', interface: interfaceName, message })
  }

  // -------------------------------------------------------------------------------------------------- a round

  async #settle(node: ObservedNode, owned: ReadonlyMap<Ip, OwnedVip>): Promise<void> {
    const seconds = Math.floor(this.#provenForMs() / 1000)
    const { yielded } = this.#contests
    const plan = planAddresses(node, { owned, yielded, provenSeconds: seconds, holdMs: this.#holdMs })
    this.#refusals.own(owned)
    this.#probes.own(owned)
    for (const givenUp of plan.givenUp) this.#noteGivenUp(givenUp, owned)
    this.#keepSaying(plan, node)
    const takeable = plan.missing.filter((vip) => this.#mayTake(vip, node))
    const removals = plan.givenUp.map(({ address, interface: name }): AddressChange => {
      return { type: 'remove', address, interface: name }
    })
    const additions = takeable.map(({ address, interface: name }): AddressChange => {
      return { type: 'add', address, interface: name, seconds }
    })
    const failed = await changeAddresses([...removals, ...additions, ...plan.renewals], this.#deps.exec)
    for (const vip of takeable) this.#taken(vip, node, failed.get(vip.address))
    for (const { address, interface: name } of plan.renewals) {
      const why = failed.get(address)
      if (why !== undefined) this.#refusals.failed(address, `it could not be renewed on ${name}: ${why}`)
    }
    const inUse = new Set([...owned.values()].map((vip) => vip.interface))
    this.#wire.listenOn(node.links.filter(({ name }) => inUse.has(name)))
    if (removals.length + additions.length > 0) await this.#view.lookAgain()
  }

  #noteGivenUp({ address, interface: name, because }: GivenUp, owned: ReadonlyMap<Ip, OwnedVip>): void {
    if (because === 'moved' || because === 'unproven') this.#losses[because]++
    const words = {
      moved: 'another node owns it',
      unproven: 'cut off from the control plane',
      contested: 'contested',
      misplaced: `it belongs on ${owned.get(address)?.interface}`,
    }
    this.#deps.log.info({ event: 'layer2-given-up', address, interface: name, because: words[because] })
  }

  #keepSaying({ kept }: AddressPlan, { links }: ObservedNode): void {
    // An address may also go without our hand, and whoever has it next is not to be contradicted.
    this.#wire.silenceOthers(new Set(kept.map(({ address }) => address)))
    for (const { address, interface: name } of kept) {
      const link = links.find((candidate) => candidate.name === name)
      if (link !== undefined) this.#wire.remind(link, address)
      this.#refusals.have(address)
    }
  }

  /** Whether the VIP can be taken now; else the reason is noted, or being found out. */
  #mayTake(vip: OwnedVip, node: ObservedNode): boolean {
    const { address, from } = vip
    const place = placeOf(vip, node)
    if (!place.ok) {
      this.#refusals.noPlace(address, place.error)
      return false
    }
    if (from !== undefined || this.#probes.isFree(address)) return true
    if (this.#refusals.mayTry(address)) this.#probes.ask(place.value, address)
    return false
  }

  #taken(vip: OwnedVip, { links }: ObservedNode, failure: string | undefined): void {
    const { address, interface: name, from = '' } = vip
    this.#probes.spend(address)
    const link = links.find((candidate) => candidate.name === name)
    if (failure !== undefined || link === undefined) {
      this.#refusals.failed(address, `it could not be put on ${name}: ${failure ?? 'the interface is gone'}`)
      return
    }
    this.#takes++
    this.#refusals.lift(address)
    this.#wire.announce(link, address)
    this.#deps.log.info({ event: 'layer2-taken', address, interface: name, from })
  }
}
