// Routes on their way between threads. Structured clone copies every string and object as often as it is mentioned, which for
// 100 000 VIPs with eight next hops stops both threads for most of a second and leaves the copies behind. Here every next hop,
// every set of next hops and every set of attributes travels once, and a route is its prefix and two numbers; the receiver's
// routes share what is equal. A few routes cross as they are, which takes less time than packing does.

import type { Prefix } from '../../net/prefix.ts'
import type { Path, Route, RouteAttributes } from '../rib/route.ts'
import type { SpeakerCommand } from './protocol.ts'
import { isSamePath, type RouteValues, textOf } from './route-values.ts'

type RoutesCommand = Extract<SpeakerCommand, { readonly type: 'routes' }>

/** A command as it is posted to the worker. */
export type PackedCommand =
  | Exclude<SpeakerCommand, RoutesCommand>
  | (Omit<RoutesCommand, 'upserts'> & { readonly upserts: PackedRoutes | readonly Route[] })

/** As many routes are packed at least. */
export const packedRoutesMin = 16

/** Packs the routes of a command, if it has enough of them. */
export const packCommand = (command: SpeakerCommand): PackedCommand =>
  command.type === 'routes' && command.upserts.length >= packedRoutesMin
    ? { ...command, upserts: packRoutes(command.upserts) }
    : command

/** The command that was packed; its routes are made of `values`. */
export function unpackCommand(command: PackedCommand, values: RouteValues): SpeakerCommand {
  if (command.type !== 'routes') return command
  const { upserts } = command
  return { ...command, upserts: 'prefixes' in upserts ? unpackRoutes(upserts, values) : upserts.map(values.route) }
}

/** Plain data. */
export interface PackedRoutes {
  readonly prefixes: readonly Prefix[]
  /** Two numbers a route: of its attributes and of its set of paths. */
  readonly routes: Uint32Array
  readonly attributes: readonly RouteAttributes[]
  readonly paths: readonly Path[]
  /** For every set how many paths it has, then their numbers. */
  readonly sets: Uint32Array
}

/** A set of paths by the numbers of its members, read one after the other. */
interface SetNode {
  readonly next: Map<number, SetNode>
  set: number | undefined
}

const newNode = (): SetNode => ({ next: new Map(), set: undefined })

/** Packs routes in their order. */
export function packRoutes(routes: readonly Route[]): PackedRoutes {
  const paths: Path[] = []
  const numberOfPath = pathNumbers(paths)
  const attributes: RouteAttributes[] = []
  const numberOfAttributes = attributeNumbers(attributes)
  const sets: number[] = []
  let setCount = 0
  const root = newNode()
  const byIdentity = new Map<readonly Path[], number>()
  const numberOfSet = (members: readonly Path[]): number => {
    const known = byIdentity.get(members)
    if (known !== undefined) return known
    let node = root
    for (const path of members) {
      const number = numberOfPath(path)
      let next = node.next.get(number)
      if (next === undefined) {
        next = newNode()
        node.next.set(number, next)
      }
      node = next
    }
    if (node.set === undefined) {
      node.set = setCount++
      sets.push(members.length)
      for (const path of members) sets.push(numberOfPath(path))
    }
    byIdentity.set(members, node.set)
    return node.set
  }
  const numbers = new Uint32Array(2 * routes.length)
  let at = 0
  for (const route of routes) {
    numbers[at++] = numberOfAttributes(route.attributes)
    numbers[at++] = numberOfSet(route.paths)
  }
  return {
    prefixes: routes.map(({ prefix }) => prefix),
    routes: numbers,
    attributes,
    paths,
    sets: Uint32Array.from(sets),
  }
}

// Path ids are a function of the next hop, so an id rarely stands for two paths.
function pathNumbers(paths: Path[]): (path: Path) => number {
  const byId = new Map<number, number[]>()
  return (path) => {
    const known = byId.get(path.pathId) ?? []
    for (const number of known) {
      const other = paths[number]
      if (other !== undefined && isSamePath(other, path)) return number
    }
    byId.set(path.pathId, [...known, paths.length])
    return paths.push(path) - 1
  }
}

function attributeNumbers(attributes: RouteAttributes[]): (of: RouteAttributes) => number {
  const byIdentity = new Map<RouteAttributes, number>()
  const byText = new Map<string, number>()
  return (of) => {
    const known = byIdentity.get(of)
    if (known !== undefined) return known
    const text = textOf(of)
    const number = byText.get(text) ?? attributes.push(of) - 1
    byText.set(text, number)
    byIdentity.set(of, number)
    return number
  }
}

/** The routes that were packed, equal to them in every value, and made of `values`. */
export function unpackRoutes(packed: PackedRoutes, values: RouteValues): readonly Route[] {
  const { prefixes, routes, sets } = packed
  const attributes = packed.attributes.map(values.attributes)
  const paths = packed.paths.map(values.path)
  const pathSets: (readonly Path[])[] = []
  for (let at = 0; at < sets.length; ) {
    const size = sets[at++] ?? 0
    pathSets.push(values.paths(Array.from(sets.subarray(at, at + size), (number) => known(paths, number))))
    at += size
  }
  return prefixes.map((prefix, i) => ({
    prefix,
    attributes: known(attributes, routes[2 * i]),
    paths: known(pathSets, routes[2 * i + 1]),
  }))
}

function known<T>(values: readonly T[], number: number | undefined): T {
  const value = number === undefined ? undefined : values[number]
  if (value === undefined) throw new Error(`packed routes name number ${number} of ${values.length}`)
  return value
}
