// Peers that are told the same are told it with the same bytes. Peers with equal contexts and one table form a group around one
// AdjRibOut; each message is written once, and each member has its own position in the list of messages. A member that has
// nothing yet reads the full table first, which members that come at the same time share.
//
// A member that falls behind by more than a bounded list leaves the group: what it has not read goes with it, and from then on
// it has an AdjRibOut of its own, in which changes gather by prefix instead of by message. So does one that asks for everything
// again, changes its table, or remembers an earlier session. When it has everything, both hold the table, and it joins again.
// No session notices.

import type { Prefix } from '../../net/prefix.ts'
import type { Family } from '../packet/message.ts'
import { type AdjRibOut, createAdjRibOut, createIds, type IdsByFamily, type Table } from './adj-rib-out.ts'
import type { ExportContext } from './export.ts'
import { type AnnouncedCount, createFullTable, type FullTable } from './full-table.ts'
import { createPathIds } from './path-ids.ts'
import type { Route } from './route.ts'

/** What is sent in one session. */
export interface UpdateStream {
  /** The next whole UPDATE, or undefined when the peer has everything. */
  readonly next: () => Uint8Array | undefined
  /** Whether `next` may have something. */
  readonly pending: boolean
  /** Every path of the family is to be sent again (RFC 2918). */
  readonly resend: (family: Family) => void
  /** From now on the peer is to have what this table says. */
  readonly moveTo: (table: Table) => void
  /** The routes that the peer was told, or is about to be. */
  readonly sentRoutes: () => IterableIterator<Route>
  /** Announced and not withdrawn, counting what `next` is about to hand out. */
  readonly announcedPaths: number
  readonly announcedPrefixes: number
  /** The session is over. */
  readonly end: () => void
}

export interface UpdateGroups {
  /**
   * A stream for a session that has just come up. `remembered` is what the peer may still hold from an earlier one (RFC 4724),
   * one route a prefix: each is announced again or withdrawn.
   */
  readonly join: (context: ExportContext, table: Table, remembered?: readonly Route[]) => UpdateStream
  /** The route of a prefix becomes this, or none. Comes before the table itself is changed. */
  readonly update: (table: Table, prefix: Prefix, route: Route | undefined) => void
}

export interface UpdateGroupLimits {
  /** How far the slowest member of a group may be behind the fastest. */
  readonly backlogBytesMax: number
}

const defaultLimits: UpdateGroupLimits = { backlogBytesMax: 512 * 1024 }

export function createUpdateGroups({ backlogBytesMax } = defaultLimits): UpdateGroups {
  const groupsOf = new Map<Table, Map<string, Group>>()

  const groupOf = (context: ExportContext, table: Table): Group => {
    const groups = groupsOf.get(table) ?? new Map<string, Group>()
    groupsOf.set(table, groups)
    const key = contextKey(context)
    const known = groups.get(key)
    if (known !== undefined) return known
    const created = new Group(context, table, backlogBytesMax, () => {
      groups.delete(key)
      if (groups.size === 0) groupsOf.delete(table)
    })
    groups.set(key, created)
    return created
  }

  return {
    join: (context, table, remembered = []) => new Member(context, groupOf, table, remembered),
    update: (table, prefix, route) => {
      for (const group of groupsOf.get(table)?.values() ?? []) group.update(prefix, route)
    },
  }
}

type GroupOf = (context: ExportContext, table: Table) => Group

const nothingAnnounced: AnnouncedCount = { paths: 0, prefixes: 0 }

/** What is sent before anything else, message by message. */
type Backlog = () => Uint8Array | undefined

class Group {
  readonly ids: IdsByFamily
  readonly #context: ExportContext
  readonly #table: Table
  readonly #backlogBytesMax: number
  /** Called when the last member has left. */
  readonly #empty: () => void
  readonly #inStep = new Set<Member>()
  readonly #apart = new Set<Member>()
  /** Present while there are members in step. */
  #rib: AdjRibOut | undefined
  /** Messages that not all members in step have read, and the number of the first among all that there were. */
  readonly #messages: Uint8Array[] = []
  #first = 0
  #bytes = 0
  /** The table as it was behind message `position`, for those who come before it changes and while somebody reads it. */
  #full: { readonly table: WeakRef<FullTable>; readonly position: number } | undefined

  constructor(context: ExportContext, table: Table, backlogBytesMax: number, empty: () => void) {
    this.#context = context
    this.#table = table
    this.#backlogBytesMax = backlogBytesMax
    this.#empty = empty
    this.ids = createIds(context)
  }

  get rib(): AdjRibOut {
    this.#rib ??= createAdjRibOut(this.#context, this.#table, this.ids)
    return this.#rib
  }

  get #end(): number {
    return this.#first + this.#messages.length
  }

  update(prefix: Prefix, route: Route | undefined): void {
    this.#full = undefined
    this.#rib?.update(prefix, route)
    for (const { own } of this.#apart) own?.update(prefix, route)
  }

  /** A member that has an AdjRibOut of its own, or none yet. */
  addApart(member: Member): void {
    this.#apart.add(member)
  }

  /** Lets a member in that holds what the table says, or will when it has read the full table; returns its position. */
  enter(member: Member): number {
    this.settle()
    this.#apart.delete(member)
    this.#inStep.add(member)
    return this.#end
  }

  /** The table behind the last message. Comes after `enter`. */
  fullTable(): FullTable {
    const known = this.#full?.position === this.#end ? this.#full.table.deref() : undefined
    if (known !== undefined) return known
    const table = createFullTable(this.#context, this.#table, this.ids)
    this.#full = { table: new WeakRef(table), position: this.#end }
    return table
  }

  /** Takes a member out of step; returns what it had not read. */
  part(member: Member): readonly Uint8Array[] {
    this.settle()
    const unread = this.#messages.slice(member.position - this.#first)
    this.#inStep.delete(member)
    this.#apart.add(member)
    this.#tidy()
    return unread
  }

  leave(member: Member): void {
    this.#inStep.delete(member)
    this.#apart.delete(member)
    this.#tidy()
    if (this.#inStep.size + this.#apart.size === 0) this.#empty()
  }

  /** The message at the member's position; undefined behind the last. */
  read(member: Member): Uint8Array | undefined {
    const known = this.#messages[member.position - this.#first]
    const message = known ?? this.rib.next()
    if (message === undefined) return undefined
    member.position++
    if (known === undefined) this.#append(message)
    if (this.#inStep.size === 1 || this.#bytes > this.#backlogBytesMax) this.#limit()
    return message
  }

  isPendingFor(member: Member): boolean {
    return member.position < this.#end || this.rib.pending
  }

  /** Writes all that is due into the list of messages. */
  settle(): void {
    for (let message = this.#rib?.next(); message !== undefined; message = this.#rib?.next()) this.#append(message)
  }

  #append(message: Uint8Array): void {
    this.#full = undefined
    this.#messages.push(message)
    this.#bytes += message.length
  }

  /** Those who make the list too long leave with what they have not read. */
  #limit(): void {
    this.#tidy()
    while (this.#bytes > this.#backlogBytesMax) {
      const slowest = this.#slowest()
      for (const member of [...this.#inStep]) if (member.position === slowest) member.part()
    }
  }

  #slowest(): number {
    let least = this.#end
    for (const { position } of this.#inStep) least = Math.min(least, position)
    return least
  }

  /** Forgets what everybody has read. */
  #tidy(): void {
    if (this.#inStep.size === 0) {
      this.#rib = undefined
      this.#full = undefined
    }
    const read = this.#messages.splice(0, this.#slowest() - this.#first)
    this.#first += read.length
    this.#bytes -= read.reduce((sum, { length }) => sum + length, 0)
  }
}

class Member implements UpdateStream {
  readonly #context: ExportContext
  readonly #groupOf: GroupOf
  #table: Table
  #group: Group
  #inStep = false
  readonly #backlogs: Backlog[] = []
  /** Of the group: the number of the next message. */
  position = 0
  /** The member's own, while it is apart and has been told something. */
  own: AdjRibOut | undefined
  /** Those of the session while it is apart; in step they are the group's. */
  #ids: IdsByFamily
  /** Announced are those of the full table it was given, these, and by how much the AdjRibOut it reads from has grown. */
  #full = nothingAnnounced
  #others = nothingAnnounced

  constructor(context: ExportContext, groupOf: GroupOf, table: Table, remembered: readonly Route[]) {
    this.#context = context
    this.#groupOf = groupOf
    this.#table = table
    this.#group = groupOf(context, table)
    this.#group.addApart(this)
    this.#ids = copyOf(this.#group.ids)
    if (remembered.length === 0) return
    const own = createAdjRibOut(context, table, this.#ids)
    const known = new Set<Prefix>()
    for (const route of remembered) {
      own.remember(route)
      known.add(route.prefix)
    }
    for (const prefix of table.keys()) if (!known.has(prefix)) own.holds(prefix, undefined)
    this.own = own
  }

  next(): Uint8Array | undefined {
    if (this.own === undefined && !this.#inStep) this.#enter()
    for (let backlog = this.#backlogs[0]; backlog !== undefined; backlog = this.#backlogs[0]) {
      const message = backlog()
      if (message !== undefined) return message
      this.#backlogs.shift()
    }
    const message = this.own?.next()
    if (message !== undefined || !(this.#inStep || this.#rejoin())) return message
    return this.#group.read(this)
  }

  get pending(): boolean {
    if (this.#backlogs.length > 0) return true
    if (this.#inStep) return this.#group.isPendingFor(this)
    return this.own === undefined ? this.#table.size > 0 : this.own.pending
  }

  resend(family: Family): void {
    this.part()
    this.own?.resend(family)
  }

  moveTo(table: Table): void {
    this.part()
    const { own } = this
    const before = this.#table
    this.#group.leave(this)
    this.#table = table
    this.#group = this.#groupOf(this.#context, table)
    this.#group.addApart(this)
    if (own === undefined) return
    this.#backlogs.push(messagesOf(drained(own)))
    this.#others = sumOf(this.#others, own)
    const moved = createAdjRibOut(this.#context, table, this.#ids)
    for (const [prefix, route] of before) if (table.get(prefix) !== route) moved.holds(prefix, route)
    for (const prefix of table.keys()) if (!before.has(prefix)) moved.holds(prefix, undefined)
    this.own = moved
  }

  sentRoutes(): IterableIterator<Route> {
    return this.#rib?.sentRoutes() ?? [].values()
  }

  get announcedPaths(): number {
    return this.#full.paths + this.#others.paths + (this.#rib?.announcedPaths ?? 0)
  }

  get announcedPrefixes(): number {
    return this.#full.prefixes + this.#others.prefixes + (this.#rib?.announcedPrefixes ?? 0)
  }

  end(): void {
    this.#group.leave(this)
  }

  /** Leaves the group's pace, if it was in it. */
  part(): void {
    if (!this.#inStep) return
    this.#group.settle()
    this.#others = sumOf(this.#others, this.#group.rib)
    this.#backlogs.push(messagesOf(this.#group.part(this)))
    this.#inStep = false
    this.#ids = copyOf(this.#group.ids)
    this.own = createAdjRibOut(this.#context, this.#table, this.#ids)
  }

  get #rib(): AdjRibOut | undefined {
    return this.#inStep ? this.#group.rib : this.own
  }

  /** For the first time: the full table, and then what changes. */
  #enter(): void {
    this.#join()
    const full = this.#group.fullTable()
    this.#full = full.announced
    let index = 0
    this.#backlogs.push(() => {
      const message = full.message(index)
      index++
      return message
    })
  }

  /** Back from being apart, with nothing to be sent; false where path ids of this session would change their meaning. */
  #rejoin(): boolean {
    const { own } = this
    if (own === undefined) return false
    const { ids } = this.#group
    for (const [family, { claims }] of this.#ids) if (ids.get(family)?.agrees(claims) !== true) return false
    for (const [family, { claims }] of this.#ids) ids.get(family)?.adopt(claims)
    this.#others = sumOf(this.#others, own)
    this.own = undefined
    this.#join()
    return true
  }

  #join(): void {
    this.position = this.#group.enter(this)
    this.#inStep = true
    const { announcedPaths, announcedPrefixes } = this.#group.rib
    this.#others = sumOf(this.#others, { announcedPaths: -announcedPaths, announcedPrefixes: -announcedPrefixes })
  }
}

const sumOf = (
  { paths, prefixes }: AnnouncedCount,
  { announcedPaths, announcedPrefixes }: Pick<AdjRibOut, 'announcedPaths' | 'announcedPrefixes'>,
): AnnouncedCount => ({ paths: paths + announcedPaths, prefixes: prefixes + announcedPrefixes })

function drained(rib: AdjRibOut): readonly Uint8Array[] {
  const messages: Uint8Array[] = []
  for (let message = rib.next(); message !== undefined; message = rib.next()) messages.push(message)
  return messages
}

function messagesOf(messages: readonly Uint8Array[]): Backlog {
  let index = 0
  return () => messages[index++]
}

const copyOf = (ids: IdsByFamily): IdsByFamily =>
  new Map([...ids].map(([family, { claims }]) => [family, createPathIds(claims)]))

/** Whether contexts are equal as far as they decide what is written. */
function contextKey({ codec, localAsn, peerAsn, nextHopSelf, pathsLimit, seed }: ExportContext): string {
  const families = [...codec.families].sort().map((family) => {
    const limit = codec.addPathSend.has(family) ? (pathsLimit.get(family) ?? 0) : 1
    return { family, limit, addPath: codec.addPathSend.has(family), ipv6: codec.extendedNextHop?.has(family) === true }
  })
  // The seed decides only where not all paths are sent.
  const chooses = nextHopSelf === undefined && families.some(({ limit }) => limit > 0)
  return JSON.stringify([
    families,
    [codec.fourOctetAs, codec.sessionType, codec.messageBytesMaxSend],
    [localAsn, peerAsn],
    nextHopSelf === undefined ? [] : [nextHopSelf.ipv4, nextHopSelf.ipv6],
    chooses ? [seed] : [],
  ])
}
