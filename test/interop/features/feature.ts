// One row of docs/interop.md: what must hold between our speaker and a router of somebody else's, and with whom it can not be seen.

import type { Route } from '../../../src/bgp/rib/route.ts'
import type { RouterKind } from '../../../src/lab/routers/router.ts'
import { type Bench, type BenchOptions, routeOver, vips } from '../bench.ts'

/** One cell of the table. */
export interface Cell {
  readonly kind: RouterKind
  /** Builds the bench of this test; it is taken down when the test is over. Both VIPs go over all `nodes`, unless told otherwise. */
  readonly begin: (options?: Partial<Omit<BenchOptions, 'kind'>>) => Promise<Bench>
}

export interface FeatureRow {
  /** As a sentence: the name of the test and the row of the table. */
  readonly name: string
  /** Daemons for which there is no such test, and why: printed below the table. */
  readonly except?: Readonly<Partial<Record<RouterKind, string>>>
}

/** A row whose cells are one test with each daemon. */
export interface Feature extends FeatureRow {
  readonly run: (cell: Cell) => Promise<void>
}

export const nodes: readonly number[] = [101, 102, 103, 104]
export const [vip4, vip6] = vips

/** Both VIPs over the same nodes. */
export const bothOver = (over: readonly number[]): readonly Route[] => vips.map((vip) => routeOver(vip, over))

export const noKernelTable = 'writes no forwarding table here'

/** For what only a forwarding table can show. */
export const withoutKernelTable: NonNullable<Feature['except']> = {
  gobgp: noKernelTable,
  openbgpd: noKernelTable,
  exabgp: noKernelTable,
}
