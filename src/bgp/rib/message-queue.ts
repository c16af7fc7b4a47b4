// Messages that are ready, first in, first out, without moving the rest on each take. Bounded by the batch that fills it: the next
// one begins empty.

export interface MessageQueue {
  readonly put: (message: Uint8Array) => void
  readonly take: () => Uint8Array | undefined
  readonly size: () => number
}

export function createMessageQueue(): MessageQueue {
  let messages: Uint8Array[] = []
  let taken = 0
  return {
    put: (message) => void messages.push(message),
    take: () => {
      const message = messages[taken]
      if (message === undefined) return undefined
      if (++taken === messages.length) {
        messages = []
        taken = 0
      }
      return message
    },
    size: () => messages.length - taken,
  }
}
