// What a step is, and what those who draw one share.

import type { LabNode } from '../../../../src/lab/topology/topology.ts'
import type { Random } from '../../../fuzz/runner.ts'
import type { ChaosWorld, Role } from '../world.ts'

/** A step, drawn and not yet taken. */
export interface Step {
  readonly words: string
  /** What it has to itself; a step that finds one of them taken is left out. */
  readonly locks: readonly string[]
  /** Does it, undoes it where it is a fault, and resolves then. */
  readonly take: (world: ChaosWorld) => Promise<void>
}

export type Draw = (random: Random, world: ChaosWorld) => Step

/** Between, and including. */
export const within = (random: Random, low: number, high: number): number => low + random.below(high - low + 1)
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

export const lockOf = (role: Role, node: LabNode): string => `${role} ${node.name}`
