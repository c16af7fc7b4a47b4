// What the agent attests on its Lease: up to which version of the Vips the rules are in place. Said at once when a VIP was added,
// because routes wait for it, but at most once a second, because a cluster has many agents and one API server.

import { bootAnnotation, inPlaceAnnotation } from '../liveness/lease-annotations.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'

export interface AttestationOptions {
  /** Of this start of the node. */
  readonly bootId: string
  readonly clock: Clock
  /** Renews the Lease now. */
  readonly renew: () => void
  readonly signal: AbortSignal
}

export interface Attestation<Desired extends object> {
  /** These rules are asked for: the Vips as of `version`, which are these addresses. */
  readonly asked: (desired: Desired, version: string, addresses: readonly string[]) => void
  /** They are in place. */
  readonly inPlace: (desired: Desired) => void
  /** For the Lease. */
  readonly annotations: () => Readonly<Record<string, string>>
}

const pauseMs = 1000

export function createAttestation<Desired extends object>(options: AttestationOptions): Attestation<Desired> {
  const { clock, signal } = options
  const wanted = new WeakMap<Desired, { readonly version: string; readonly addresses: readonly string[] }>()
  let version = '0'
  let told: ReadonlySet<string> | undefined
  let toldAtMs = Number.NEGATIVE_INFINITY
  let cancelTimer: CancelTimer | undefined
  signal.addEventListener('abort', () => cancelTimer?.())

  const tell = (): void => {
    cancelTimer = undefined
    toldAtMs = clock.monotonicMs()
    options.renew()
  }
  return {
    asked: (desired, at, addresses) => void wanted.set(desired, { version: at, addresses }),
    inPlace: (desired) => {
      const facts = wanted.get(desired)
      if (facts === undefined || facts.version === version) return
      version = facts.version
      const isNews = told === undefined || facts.addresses.some((address) => told?.has(address) === false)
      told = new Set(facts.addresses)
      if (!isNews || cancelTimer !== undefined || signal.aborted) return
      const waitMs = toldAtMs + pauseMs - clock.monotonicMs()
      if (waitMs <= 0) tell()
      else cancelTimer = clock.setTimer(waitMs, tell)
    },
    annotations: () => ({ [inPlaceAnnotation]: version, [bootAnnotation]: options.bootId }),
  }
}
