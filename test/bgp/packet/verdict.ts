// The verdict on an UPDATE as the decoder and as the scanner give it, in one form, so that tests can hold the two equal.
import { decodeMessage, scanUpdate } from '../../../src/bgp/packet/decode.ts'
import type { AfiSafi, SessionCodec, SessionError, UpdateIssue } from '../../../src/bgp/packet/message.ts'

export type Verdict =
  | {
      readonly announced: number
      readonly withdrawn: number
      readonly endOfRib: AfiSafi | undefined
      readonly issues: readonly UpdateIssue[]
    }
  | { readonly error: SessionError; readonly issues: readonly UpdateIssue[] }

/** By what the decoder built. */
export function verdictOfDecode(bytes: Uint8Array, codec: SessionCodec): Verdict {
  const decoded = decodeMessage(bytes, codec)
  if (!decoded.ok) return { error: decoded.error, issues: decoded.issues ?? [] }
  if (decoded.message.type !== 'UPDATE') throw new Error(`${decoded.message.type} has no verdict`)
  const { nlri, withdrawn, attributes } = decoded.message
  return {
    announced: nlri.length + (attributes.mpReach?.nlri.length ?? 0),
    withdrawn: withdrawn.length + (attributes.mpUnreach?.withdrawn.length ?? 0),
    endOfRib: decoded.endOfRib,
    issues: decoded.issues,
  }
}

/** By what the scanner counted. */
export function verdictOfScan(bytes: Uint8Array, codec: SessionCodec): Verdict {
  const scanned = scanUpdate(bytes, codec)
  if (!scanned.ok) return { error: scanned.error, issues: scanned.issues }
  const { announced, withdrawn, endOfRib, issues } = scanned
  return { announced, withdrawn, endOfRib, issues }
}
