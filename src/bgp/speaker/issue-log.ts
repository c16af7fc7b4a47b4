// What a router says that is wrong, for the log: each fault with the octets of its message, and no more of them than a disk and its reader
// can bear.

import type { Clock } from '../../runtime/clock.ts'
import { createLogLimit, peerLogLimit } from './log-limit.ts'
import type { PeerReport } from './peer-report.ts'
import type { Received } from './receiver.ts'

export interface IssueLog {
  /** What was wrong with a message, if anything was. */
  readonly note: (received: Received) => void
  /** Tells how many were not told, and nothing more. */
  readonly end: () => void
}

/** As much of a message as a line of a log has room for: its header, and what mostly is to blame. */
const loggedBytesMax = 256

export function createIssueLog(clock: Clock, report: Pick<PeerReport, 'log'>): IssueLog {
  const limit = createLogLimit({
    ...{ clock, ...peerLogLimit },
    suppressed: (count) => report.log('warn', { event: 'update-issues-suppressed', count }),
  })
  return {
    note: ({ event, issues, offending }) => {
      if (offending === undefined) return
      const message = hexOf(offending)
      for (const issue of issues) if (limit.admits()) report.log('warn', { event: 'update-issue', ...issue, message })
      if (!('error' in event) || !limit.admits()) return
      const { code, subcode, reason } = event.error
      report.log('warn', { event: 'message-error', code, subcode, reason, message })
    },
    end: limit.end,
  }
}

/** The octets of a message for people and for a decoder; how many more there are. */
function hexOf(bytes: Uint8Array): string {
  const shown = Array.from(bytes.subarray(0, loggedBytesMax), (byte) => byte.toString(16).padStart(2, '0')).join('')
  return bytes.length > loggedBytesMax ? `${shown} and ${bytes.length - loggedBytesMax} octets more` : shown
}
