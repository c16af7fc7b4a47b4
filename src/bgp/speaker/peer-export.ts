// What a peer is told, over all its sessions: its table while a session is up, and in between what it may still hold of us, for the next
// one to announce again or withdraw. Announcing within one session is announcer.ts, remembering is remembered.ts.

import type { Clock } from '../../runtime/clock.ts'
import type { Negotiated } from '../fsm/negotiate.ts'
import { type AfiSafi, type Family, familyOfAfiSafi } from '../packet/message.ts'
import type { Table } from '../rib/adj-rib-out.ts'
import type { ExportContext } from '../rib/export.ts'
import type { Route } from '../rib/route.ts'
import type { UpdateGroups } from '../rib/update-groups.ts'
import { type Announcer, createAnnouncer } from './announcer.ts'
import type { InTurn } from './in-turn.ts'
import type { PeerReport } from './peer-report.ts'
import { createRefreshPace } from './refresh-pace.ts'
import { createRemembered } from './remembered.ts'
import type { Connection } from './transport.ts'

export interface PeerExportOptions {
  readonly clock: Clock
  readonly updateGroups: UpdateGroups
  readonly report: Pick<PeerReport, 'log' | 'count'>
  readonly inTurn: InTurn
  /** How long a connection can be dead before that is noticed. */
  readonly lossMs: number
  /** The peer has been written everything that its table says, or has no session. */
  readonly drained: () => void
}

export interface PeerExport {
  /** What the present session agreed on; undefined while none is up. */
  readonly negotiated: Negotiated | undefined
  readonly announcedPaths: number
  readonly announcedPrefixes: number
  /** No session is up, or everything that its table says was written. */
  readonly isFlushed: boolean
  /** The R bit: until the first End-of-RIB that this process sent to the peer. */
  readonly isRestarting: boolean
  /** A session is up; `begin` follows when there is a plan. */
  readonly up: (session: ExportSession) => void
  readonly down: () => void
  readonly begin: () => void
  /** Writes what is due and the peer takes. */
  readonly pump: () => void
  /** Everything of all families again. */
  readonly resend: () => void
  /** The peer asks for a family again (RFC 2918). */
  readonly refreshAsked: (message: AfiSafi & { readonly subtype: number }) => void
  /** The peer is to have what this table says. `replaced` for each route that is another one there. */
  readonly moveTo: (table: Table) => void
  /** A route that the peer was told is replaced or withdrawn. */
  readonly replaced: (route: Route) => void
  /** What the peer may hold from an earlier session, or an earlier process. */
  readonly remember: (routes: Iterable<Route>) => void
}

export interface ExportSession {
  readonly connection: Connection
  readonly negotiated: Negotiated
  readonly context: ExportContext
  readonly table: Table
}

export function createPeerExport(options: PeerExportOptions): PeerExport {
  const { clock, updateGroups, report, inTurn, lossMs, drained } = options
  const remembered = createRemembered(lossMs)
  let announcer: Announcer | undefined
  let isRestarting = true

  const refreshes = createRefreshPace(clock, (family, requests) =>
    inTurn(() => {
      report.log('info', { event: 'route-refresh', family, requests })
      announcer?.refresh(family)
    }),
  )

  const up = ({ connection, negotiated, context, table }: ExportSession): void => {
    const before = remembered.take()
    // Should one be withdrawn now, and this connection be lost with the withdrawal.
    for (const route of before) remembered.replaced(route, clock.monotonicMs())
    announcer = createAnnouncer({
      ...{ clock, connection, negotiated },
      stream: updateGroups.join(context, table, before),
      wrote: (messages) => {
        report.count('messagesOut', messages)
        report.count('updatesOut', messages)
      },
      drained: () => {
        isRestarting = false
        drained()
      },
    })
  }

  const down = (): void => {
    const ended = announcer
    announcer = undefined
    refreshes.end()
    if (ended?.negotiated.gracefulRestart !== undefined) remembered.keep(ended.stream.sentRoutes(), clock.monotonicMs())
    ended?.end()
    drained()
  }

  const refreshAsked = ({ afi, safi, subtype }: AfiSafi & { readonly subtype: number }): void => {
    const family: Family | undefined = familyOfAfiSafi({ afi, safi })
    // BoRR and EoRR of the peer's own table, and subtypes nobody knows, are of no interest (RFC 7313 section 4).
    if (subtype !== 0 || family === undefined || !announcer?.negotiated.codec.families.has(family)) return
    refreshes.asked(family)
  }

  return {
    up,
    down,
    refreshAsked,
    get negotiated() {
      return announcer?.negotiated
    },
    get announcedPaths() {
      return announcer?.stream.announcedPaths ?? 0
    },
    get announcedPrefixes() {
      return announcer?.stream.announcedPrefixes ?? 0
    },
    get isFlushed() {
      return announcer === undefined || announcer.idle
    },
    get isRestarting() {
      return isRestarting
    },
    begin: () => announcer?.begin(),
    pump: () => announcer?.pump(),
    resend: () => {
      for (const family of announcer?.negotiated.families ?? []) announcer?.refresh(family)
    },
    moveTo: (table) => {
      announcer?.stream.moveTo(table)
      announcer?.pump()
    },
    replaced: (route) => {
      if (announcer !== undefined) remembered.replaced(route, clock.monotonicMs())
    },
    remember: (routes) => remembered.keep(routes, clock.monotonicMs()),
  }
}
