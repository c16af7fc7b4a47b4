import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createFramer, type Framed } from '../../../src/bgp/packet/framing.ts'
import { fromHex, message, toHex, update } from './wire.ts'

const marker = 'ff'.repeat(16)

function frame(bytes: Uint8Array, maxBytes = 4096): Framed | undefined {
  const framer = createFramer()
  framer.push(bytes)
  return framer.next(maxBytes)
}

// RFC 4271 section 6.1, RFC 8654 section 4.
describe('header errors', () => {
  test.each<[string, string, number, [number, number, string]]>([
    ['a marker that is not all ones', `${'ff'.repeat(15)}fe 0013 04`, 4096, [1, 1, '']],
    ['a marker of zeros, as RFC 1771 allowed with authentication', `${'00'.repeat(16)} 0013 04`, 4096, [1, 1, '']],
    ['plain text', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n').toString('hex'), 4096, [1, 1, '']],
    ['a length below the header', `${marker} 0012 04`, 4096, [1, 2, '0012']],
    ['a length of zero', `${marker} 0000 02`, 4096, [1, 2, '0000']],
    ['a length above 4096', `${marker} 1001 02`, 4096, [1, 2, '1001']],
    ['a KEEPALIVE with a body', `${marker} 0014 04`, 4096, [1, 2, '0014']],
    ['an OPEN of less than 29 octets', `${marker} 001c 01`, 4096, [1, 2, '001c']],
    ['an UPDATE of less than 23 octets', `${marker} 0016 02`, 4096, [1, 2, '0016']],
    ['a NOTIFICATION of less than 21 octets', `${marker} 0014 03`, 4096, [1, 2, '0014']],
    ['an extended OPEN', `${marker} 1001 01`, 65535, [1, 2, '1001']],
    ['an extended KEEPALIVE', `${marker} 1001 04`, 65535, [1, 2, '1001']],
    ['message type 0', `${marker} 0013 00`, 4096, [1, 3, '00']],
    ['message type 6', `${marker} 0028 06`, 4096, [1, 3, '06']],
    ['message type 255', `${marker} 0013 ff`, 4096, [1, 3, 'ff']],
    ['an unknown type whose length is wrong too: the length comes first', `${marker} 0005 ff`, 4096, [1, 2, '0005']],
  ])('%s', (_, hex, maxBytes, [code, subcode, data]) => {
    const framed = frame(fromHex(hex), maxBytes)
    if (framed?.type !== 'error') throw new Error('not refused')
    expect([framed.error.code, framed.error.subcode, toHex(framed.error.data)]).toEqual([code, subcode, data])
  })

  test('an error is final: whatever follows, it is the answer', () => {
    const framer = createFramer()
    framer.push(fromHex(`${marker} 0013 ff`))
    const first = framer.next(4096)
    framer.push(message(4, ''))
    expect(framer.next(4096)).toEqual(first)
    expect(first?.type).toBe('error')
  })
})

describe('cutting', () => {
  test('nothing is said before a message is whole', () => {
    const bytes = update({ nlri: '20 0a000001' })
    for (let length = 0; length < bytes.length; length++) expect(frame(bytes.subarray(0, length))).toBeUndefined()
    expect(frame(bytes)).toEqual({ type: 'message', bytes })
  })

  test('a wrong header is refused before its body has come', () => {
    expect(frame(fromHex(`${marker} ffff 02`))?.type).toBe('error')
  })

  test('an extended UPDATE passes where it was negotiated (RFC 8654)', () => {
    const bytes = message(2, `0000 0000 ${'00'.repeat(60_000)}`)
    expect(frame(bytes, 65535)).toEqual({ type: 'message', bytes })
    expect(frame(bytes, 4096)?.type).toBe('error')
  })

  test('the limit may grow between two messages, as it does after OPEN', () => {
    const framer = createFramer()
    const long = message(2, `0000 0000 ${'00'.repeat(5000)}`)
    framer.push(message(4, ''))
    framer.push(long)
    expect(framer.next(4096)?.type).toBe('message')
    expect(framer.next(65535)).toEqual({ type: 'message', bytes: long })
  })

  test('a message is not changed by what is pushed after it', () => {
    const framer = createFramer()
    const first = update({ nlri: '20 0a000001' })
    framer.push(first.slice(0, 10))
    framer.push(first.slice(10))
    const framed = framer.next(4096)
    for (let i = 0; i < 100; i++) framer.push(message(4, '').slice(0, 7))
    expect(framed).toEqual({ type: 'message', bytes: first })
  })

  test('the same messages come out wherever the stream is split', () => {
    const samples = [
      message(4, ''),
      update({}),
      update({ nlri: '20 0a000001' }),
      message(3, `0602 ${'61'.repeat(300)}`),
    ]
    const stream = fc.array(fc.constantFrom(...samples), { minLength: 1, maxLength: 20 })
    const cuts = fc.array(fc.nat({ max: 2000 }), { maxLength: 30 })
    fc.assert(
      fc.property(stream, cuts, (messages, at) => {
        const whole = Uint8Array.from(messages.flatMap((one) => [...one]))
        const ends = [...new Set(at.filter((cut) => cut < whole.length)), whole.length].sort((a, b) => a - b)
        const framer = createFramer()
        const framed: Framed[] = []
        let start = 0
        for (const end of ends) {
          framer.push(whole.slice(start, end))
          start = end
          for (let next = framer.next(4096); next !== undefined; next = framer.next(4096)) framed.push(next)
        }
        expect(framed).toEqual(messages.map((bytes) => ({ type: 'message', bytes })))
      }),
    )
  })

  test('octet by octet costs no more than a few copies of each', () => {
    const bytes = message(2, `0000 0000 ${'00'.repeat(65_000)}`)
    const copied = countCopiedOctets(() => {
      const framer = createFramer()
      for (const octet of bytes) {
        framer.push(Uint8Array.of(octet))
        framer.next(65535)
      }
    })
    expect(copied).toBeLessThan(4 * bytes.length)
  })
})

// Octets that `Uint8Array.prototype.set` moves while `work` runs.
function countCopiedOctets(work: () => void): number {
  const set = Uint8Array.prototype.set
  let octets = 0
  Uint8Array.prototype.set = function (source, offset) {
    octets += source.length
    set.call(this, source, offset)
  }
  try {
    work()
  } finally {
    Uint8Array.prototype.set = set
  }
  return octets
}
