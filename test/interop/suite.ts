// What must hold between our speaker and any router, whoever wrote it: every feature that concerns the router is a test. One file
// a router runs this suite, so that they can run side by side; docs/interop.md is the same list as a table.

import { afterEach, test } from 'vitest'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import type { RouterKind } from '../../src/lab/routers/router.ts'
import { describeWith } from '../support/privileges.ts'
import { type Bench, createBench } from './bench.ts'
import { bothOver, nodes } from './features/feature.ts'
import { features } from './features/features.ts'

declare module 'vitest' {
  interface TaskMeta {
    /** The cell of docs/interop.md that the test fills. */
    interop?: { readonly kind: RouterKind; readonly feature: string }
  }
}

const tools = ['tcpdump', 'tshark', 'nft', 'nstat', 'ss']

export function describeInterop(kind: RouterKind): void {
  describeWith({ netns: true, programs: [...programsOf(kind), ...tools] }, `with ${kind}`, () => {
    let bench: Bench | undefined
    afterEach(async () => {
      await bench?.network.destroy()
      bench = undefined
    })
    for (const { name, run } of features.filter(({ except }) => except?.[kind] === undefined))
      test(name, async ({ task }) => {
        task.meta.interop = { kind, feature: name }
        await run({
          kind,
          begin: async (options) => {
            bench = await createBench({ kind, session: 'ebgp', routes: bothOver(nodes), ...options })
            return bench
          },
        })
      })
  })
}
