// Addresses that are free and perhaps still announced, by a replica that fell silent without a word.

import { beforeEach, expect, test } from 'vitest'
import { beforeSilenceMs, createGivenBack, type GivenBack, missedForMs } from '../../src/controller/given-back.ts'
import type { SignOfLife } from '../../src/k8s/heartbeat-watch.ts'
import { createVirtualClock, type VirtualClock } from '../../src/runtime/virtual-clock.ts'
import { ip } from '../vip/cluster.ts'

let clock: VirtualClock
let given: GivenBack
let heard: (replicas: Readonly<Record<string, boolean>>) => void

beforeEach(() => {
  clock = createVirtualClock()
  let signs: ReadonlyMap<string, SignOfLife> = new Map()
  let tell = (): void => {}
  given = createGivenBack({
    clock,
    replicas: {
      signs: () => signs,
      onChange: (listener) => {
        tell = listener
      },
    },
  })
  heard = (replicas) => {
    signs = new Map(
      Object.entries(replicas).map(([name, alive]) => [name, { name, identity: name, annotations: {}, alive }]),
    )
    tell()
  }
  heard({ a: true, b: true })
})

const avoided = (): readonly string[] => [...given.avoided()]

test('while all replicas are heard, every free address is as good as another', () => {
  given.note(ip('10.0.0.1'))
  expect(avoided()).toEqual([])
})

test('a replica that takes its leave is not missed', () => {
  given.note(ip('10.0.0.1'))
  heard({ a: true })
  expect(avoided()).toEqual([])
})

test('what was given back shortly before a replica fell silent, and since, is avoided', () => {
  given.note(ip('10.0.0.1'))
  clock.advance(beforeSilenceMs + 1)
  given.note(ip('10.0.0.2'))
  heard({ a: true, b: false })
  given.note(ip('10.0.0.3'))
  expect(avoided()).toEqual(['10.0.0.2', '10.0.0.3'])
})

test('also when its Lease was taken away, for an hour', () => {
  heard({ a: true, b: false })
  given.note(ip('10.0.0.3'))
  heard({ a: true })
  clock.advance(missedForMs)
  expect(avoided()).toEqual(['10.0.0.3'])
  clock.advance(1)
  expect(avoided()).toEqual([])
})

test('until it is heard again: then it knows what we know', () => {
  heard({ a: true, b: false })
  given.note(ip('10.0.0.3'))
  heard({ a: true, b: true })
  expect(avoided()).toEqual([])
})
