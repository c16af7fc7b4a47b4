// When BFD with a router begins: a moment after BGP is up. Only then do some routers know the addresses of the session and make it
// anew (FRR 8.4: a BFD that was up before BGP costs it the BGP session). A router that insists on BFD first (strict mode) shows itself
// by speaking BFD without BGP coming up; it is answered after some patience, and at once from then on.

import type { CancelTimer, Clock } from '../../runtime/clock.ts'

export interface BfdTurn {
  /** Whether BFD may be spoken with the router of this peer. */
  readonly isUp: (peer: string) => boolean
  /** BGP has just come up, and BFD could not yet. */
  readonly isStarting: (peer: string) => boolean
  /** BFD is configured, maybe beside a BGP session that has been up for long. */
  readonly begin: (peer: string) => void
  /** `bfdUp`: as it is at this moment. */
  readonly bgpChanged: (peer: string, state: { readonly established: boolean; readonly bfdUp: boolean }) => void
  /** The router speaks BFD while it is not BFD's turn. */
  readonly heard: (peer: string) => void
  /** BFD with the router has gone down. */
  readonly bfdDown: (peer: string) => void
  /** Whoever is not among these is forgotten. */
  readonly keep: (peers: ReadonlySet<string>) => void
  readonly stop: () => void
}

/** From BGP's beginning to BFD's: what the router makes anew then is there. */
export const settleMs = 1000
/** For how long a router that speaks BFD is given the time to come up with BGP. */
export const patienceMs = 10_000

/** From BFD's beginning to when it should be up: both begin with a packet a second. */
const answerMs = 5000

type Standing =
  /** Waits for BGP. */
  | { readonly name: 'waiting' }
  /** BGP is up, or the router was heard: the timer decides. */
  | { readonly name: Passing; readonly cancel: CancelTimer }
  | { readonly name: 'with-bgp' | 'before-bgp' }
type Passing = 'settling' | 'starting' | 'patient'

const waiting: Standing = { name: 'waiting' }

export interface BfdTurnOptions {
  readonly clock: Clock
  /** Whether the router still speaks BFD. */
  readonly isHeard: (peer: string) => boolean
  /** What is said here of a peer is something else because of the time that passed. */
  readonly changed: () => void
}

export function createBfdTurn({ clock, isHeard, changed }: BfdTurnOptions): BfdTurn {
  const standings = new Map<string, Standing>()
  /** Peers that came up with BFD first. */
  const insisting = new Set<string>()

  const standingOf = (peer: string): Standing => standings.get(peer) ?? waiting
  const become = (peer: string, standing: Standing): void => {
    const before = standingOf(peer)
    if ('cancel' in before) before.cancel()
    standings.set(peer, standing)
  }
  const pass = (peer: string, name: Passing, afterMs: number, then: () => void): void => {
    const cancel = clock.setTimer(afterMs, () => {
      then()
      changed()
    })
    become(peer, { name, cancel })
  }
  const start = (peer: string): void => pass(peer, 'starting', answerMs, () => become(peer, { name: 'with-bgp' }))

  return {
    isUp: (peer) => {
      const { name } = standingOf(peer)
      return name === 'starting' || name === 'with-bgp' || name === 'before-bgp' || insisting.has(peer)
    },
    isStarting: (peer) => {
      const { name } = standingOf(peer)
      return name === 'settling' || name === 'starting'
    },
    begin: (peer) => {
      if (standingOf(peer).name === 'with-bgp') start(peer)
    },
    bgpChanged: (peer, { established, bfdUp }) => {
      const { name } = standingOf(peer)
      if (!established) {
        if (name !== 'patient' && name !== 'before-bgp') become(peer, waiting)
      } else if (name === 'before-bgp') {
        if (bfdUp) insisting.add(peer)
        become(peer, { name: 'with-bgp' })
      } else if (name === 'waiting' || name === 'patient') pass(peer, 'settling', settleMs, () => start(peer))
    },
    heard: (peer) => {
      if (standingOf(peer).name !== 'waiting') return
      pass(peer, 'patient', patienceMs, () => become(peer, isHeard(peer) ? { name: 'before-bgp' } : waiting))
    },
    bfdDown: (peer) => {
      if (standingOf(peer).name === 'before-bgp') become(peer, waiting)
    },
    keep: (peers) => {
      for (const peer of standings.keys())
        if (!peers.has(peer)) {
          become(peer, waiting)
          standings.delete(peer)
        }
      for (const peer of insisting) if (!peers.has(peer)) insisting.delete(peer)
    },
    stop: () => {
      for (const peer of standings.keys()) become(peer, waiting)
    },
  }
}
