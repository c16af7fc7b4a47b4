// Splits a byte stream into lines: a watch is one JSON document a line. Chunks are kept as they come and joined once per line,
// so a large object that arrives in many pieces costs its length, not its square.

/** Feeds bytes, gets complete lines without their `\n`. Empty lines are skipped. */
export interface LineSplitter {
  /** Calls `onLine` for each line that `chunk` completes. Throws LineTooLong when a line exceeds the bound. */
  readonly push: (chunk: Uint8Array, onLine: (line: string) => void) => void
  /** Bytes of the line that has not ended yet: not zero at the end of a stream means that it was cut. */
  readonly pendingBytes: () => number
}

/** A line beyond the bound: whatever sends this is no API server that we can follow. */
export class LineTooLong extends Error {}

const lineFeed = 0x0a

/** Creates a splitter; `lineBytesMax` bounds what one line may hold. */
export function createLineSplitter(options: { readonly lineBytesMax: number }): LineSplitter {
  const decoder = new TextDecoder()
  let pending: Uint8Array[] = []
  let pendingLength = 0

  const hold = (part: Uint8Array): void => {
    if (part.length === 0) return
    pendingLength += part.length
    if (pendingLength > options.lineBytesMax)
      throw new LineTooLong(`a line is longer than ${options.lineBytesMax} bytes`)
    pending.push(part)
  }

  const take = (): string => {
    const parts = pending
    const length = pendingLength
    pending = []
    pendingLength = 0
    const [only] = parts
    if (parts.length === 1 && only !== undefined) return decoder.decode(only)
    const joined = new Uint8Array(length)
    let at = 0
    for (const part of parts) {
      joined.set(part, at)
      at += part.length
    }
    return decoder.decode(joined)
  }

  return {
    push: (chunk, onLine) => {
      let start = 0
      for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, start)) {
        hold(chunk.subarray(start, end))
        start = end + 1
        const line = take().trim()
        if (line !== '') onLine(line)
      }
      hold(chunk.subarray(start))
    },
    pendingBytes: () => pendingLength,
  }
}
