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
  let escaped = false
  let inItems = false
  /** The latest text one level in, complete with quotes, while it is read and after. */
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
      let memberStart = -1
      for (let i = 0; i < chunk.length; i++) {
        const byte = chunk[i]
        if (inText) {
          if (escaped) escaped = false
          else if (byte === backslash) escaped = true
          else if (byte === quote) {
            inText = false
            if (depth === memberDepth) {
              member += chunk.toString('latin1', Math.max(memberStart, 0), i)
              memberStart = -1
            }
          }
          continue
        }
        switch (byte) {
          case quote:
            inText = true
            if (depth === memberDepth) {
              member = ''
              memberStart = i + 1
            }
            break
          case openBrace:
          case openBracket:
            depth++
            if (byte === openBracket && depth === itemDepth && member === 'items') {
              rest.push(take(i + 1))
              inItems = true
            }
            break
          case closeBrace:
          case closeBracket:
            depth--
            if (!inItems) break
            if (depth === itemDepth) onItem(take(i + 1))
            else if (depth === memberDepth) {
              inItems = false
              // White space, if anything.
              take(i)
            }
            break
          case comma:
            // Between two items; what follows is the next one, or white space before it.
            if (inItems && depth === itemDepth) start = i + 1
            break
        }
      }
      if (inText && depth === memberDepth) member += chunk.toString('latin1', Math.max(memberStart, 0))
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
