// When the agent speaks of its rules: at once for a VIP that was added, at most once a second, and not at all for anything else.

import { expect, test } from 'vitest'
import { createAttestation } from '../../src/agent/attestation.ts'
import { createVirtualClock } from '../../src/runtime/virtual-clock.ts'

function start() {
  const clock = createVirtualClock(10_000)
  let renewals = 0
  const attestation = createAttestation<readonly string[]>({
    bootId: 'boot',
    clock,
    renew: () => renewals++,
    signal: new AbortController().signal,
  })
  return {
    clock,
    renewals: () => renewals,
    attestation,
    said: () => attestation.annotations()['bellhop.io/in-place'],
    place: (version: string, ...addresses: readonly string[]): void => {
      attestation.asked(addresses, version, addresses)
      attestation.inPlace(addresses)
    },
  }
}

test('nothing is in place before the first success', () => {
  const { attestation, said, renewals } = start()
  attestation.asked(['a'], '7', ['a'])
  expect([said(), renewals()]).toEqual(['0', 0])
  expect(attestation.annotations()).toEqual({ 'bellhop.io/in-place': '0', 'bellhop.io/boot': 'boot' })
})

test('the first success and every VIP that is added are said at once, but once a second', () => {
  const { clock, place, said, renewals } = start()
  place('7', 'a')
  expect([said(), renewals()]).toEqual(['7', 1])
  place('8', 'a', 'b')
  place('9', 'a', 'b', 'c')
  expect([said(), renewals()]).toEqual(['9', 1])
  clock.advance(1000)
  expect(renewals()).toBe(2)
  clock.advance(1000)
  place('10', 'a', 'b', 'c', 'd')
  expect(renewals()).toBe(3)
})

test('what takes a VIP away, or changes none, waits for the next renewal', () => {
  const { clock, place, said, renewals } = start()
  place('7', 'a', 'b')
  clock.advance(5000)
  place('8', 'a')
  place('9', 'a')
  expect([said(), renewals()]).toEqual(['9', 1])
})

test('what is in place is what was asked for then, not what has been asked for since', () => {
  const { attestation, said } = start()
  const [older, newer] = [['a'], ['a', 'b']]
  attestation.asked(older, '7', older)
  attestation.asked(newer, '8', newer)
  attestation.inPlace(older)
  expect(said()).toBe('7')
})
