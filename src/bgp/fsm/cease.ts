// How the local side ends a session: the Cease it sends, and when that must be a Hard Reset so that the peer does not keep our
// routes as those of a router that is about to come back (RFC 4486, RFC 8538, RFC 9003).

import { type CeaseName, ceaseError, encodeShutdownCommunication, notificationOf } from '../packet/errors.ts'
import type { NotificationMessage } from '../packet/message.ts'

/** A Cease as the local side asks for it. */
export interface Cease {
  readonly name: CeaseName
  /** The shutdown communication of RFC 9003; for 'administrative-shutdown' and 'administrative-reset' only. */
  readonly text?: string
  /** Data that the subcode defines (RFC 4486 section 4); exclusive with `text`. */
  readonly data?: Uint8Array
}

/** The session is not meant to come back by itself, so the routes must not be kept for it (RFC 8538 section 5). */
const forGood: ReadonlySet<CeaseName> = new Set(['administrative-shutdown', 'peer-deconfigured'])

/**
 * The NOTIFICATION of a Cease. `keepsRoutes`: both sides sent the N bit of RFC 8538, so that the peer keeps routes over any
 * NOTIFICATION but Cease/9, whose data is the original code, subcode and data.
 */
export function ceaseNotification(cease: Cease, options: { readonly keepsRoutes: boolean }): NotificationMessage {
  const data = cease.data ?? encodeShutdownCommunication(cease.text ?? '')
  const plain = notificationOf(ceaseError(cease.name, '', data))
  if (!options.keepsRoutes || !forGood.has(cease.name)) return plain
  return notificationOf(ceaseError('hard-reset', '', Uint8Array.of(plain.code, plain.subcode, ...data)))
}
