// The one place that knows which daemons there are, and what of them must be installed.

import { createBird } from './bird.ts'
import { createExabgp } from './exabgp.ts'
import { createFrr, frrDaemonDirectory } from './frr.ts'
import { createGobgp } from './gobgp.ts'
import { createOpenbgpd, openbgpdProgram } from './openbgpd.ts'
import type { Router, RouterKind, RouterOptions } from './router.ts'

/** Creates a router that is not started yet. */
export const createRouter = (kind: RouterKind, options: RouterOptions): Router => drivers[kind].create(options)

/** The programs a kind needs, by name or absolute path. */
export const programsOf = (kind: RouterKind): readonly string[] => drivers[kind].programs

const drivers: Readonly<
  Record<RouterKind, { readonly create: (options: RouterOptions) => Router; readonly programs: readonly string[] }>
> = {
  bird: { create: createBird, programs: ['bird', 'birdc'] },
  frr: {
    create: createFrr,
    programs: [...['zebra', 'bgpd', 'bfdd'].map((daemon) => `${frrDaemonDirectory}/${daemon}`), 'vtysh'],
  },
  gobgp: { create: createGobgp, programs: ['gobgpd', 'gobgp'] },
  exabgp: { create: createExabgp, programs: ['exabgp'] },
  openbgpd: { create: createOpenbgpd, programs: [openbgpdProgram, 'bgpctl'] },
}
