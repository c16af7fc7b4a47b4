// What every transport of BFD promises (src/bfd/transport.ts). The same tests run over the network in memory and over the kernel's UDP,
// so that what the engine's tests see in memory is what happens on a wire.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type {
  BfdHops,
  BfdListener,
  BfdPlace,
  BfdSender,
  BfdSource,
  BfdTransport,
  TtlRule,
} from '../../src/bfd/transport.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import type { Ip } from '../../src/net/ip.ts'
import { familyOf } from '../../src/net/ip.ts'
import { must } from '../../src/runtime/result.ts'

/** Two hosts on one link. */
export interface Ends {
  readonly transport: BfdTransport
  /** Another program of the receiver's host. */
  readonly beside: BfdTransport
  readonly sender: Ip
  readonly receiver: Ip
  /** A third host's. */
  readonly third: Ip
  /** An address that is on neither. */
  readonly foreign: Ip
  /** Sends what no transport would: with another TTL. */
  readonly sendWithTtl: (ttl: number, hops: BfdHops, text: string) => void
}

interface Received {
  readonly text: string
  readonly source: BfdSource
}

export function transportContract(name: string, createEnds: () => Ends): void {
  describe(`${name} keeps the contract of BFD transports`, () => {
    let ends: Ends
    let opened: { close: () => void }[]
    let received: Received[]

    const byPeer = (address: Ip): Partial<BfdPlace> => ({ peer: { address, bgpPort: 179 } })
    const place = (changes: Partial<BfdPlace> = {}): BfdPlace => ({
      hops: 'single',
      family: familyOf(ends.receiver),
      address: ends.receiver,
      ...changes,
    })
    const tryListen = (
      changes: Partial<BfdPlace> = {},
      rules: readonly TtlRule[] = [],
      transport: BfdTransport = ends.transport,
    ) => {
      const listener = transport.listen(place(changes), rules, {
        received: ({ bytes, source }) => {
          received.push({ text: new TextDecoder().decode(bytes), source: source() })
        },
        failed: ({ reason }) => {
          throw new Error(reason)
        },
      })
      if (listener.ok) opened.push(listener.value)
      return listener
    }
    const listen = (...args: Parameters<typeof tryListen>): BfdListener => must(tryListen(...args))
    const open = (hops: BfdHops = 'single'): BfdSender => {
      const sender = must(ends.transport.open({ hops, remoteAddress: ends.receiver, localAddress: ends.sender }))
      opened.push(sender)
      return sender
    }
    const say = (sender: BfdSender, text: string): void =>
      expect(sender.send(new TextEncoder().encode(text))).toBeUndefined()
    const texts = (): readonly string[] => received.map(({ text }) => text)
    const heard = (text: string): Promise<unknown> => waitFor(() => texts().includes(text), { what: text })

    beforeEach(() => {
      ends = createEnds()
      opened = []
      received = []
    })
    afterEach(() => {
      for (const each of opened) each.close()
    })

    test.each(['single', 'multi'] as const)('delivers over %s hop, in order, with the source', async (hops) => {
      listen({ hops })
      const sender = open(hops)
      for (const text of ['one', 'two', 'three']) say(sender, text)
      await heard('three')
      expect(received).toEqual(['one', 'two', 'three'].map((text) => ({ text, source: { address: ends.sender } })))
    })

    test('keeps single hop and several hops apart', async () => {
      listen({ hops: 'multi' })
      say(open('single'), 'single')
      say(open('multi'), 'multi')
      await heard('multi')
      expect(texts()).toEqual(['multi'])
    })

    test('drops on a single hop what was forwarded', async () => {
      listen()
      for (const ttl of [254, 1, 64]) ends.sendWithTtl(ttl, 'single', `ttl ${ttl}`)
      say(open(), 'from the link')
      await heard('from the link')
      expect(texts()).toEqual(['from the link'])
    })

    test('drops over several hops what comes from further away than a rule for its source allows', async () => {
      const listener = listen({ hops: 'multi' }, [{ address: ends.sender, ttlMin: 250 }])
      ends.sendWithTtl(249, 'multi', 'too far')
      ends.sendWithTtl(250, 'multi', 'near enough')
      await heard('near enough')
      expect(listener.setTtlRules([{ address: ends.foreign, ttlMin: 255 }])).toBeUndefined()
      ends.sendWithTtl(5, 'multi', 'no rule any more')
      await heard('no rule any more')
      expect(
        listener.setTtlRules([ends.foreign, ends.sender].map((address) => ({ address, ttlMin: 255 }))),
      ).toBeUndefined()
      ends.sendWithTtl(254, 'multi', 'too far again')
      ends.sendWithTtl(255, 'multi', 'the end')
      await heard('the end')
      expect(texts()).toEqual(['near enough', 'no rule any more', 'the end'])
    })

    test('says that nobody listens, until that is forgotten or somebody does', async () => {
      const sender = open('multi')
      expect(sender.wasRefused()).toBe(false)
      say(sender, 'nobody hears this')
      await waitFor(() => sender.wasRefused(), { what: 'a refusal' })
      expect(sender.wasRefused()).toBe(true)
      sender.forgetRefusal()
      expect(sender.wasRefused()).toBe(false)
      listen({ hops: 'multi' })
      say(sender, 'heard')
      await heard('heard')
      expect(sender.wasRefused()).toBe(false)
    })

    test('sends also what follows a refusal', async () => {
      const sender = open('multi')
      say(sender, 'nobody hears this')
      await waitFor(() => sender.wasRefused(), { what: 'a refusal' })
      sender.forgetRefusal()
      say(sender, 'nor this')
      const deaf = open('multi')
      say(deaf, 'nor this')
      await waitFor(() => deaf.wasRefused(), { what: 'another refusal' })
      listen({ hops: 'multi' })
      for (const text of ['one', 'two']) say(sender, text)
      await heard('two')
      expect(texts()).toEqual(['one', 'two'])
      expect(sender.wasRefused()).toBe(true)
    })

    test('a place is had by one', () => {
      const first = listen()
      expect(tryListen()).toMatchObject({ ok: false, error: { code: 'bfd-socket/in-use' } })
      expect(tryListen({ hops: 'multi' })).toMatchObject({ ok: true })
      first.close()
      expect(tryListen()).toMatchObject({ ok: true })
    })

    test('programs of one host that listen each to its own peer hear that peer alone', async () => {
      const heardBeside: string[] = []
      const other = must(
        ends.beside.listen(place(byPeer(ends.third)), [], {
          received: ({ bytes }) => heardBeside.push(new TextDecoder().decode(bytes)),
          failed: () => {},
        }),
      )
      opened.push(other)
      listen(byPeer(ends.sender))
      const sender = open()
      for (const text of ['one', 'two']) say(sender, text)
      await heard('two')
      expect([texts(), heardBeside]).toEqual([['one', 'two'], []])
    })

    test('a peer of a host is one program’s, over however many hops, and free again when it is closed', () => {
      const first = listen(byPeer(ends.sender))
      expect(tryListen(byPeer(ends.sender), [], ends.beside)).toMatchObject({
        ok: false,
        error: { code: 'bfd-socket/in-use' },
      })
      expect(tryListen({ ...byPeer(ends.sender), hops: 'multi' }, [], ends.beside)).toMatchObject({ ok: false })
      first.close()
      expect(tryListen(byPeer(ends.sender), [], ends.beside)).toMatchObject({ ok: true })
      expect(tryListen(byPeer(ends.sender))).toMatchObject({ ok: false })
    })

    test('who listens to everybody and who listens to one peer do not share a port', () => {
      const first = listen()
      expect(tryListen(byPeer(ends.sender), [], ends.beside)).toMatchObject({
        ok: false,
        error: { code: 'bfd-socket/in-use' },
      })
      first.close()
      listen(byPeer(ends.sender))
      expect(tryListen({}, [], ends.beside)).toMatchObject({ ok: false, error: { code: 'bfd-socket/in-use' } })
    })

    test('an address that is not ours is refused', () => {
      expect(tryListen({ address: ends.foreign })).toMatchObject({ ok: false, error: { code: 'bfd-socket/refused' } })
      const path = { hops: 'single', remoteAddress: ends.receiver, localAddress: ends.foreign } as const
      expect(ends.transport.open(path)).toMatchObject({ ok: false, error: { code: 'bfd-socket/refused' } })
    })

    test('nothing is delivered after it was closed, nothing sent after the sender was', async () => {
      const closed = listen()
      const [sender, witness] = [open(), open('multi')]
      say(sender, 'before')
      await heard('before')
      closed.close()
      closed.close()
      say(sender, 'while closed')
      listen({ hops: 'multi' })
      say(witness, 'meanwhile')
      await heard('meanwhile')
      listen()
      sender.close()
      sender.close()
      say(sender, 'nobody')
      say(open(), 'last')
      await heard('last')
      expect(texts()).toEqual(['before', 'meanwhile', 'last'])
    })
  })
}
