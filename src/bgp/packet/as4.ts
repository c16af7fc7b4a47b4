// The AS path and the aggregator of an UPDATE from a speaker that knows only two-octet AS numbers: what AS_PATH and
// AGGREGATOR say in part and AS4_PATH and AS4_AGGREGATOR say in full is put together (RFC 6793 section 4.2.3).

import { asTrans } from '../../net/asn.ts'
import { type Aggregator, isConfederationSegment } from './attribute-values.ts'
import type { AsPathSegment } from './message.ts'

export interface TwoOctetView {
  readonly asPath: readonly AsPathSegment[] | undefined
  readonly aggregator: Aggregator | undefined
  readonly as4Path: readonly AsPathSegment[] | undefined
  readonly as4Aggregator: Aggregator | undefined
}

/** The path and the aggregator that the session's attributes stand for. */
export function reconstruct(view: TwoOctetView): Pick<TwoOctetView, 'asPath' | 'aggregator'> {
  const { asPath, aggregator, as4Path, as4Aggregator } = view
  // Somebody who knows two octets aggregated after the AS4_ attributes were written: they tell of another path.
  const outdated = aggregator !== undefined && as4Aggregator !== undefined && aggregator.asn !== asTrans
  return {
    asPath: asPath === undefined || as4Path === undefined || outdated ? asPath : merge(asPath, as4Path),
    aggregator: aggregator !== undefined && as4Aggregator !== undefined && !outdated ? as4Aggregator : aggregator,
  }
}

// The length by which paths are compared (RFC 4271 section 9.1.2.2, RFC 5065 section 5.3): a set is one, confederations none.
const lengthOf = (segment: AsPathSegment): number =>
  isConfederationSegment(segment) ? 0 : segment.type === 'AS_SET' ? 1 : segment.asns.length

const pathLength = (path: readonly AsPathSegment[]): number => path.reduce((sum, segment) => sum + lengthOf(segment), 0)

function merge(asPath: readonly AsPathSegment[], received: readonly AsPathSegment[]): readonly AsPathSegment[] {
  // RFC 6793 section 6: confederation segments in AS4_PATH are passed over.
  const as4Path = received.filter((segment) => !isConfederationSegment(segment))
  const missing = pathLength(asPath) - pathLength(as4Path)
  return missing < 0 ? asPath : joined(leading(asPath, missing), as4Path)
}

// The first `count` AS numbers, with the confederation segments before and between them.
function leading(path: readonly AsPathSegment[], count: number): readonly AsPathSegment[] {
  const taken: AsPathSegment[] = []
  let left = count
  for (const segment of path) {
    const length = lengthOf(segment)
    if (length > left) {
      if (left > 0) taken.push({ type: segment.type, asns: segment.asns.slice(0, left) })
      break
    }
    taken.push(segment)
    left -= length
  }
  return taken
}

const segmentAsnsMax = 255

// Two sequences that meet are one path of numbers; routers write them as one segment, and so do we.
function joined(head: readonly AsPathSegment[], tail: readonly AsPathSegment[]): readonly AsPathSegment[] {
  const last = head.at(-1)
  const [first, ...rest] = tail
  if (last?.type !== 'AS_SEQUENCE' || first?.type !== 'AS_SEQUENCE') return [...head, ...tail]
  if (last.asns.length + first.asns.length > segmentAsnsMax) return [...head, ...tail]
  return [...head.slice(0, -1), { type: 'AS_SEQUENCE', asns: [...last.asns, ...first.asns] }, ...rest]
}
