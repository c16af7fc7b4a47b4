// What must hold for any bytes on any session. Thrown as assertion errors, so that the property tests and the fuzzer share it.
import assert from 'node:assert/strict'
import { decodeMessage, scanUpdate } from '../../../src/bgp/packet/decode.ts'
import { encodeMessage } from '../../../src/bgp/packet/encode.ts'
import { isAssignedError } from '../../../src/bgp/packet/errors.ts'
import type { BgpMessage, SessionCodec, SessionError, UpdateIssue } from '../../../src/bgp/packet/message.ts'
import { issuesMax } from '../../../src/bgp/packet/update-rules.ts'
import { verdictOfDecode, verdictOfScan } from './verdict.ts'

export type Outcome = 'taken' | 'attribute-discard' | 'treat-as-withdraw' | 'session-reset'

const updateType = 2

/** Receives the bytes as a message and judges the answer. Returns what became of them. */
export function receive(bytes: Uint8Array, codec: SessionCodec): Outcome {
  const before = bytes.slice()
  const decoded = decodeMessage(bytes, codec)
  const scanned = scanUpdate(bytes, codec)
  assert.deepEqual(bytes, before, 'the input is not written to')
  if (bytes[18] === updateType) assert.deepEqual(verdictOfScan(bytes, codec), verdictOfDecode(bytes, codec))
  if (!scanned.ok) checkError(scanned.error)
  if (!decoded.ok) {
    checkError(decoded.error)
    return 'session-reset'
  }
  decoded.issues.forEach(checkIssue)
  assert.ok(decoded.issues.length <= issuesMax)
  const treatments = decoded.issues.map(({ treatment }) => treatment)
  if (treatments.includes('treat-as-withdraw')) {
    checkWithdrawal(decoded.message)
    return 'treat-as-withdraw'
  }
  if (decoded.issues.length === 0) checkAgain(decoded.message, codec)
  return treatments.includes('attribute-discard') ? 'attribute-discard' : 'taken'
}

function checkError({ code, subcode, data, reason }: SessionError): void {
  assert.ok(isAssignedError(code, subcode), `error ${code}/${subcode} is not assigned`)
  assert.ok(data.length <= 4096 - 21, 'the data fits in a NOTIFICATION')
  assert.notEqual(reason, '')
}

function checkIssue({ treatment, source, reason }: UpdateIssue): void {
  assert.notEqual(treatment, 'session-reset')
  assert.match(source, /^RFC \d{4} section \d+(\.\w+)*$/)
  assert.notEqual(reason, '')
}

function checkWithdrawal(message: BgpMessage): void {
  assert.equal(message.type, 'UPDATE')
  if (message.type !== 'UPDATE') return
  const { mpReach, mpUnreach, ...others } = message.attributes
  assert.deepEqual([message.nlri, mpReach?.nlri ?? [], Object.keys(others)], [[], [], []])
  assert.ok(mpUnreach === undefined || mpUnreach.raw !== undefined || mpUnreach.withdrawn.length > 0)
}

// What was taken without an issue is a value like any other: written and read again it is the same. The one exception is the
// place of confederation segments on a path between two-octet speakers, which AS4_PATH can not carry.
function checkAgain(message: BgpMessage, codec: SessionCodec): void {
  const path = message.type === 'UPDATE' ? (message.attributes.asPath ?? []) : []
  if (!codec.fourOctetAs && path.some(({ type }) => type.startsWith('AS_CONFED'))) return
  const sender = {
    ...codec,
    addPathSend: codec.addPathReceive,
    messageBytesMaxSend: 65535,
    extendedNextHop: codec.families,
  }
  const receiver = { ...codec, messageBytesMaxReceive: 65535 }
  const again = decodeMessage(encodeMessage(message, sender), receiver)
  assert.deepEqual(again.ok && again.message, message)
}
