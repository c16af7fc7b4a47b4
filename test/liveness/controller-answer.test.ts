// Whom an agent answers, as Leases come and go and sessions rise and fall: a controller that only lost the API server is never dead
// to it.

import { beforeEach, describe, expect, test } from 'vitest'
import type { BfdState } from '../../src/bfd/packet.ts'
import type { SignOfLife } from '../../src/k8s/heartbeat-watch.ts'
import type { BfdTidings } from '../../src/liveness/bfd-core.ts'
import { answerControllers, calledMs } from '../../src/liveness/controller-answer.ts'
import { authenticationWith, type KeyRing } from '../../src/liveness/key-ring.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'

const address = '10.0.0.1'
const lease: SignOfLife = {
  ...{ name: 'bellhop-replica-a', identity: 'a', alive: true },
  annotations: { 'bellhop.io/liveness-address': address },
}

let clock: VirtualClock
let signs: ReadonlyMap<string, SignOfLife>
let answered: readonly string[]
/** With the id of which key. */
let sentWith: readonly (number | undefined)[]
let ring: KeyRing
let keysChanged: () => void
let leasesChanged: () => void
let tell: (tidings: BfdTidings) => void
let ending: AbortController

beforeEach(() => {
  clock = createVirtualClock()
  signs = new Map()
  answered = []
  sentWith = []
  ring = []
  ending = new AbortController()
  answerControllers({
    clock,
    signal: ending.signal,
    isOnLink: () => true,
    keys: {
      authenticationWith: (annotations) => authenticationWith(ring, annotations['bellhop.io/liveness-keys'], 0),
      onChange: (listener) => {
        keysChanged = listener
      },
    },
    heartbeats: {
      signs: () => signs,
      onChange: (listener) => {
        leasesChanged = listener
      },
    },
    bfd: {
      setSessions: (configs) => {
        answered = configs.map(({ key }) => key)
        sentWith = configs.map(({ authentication }) => authentication?.send?.id)
      },
      onTidings: (listener) => {
        tell = listener
      },
    },
  })
})

const leasesAre = (...present: readonly SignOfLife[]): void => {
  signs = new Map(present.map((sign) => [sign.name, sign]))
  leasesChanged()
}
const goes = (from: BfdState, to: BfdState, remoteState: BfdState): void =>
  tell({
    changes: [{ key: address, from, to, remoteState, diagnostic: 1, atMs: 0, alsoSilent: 0 }],
    looks: [],
    errors: [],
  })

describe('a controller', () => {
  beforeEach(() => {
    leasesAre(lease)
    goes('Init', 'Up', 'Init')
  })

  test('is answered as its Lease says', () => {
    expect(answered).toEqual([address])
    goes('Up', 'Down', 'Up')
    expect(answered).toEqual([address])
  })

  test('whose Lease is gone is answered as long as it is heard', () => {
    leasesAre()
    clock.advance(2 * calledMs)
    leasesAre()
    expect(answered).toEqual([address])
  })

  test('whose Lease is gone is called after a silence, and answered when it speaks again', () => {
    leasesAre()
    goes('Up', 'Down', 'Up')
    clock.advance(calledMs - 1)
    expect(answered).toEqual([address])
    goes('Init', 'Up', 'Init')
    clock.advance(2 * calledMs)
    leasesAre()
    expect(answered).toEqual([address])
  })

  test('whose Lease is gone is called for an hour, not for ever', () => {
    leasesAre()
    goes('Up', 'Down', 'Up')
    clock.advance(calledMs)
    expect(answered).toEqual([])
  })

  test('that took its leave is forgotten with its Lease', () => {
    goes('Up', 'Down', 'AdminDown')
    leasesAre()
    expect(answered).toEqual([])
  })

  test('is answered with the key that it said it has, also when its Lease is gone', () => {
    const keyed: SignOfLife = {
      ...lease,
      annotations: { ...lease.annotations, 'bellhop.io/liveness-keys': '1:abc' },
    }
    leasesAre(keyed)
    expect(sentWith).toEqual([undefined])
    ring = [{ id: 1, secret: Uint8Array.of(1), label: '1:abc' }]
    keysChanged()
    expect(sentWith).toEqual([1])
    leasesAre()
    expect(sentWith).toEqual([1])
  })

  test('leaves no timer behind when the agent ends', () => {
    goes('Up', 'Down', 'Up')
    expect(clock.nextTimerInMs()).toBe(calledMs)
    ending.abort()
    expect(clock.nextTimerInMs()).toBe(undefined)
  })
})
