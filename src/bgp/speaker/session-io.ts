// The hands of one session: its timers, its dial and its connection. Does what the state machine's actions say and reports what
// happens as events; decides nothing. Everything it reports is handed to `report` outside of any action.

import type { Clock, Random } from '../../runtime/clock.ts'
import { jitteredTimers, type SessionAction, type SessionEvent, type TimerName } from '../fsm/session.ts'
import { encodeMessage } from '../packet/encode.ts'
import { type BgpMessage, openingCodec } from '../packet/message.ts'
import { createReceiver, type Receiver } from './receiver.ts'
import type { Connection, DialOptions, Transport } from './transport.ts'

export interface SessionIoOptions {
  readonly clock: Clock
  readonly random: Random
  readonly transport: Transport
  readonly dialOptions: () => DialOptions
  readonly report: (event: SessionEvent) => void
  /** Bytes have arrived; `receiver` of `connected` has them. */
  readonly arrived: () => void
  readonly drained: () => void
  readonly wrote: (messages: number) => void
  /** A connection that was closed has delivered its last message, or never will. */
  readonly closed: () => void
}

export interface Connected {
  readonly connection: Connection
  readonly receiver: Receiver
}

export interface SessionIo {
  readonly perform: (action: Extract<SessionAction, { readonly type: IoActionType }>) => void
  /** Takes a connection that the peer opened. */
  readonly adopt: (connection: Connection) => void
  readonly connected: Connected | undefined
}

export type IoActionType = 'start-timer' | 'stop-timer' | 'connect' | 'disconnect' | 'send'

/** RFC 4271 section 10: a timer's value times a random factor from 0.75 to 1.0. */
const jitter = (random: Random): number => 0.75 + 0.25 * random()

/** How many looks at the write progress make up a SendHoldTime. */
const sendHoldLooks = 16

export function createSessionIo(options: SessionIoOptions): SessionIo {
  const { clock, random, transport, report } = options
  const timers = new Map<TimerName, () => void>()
  let cancelDial: (() => void) | undefined
  let connected: Connected | undefined

  const stopTimer = (timer: TimerName): void => {
    timers.get(timer)?.()
    timers.delete(timer)
  }

  const startTimer = (timer: TimerName, seconds: number): void => {
    stopTimer(timer)
    const delayMs = 1000 * seconds * (jitteredTimers.has(timer) ? jitter(random) : 1)
    timers.set(
      timer,
      clock.setTimer(delayMs, () => {
        timers.delete(timer)
        report({ type: `${timer}TimerExpires` })
      }),
    )
  }

  // RFC 9687: time without progress while there is something to write. Looked at every so often, because the kernel tells of
  // progress only when it has taken everything.
  const watchProgress = (seconds: number): void => {
    let accepted = connected?.connection.acceptedBytes ?? 0
    let sinceMs = clock.monotonicMs()
    const look = (): void => {
      const connection = connected?.connection
      if (connection === undefined) return
      if (connection.pendingBytes === 0 || connection.acceptedBytes !== accepted) {
        accepted = connection.acceptedBytes
        sinceMs = clock.monotonicMs()
      } else if (clock.monotonicMs() - sinceMs >= 1000 * seconds) {
        timers.delete('SendHold')
        report({ type: 'SendHoldTimerExpires' })
        return
      }
      timers.set('SendHold', clock.setTimer((1000 * seconds) / sendHoldLooks, look))
    }
    stopTimer('SendHold')
    timers.set('SendHold', clock.setTimer((1000 * seconds) / sendHoldLooks, look))
  }

  const attach = (connection: Connection): void => {
    const receiver = createReceiver()
    const mine: Connected = { connection, receiver }
    connected = mine
    const current = (): boolean => connected === mine
    connection.open({
      data: (chunk) => {
        if (!current()) return
        receiver.push(chunk)
        options.arrived()
      },
      drained: () => current() && options.drained(),
      closed: (reason) => current() && report({ type: 'TcpConnectionFails', reason }),
    })
  }

  const connect = (): void => {
    cancelDial = transport.dial(options.dialOptions(), {
      connected: (connection) => {
        cancelDial = undefined
        attach(connection)
        report({ type: 'TcpCrAcked' })
      },
      failed: (reason) => {
        cancelDial = undefined
        report({ type: 'TcpConnectionFails', reason })
      },
    })
  }

  const disconnect = (): void => {
    cancelDial?.()
    cancelDial = undefined
    const closing = connected?.connection
    connected = undefined
    closing?.close(options.closed)
  }

  const send = (message: BgpMessage): void => {
    connected?.connection.write(encodeMessage(fitted(message), openingCodec))
    options.wrote(1)
  }

  return {
    perform: (action) => {
      switch (action.type) {
        case 'start-timer':
          if (action.timer === 'SendHold') watchProgress(action.seconds)
          else startTimer(action.timer, action.seconds)
          break
        case 'stop-timer':
          stopTimer(action.timer)
          break
        case 'connect':
          connect()
          break
        case 'disconnect':
          disconnect()
          break
        case 'send':
          send(action.message)
          break
      }
    },
    adopt: attach,
    get connected() {
      return connected
    },
  }
}

const notificationDataMax = openingCodec.messageBytesMaxSend - 21

// A NOTIFICATION may quote a message that is longer than what the peer is sure to accept.
const fitted = (message: BgpMessage): BgpMessage =>
  message.type === 'NOTIFICATION' && message.data.length > notificationDataMax
    ? { ...message, data: message.data.subarray(0, notificationDataMax) }
    : message
