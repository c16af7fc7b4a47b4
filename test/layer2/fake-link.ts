// A link with nodes on it, in memory and on a virtual clock: each node's kernel with its addresses and their lifetimes, as `ip` shows
// and changes them, and frames that reach whoever is plugged into the same half of the link.

import type { ObservedLink } from '../../src/layer2/addresses.ts'
import { labelOf } from '../../src/layer2/addresses.ts'
import { announcements, decodeClaim, parseMac } from '../../src/layer2/frames.ts'
import type { PacketSocket } from '../../src/layer2/native-packets.ts'
import { familyOf, type Ip, ipFromBytes, parseIp } from '../../src/net/ip.ts'
import type { Exec } from '../../src/runtime/exec.ts'
import { must, ok, type Result } from '../../src/runtime/result.ts'
import type { VirtualClock } from '../../src/runtime/virtual-clock.ts'

interface KernelAddress {
  readonly interface: string
  /** Infinity for what people configure. */
  readonly untilMs: number
  readonly ours: boolean
  readonly length: number
}

export interface FakeNode {
  readonly name: string
  readonly mac: string
  readonly exec: Exec
  readonly open: (interfaceIndex: number) => Result<PacketSocket, never>
  /** The VIPs that its kernel carries by an agent's hand. */
  readonly held: () => readonly Ip[]
  readonly lifetimeSeconds: (address: Ip) => number | undefined
  /** Somebody configures an address by hand. */
  readonly configure: (address: Ip, length: number) => void
  readonly unconfigure: (address: Ip) => void
  readonly setCarrier: (carrier: boolean) => void
  /** What `ip` says to a command from now on instead of carrying it out; undefined = it does. */
  readonly fail: (of: (command: string) => string | undefined) => void
  /** Commands that changed something, oldest first. */
  readonly commands: readonly string[]
  /** Claims that it sent, with the time. */
  readonly claimed: readonly { readonly address: Ip; readonly atMs: number }[]
}

export interface FakeLink {
  readonly addNode: (name: string) => FakeNode
  /** Frames pass between two nodes only when this says so. */
  setConnected: (connected: (a: string, b: string) => boolean) => void
}

const interfaceName = 'eth0'

export function createFakeLink(clock: VirtualClock): FakeLink {
  const hosts: { readonly name: string; readonly receive: (frame: Uint8Array) => void }[] = []
  let isConnected: (a: string, b: string) => boolean = () => true

  const broadcast = (from: string, frame: Uint8Array): void => {
    for (const host of hosts) if (host.name !== from && isConnected(from, host.name)) host.receive(frame)
  }

  const addNode = (name: string): FakeNode => {
    const serial = hosts.length + 1
    const mac = `02:00:00:00:00:0${serial}`
    const addresses = new Map<Ip, KernelAddress>()
    const queue: Uint8Array[] = []
    const commands: string[] = []
    const claimed: { address: Ip; atMs: number }[] = []
    let carrier = true
    let failing: (command: string) => string | undefined = () => undefined
    const add = (address: Ip, of: KernelAddress): void => void addresses.set(address, of)
    add(must(parseIp(`10.0.0.${serial}`)), forever(24))
    add(must(parseIp(`fd00:10::${serial}`)), forever(64))
    const expire = (): void => {
      for (const [ip, { untilMs }] of addresses) if (untilMs <= clock.monotonicMs()) addresses.delete(ip)
    }
    const run = (line: string): string | undefined => {
      const words = line.split(' ')
      const [, verb = '', prefix = ''] = words
      const ip = must(parseIp(prefix.split('/')[0] ?? ''))
      const known = addresses.get(ip)
      if (verb === 'del') return addresses.delete(ip) ? undefined : 'RTNETLINK answers: Cannot assign requested address'
      if (verb === 'add' && known !== undefined) return 'RTNETLINK answers: File exists'
      const seconds = Number(words[words.indexOf('valid_lft') + 1])
      const untilMs = clock.monotonicMs() + seconds * 1000
      add(ip, { interface: interfaceName, untilMs, ours: true, length: familyOf(ip) === 'IPv4' ? 32 : 128 })
      return undefined
    }
    const exec: Exec = async (_file, args, options) => {
      expire()
      const blind = args.includes('show') ? failing('show') : undefined
      if (blind !== undefined) return { status: 1, stdout: '', stderr: blind }
      if (args.includes('show')) return { status: 0, stdout: JSON.stringify([shown()]), stderr: '' }
      const errors: string[] = []
      for (const [i, line] of (options?.input ?? '').trim().split('\n').entries()) {
        const failed = failing(line) ?? run(line)
        if (failed === undefined) commands.push(line)
        else errors.push(failed, `Command failed -:${i + 1}`)
      }
      return { status: errors.length === 0 ? 0 : 1, stdout: '', stderr: errors.join('\n') }
    }
    const shown = (): unknown => ({
      ifindex: 2,
      ifname: interfaceName,
      flags: ['BROADCAST', 'MULTICAST', 'UP', ...(carrier ? ['LOWER_UP'] : [])],
      link_type: 'ether',
      address: mac,
      addr_info: [...addresses].map(([local, { length, ours, untilMs }]) => ({
        local,
        prefixlen: length,
        valid_life_time: Number.isFinite(untilMs) ? Math.ceil((untilMs - clock.monotonicMs()) / 1000) : 0xffff_ffff,
        ...(ours ? { dynamic: true, noprefixroute: true, label: labelOf(interfaceName) } : { label: interfaceName }),
      })),
    })
    const bytes = parseMac(mac) ?? new Uint8Array()
    hosts.push({
      name,
      receive: (frame) => {
        expire()
        if (!carrier) return
        queue.push(frame)
        const asked = askedFor(frame)
        // The kernel answers for what it has, without anybody's help.
        if (asked !== undefined && addresses.has(asked))
          broadcast(name, announcements(asked, bytes, { router: true }).at(-1) ?? frame)
      },
    })
    return {
      name,
      mac,
      exec,
      commands,
      claimed,
      open: () =>
        ok({
          send: (frame) => {
            const claim = decodeClaim(frame)
            if (claim !== undefined) claimed.push({ address: claim.address, atMs: clock.monotonicMs() })
            if (carrier) broadcast(name, frame)
            return undefined
          },
          receive: () => queue.shift(),
          close: () => {},
        }),
      held: () => {
        expire()
        return [...addresses].flatMap(([ip, { ours }]) => (ours ? [ip] : []))
      },
      lifetimeSeconds: (address) => {
        const untilMs = addresses.get(address)?.untilMs
        return untilMs === undefined ? undefined : (untilMs - clock.monotonicMs()) / 1000
      },
      configure: (address, length) => add(address, forever(length)),
      unconfigure: (address) => void addresses.delete(address),
      fail: (of) => {
        failing = of
      },
      setCarrier: (is) => {
        carrier = is
      },
    }
  }
  return {
    addNode,
    setConnected: (connected) => {
      isConnected = connected
    },
  }
}

const forever = (length: number): KernelAddress => ({
  interface: interfaceName,
  untilMs: Number.POSITIVE_INFINITY,
  ours: false,
  length,
})

/** The address that a probe asks for. */
function askedFor(frame: Uint8Array): Ip | undefined {
  const isArpProbe =
    frame[12] === 8 && frame[13] === 6 && frame[21] === 1 && frame.subarray(28, 32).every((b) => b === 0)
  if (isArpProbe) return ipFromBytes(frame, 38, 4)
  return frame[12] === 0x86 && frame[54] === 135 ? ipFromBytes(frame, 62, 16) : undefined
}

/** As the plan would name it. */
export const fakeLinkName: ObservedLink['name'] = interfaceName
