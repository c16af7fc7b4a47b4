// Which event of RFC 4271 section 8.1 a received message, or a failure to decode one, is. The judgement of an OPEN happens here,
// so that the state machine only ever sees a valid OPEN (19, 20) or an OPEN error (22).

import { openError, routeRefreshLengthError, updateError } from '../packet/errors.ts'
import type { BgpMessage, OpenMessage, SessionError } from '../packet/message.ts'
import { createOpen, validateOpen } from './open.ts'
import type { SessionContext, SessionEvent, SessionState } from './session.ts'

/** The event that a whole, decoded message is in this state. */
export function eventOfMessage(state: SessionState, message: BgpMessage, context: SessionContext): SessionEvent {
  switch (message.type) {
    case 'OPEN':
      return eventOfOpen(state, message, context)
    case 'UPDATE':
      return { type: 'UpdateMsg' }
    case 'KEEPALIVE':
      return { type: 'KeepAliveMsg' }
    case 'ROUTE-REFRESH':
      return { type: 'RouteRefreshMsg', message }
    case 'NOTIFICATION': {
      const { code, subcode } = openError('unsupported-version', '')
      const isVersion = message.code === code && message.subcode === subcode
      return { type: isVersion ? 'NotifMsgVerErr' : 'NotifMsg', notification: message }
    }
  }
}

function eventOfOpen(state: SessionState, open: OpenMessage, context: SessionContext): SessionEvent {
  const sent =
    state.name === 'OpenSent'
      ? state.sentOpen
      : createOpen(context.config, {
          restarting: context.restarting,
          withoutCapabilities: state.memory.withoutCapabilities,
        })
  const valid = validateOpen(sent, open, context.config)
  if (!valid.ok) return { type: 'BgpOpenMsgErr', error: valid.error }
  const delaying = (state.name === 'Connect' || state.name === 'Active') && state.delayingOpen
  return { type: delaying ? 'BgpOpenWithDelayOpenTimerRunning' : 'BgpOpen', open }
}

const openErrorCode = openError('unspecific', '').code
const updateErrorCode = updateError('malformed-attribute-list', '').code
const routeRefreshErrorCode = routeRefreshLengthError(new Uint8Array(0)).code

/** The event that a decoding error is, by its NOTIFICATION code. */
export function eventOfError(error: SessionError): SessionEvent {
  switch (error.code) {
    case openErrorCode:
      return { type: 'BgpOpenMsgErr', error }
    case updateErrorCode:
      return { type: 'UpdateMsgErr', error }
    case routeRefreshErrorCode:
      return { type: 'RouteRefreshMsgErr', error }
    default:
      return { type: 'BgpHeaderErr', error }
  }
}
