// Takes a list apart while it arrives: each item becomes a value as soon as its last byte is there, and the rest (kind, metadata) when
// all is. A list of 200 MB then never stands in memory, neither as text nor as objects, and no part of it holds the thread for
// longer than a chunk does.

/** Feeds bytes of one JSON object; the elements of its member `items` are handed over one by one. */
export interface ListSplitter {
  /** Calls `onItem` with the JSON text of each item that `chunk` completes. */
  readonly push: (chunk: Buffer, onItem: (text: string) => void) => void
  /** Bytes of what has begun and not ended: an item, or the list's own members so far. */
  readonly pendingBytes: () => number
  /** The object as text with an empty `items`, after the last byte. */
  readonly rest: () => string
}

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d

/** 1 for the bytes that mean something outside of texts. */
const structural = new Uint8Array(256)
for (const byte of [quote, comma, openBrace, closeBrace, openBracket, closeBracket]) structural[byte] = 1

/** Where the items are: an object's member, so one level in; each of them one more. */
const memberDepth = 1
const itemDepth = 2

/**
 * Creates a splitter for one list. It finds where values begin and end and leaves their meaning to JSON.parse: what is no JSON ends
 * up as texts that do not parse.
 */
export function createListSplitter(): ListSplitter {
  const rest: string[] = []
  /** What has begun in earlier chunks and not ended: an item, or a piece of the rest. */
  let begun: Buffer[] = []
  let depth = 0
  let inText = false
  /** A text's chunk ended between a backslash and what it escapes. */
  let escaping = false
  let inItems = false
  /** The latest text one level in: the member whose value follows, if it is one. */
  let member = ''

  return {
    push: (chunk, onItem) => {
      // First byte of what is being read in this chunk.
      let start = 0
      const take = (end: number): string => {
        const last = chunk.subarray(start, end)
        start = end
        if (begun.length === 0) return last.toString('utf8')
        const whole = Buffer.concat([...begun, last])
        begun = []
        return whole.toString('utf8')
      }
      // In variables of its own, and with the texts in the same loop: this looks at every byte of every list.
      const end = chunk.length
      let level = depth
      let at = escaping ? 1 : 0
      let isText = inText
      while (at < end) {
        if (isText) {
          const from = at
          while (at < end) {
            const byte = chunk[at]
            if (byte === quote) break
            at += byte === backslash ? 2 : 1
          }
          if (level === memberDepth) member += chunk.toString('latin1', from, at)
          isText = at >= end
          at++
          continue
        }
        const byte = chunk[at++] ?? comma
        if (structural[byte] === 0) continue
        if (byte === quote) {
          isText = true
          if (level === memberDepth) member = ''
        } else if (byte === openBrace || byte === openBracket) {
          level++
          if (level === itemDepth && byte === openBracket && member === 'items') {
            rest.push(take(at))
            inItems = true
          }
        } else if (byte === closeBrace || byte === closeBracket) {
          level--
          if (level === itemDepth && inItems) onItem(take(at))
          else if (level === memberDepth && inItems) {
            inItems = false
            // White space, if anything.
            take(at - 1)
          }
          // Between two items; what follows is the next one, or white space before it.
        } else if (level === itemDepth && inItems) start = at
      }
      depth = level
      inText = isText
      // Beyond the end by two when the last byte was a backslash inside a text.
      escaping = isText && at > end + 1
      if (start < chunk.length) begun.push(chunk.subarray(start))
    },
    pendingBytes: () => begun.reduce((sum, { length }) => sum + length, 0),
    rest: () => {
      rest.push(Buffer.concat(begun).toString('utf8'))
      begun = []
      return rest.join('')
    },
  }
}
