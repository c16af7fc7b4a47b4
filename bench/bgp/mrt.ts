// The table as an MRT file (RFC 6396, TABLE_DUMP_V2), which is how gobgpd is given many routes at once: one peer a next hop, so
// that it takes the entries of a prefix for different paths.

import { writeFileSync } from 'node:fs'
import { firstNextHopBits, firstPrefixBits, senderAsn, type TableSize } from './plan.ts'

const tableDumpV2 = 13
const peerIndexTable = 1
const ribIpv4Unicast = 2
const paddingRecords = 2000

const u16 = (value: number): readonly number[] => [(value >>> 8) & 255, value & 255]
const u32 = (value: number): readonly number[] => [...u16(value >>> 16), ...u16(value)]

const record = (subtype: number, body: readonly number[]): Uint8Array =>
  Uint8Array.from([...u32(0), ...u16(tableDumpV2), ...u16(subtype), ...u32(body.length), ...body])

/** Writes the file. */
export function writeMrt(file: string, { prefixes, nextHops }: TableSize): void {
  const legs = Array.from({ length: nextHops }, (_, leg) => firstNextHopBits + leg)
  const peers = legs.flatMap((leg) => [2, ...u32(leg), ...u32(leg), ...u32(senderAsn)])
  const entries = legs.flatMap((leg, index) => {
    const attributes = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, ...u32(leg)]
    return [...u16(index), ...u32(0), ...u16(attributes.length), ...attributes]
  })
  const records = Array.from({ length: prefixes }, (_, i) =>
    record(ribIpv4Unicast, [...u32(i), 32, ...u32(firstPrefixBits + i), ...u16(nextHops), ...entries]),
  )
  const index = record(peerIndexTable, [...u32(1), ...u16(0), ...u16(nextHops), ...peers])
  // The injector leaves before its last batches have gone out; what it loses is a repetition of what it sent before.
  const padding = Array.from({ length: paddingRecords }, (_, i) => records[i % prefixes] ?? index)
  writeFileSync(file, Buffer.concat([index, ...records, ...padding]))
}
