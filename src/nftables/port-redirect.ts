// Port 179 of a host on which a network plugin's own BGP daemon listens: what BgpPeers dial there is led to the port that our
// speaker listens on, and what anybody else dials stays the plugin's. Applied by the process that listens, because it alone knows
// when it does: a rule that outlived its listener, or came to a host without one, would take the plugin's connections away. Only
// nftables: address translation is done by whichever chain is first, so that a table of our own is enough beside any iptables.
//
// The port of a connection is under the signature of TCP-MD5 (RFC 2385 section 2.0), so that a translated segment is refused: peers
// with a password are left out, and have to be dialled, or dialled at their port.

import type { PeerConfig, SpeakerConfig } from '../bgp/speaker/protocol.ts'
import { familyOf, type Ip } from '../net/ip.ts'
import { hostPrefix, type Prefix, prefixFamily } from '../net/prefix.ts'
import type { CancelTimer, Clock } from '../runtime/clock.ts'
import type { Exec } from '../runtime/exec.ts'
import type { Log } from '../runtime/log.ts'
import { explainNft } from './errors.ts'
import { fingerprintOf } from './observe.ts'

export interface PortRedirectRequest {
  /** The port that routers dial. */
  readonly from: number
  readonly config: Pick<SpeakerConfig, 'listenPort' | 'listenAddresses' | 'peers' | 'ranges'>
}

export interface PortRedirect {
  /** What is to be led where; undefined for nothing. The newest call counts. */
  readonly set: (request: PortRedirectRequest | undefined) => void
  /** Why it is not as it should be, while it is not. */
  readonly problem: () => string | undefined
  /** Takes the redirection away; resolves when it is gone or could not be taken. */
  readonly stop: () => Promise<void>
}

export interface PortRedirectOptions {
  readonly exec: Exec
  readonly clock: Clock
  readonly log: Log
  readonly onChange?: () => void
}

/** In family inet. */
export const redirectTable = 'bellhop-bgp'

/** Peers whose connections can not be redirected, for people. */
const peersWithPassword = (peers: readonly PeerConfig[]): readonly string[] =>
  peers.filter(({ password }) => password !== undefined).map(({ name }) => name)

/** The table for a request, to be put in place of an earlier one; undefined when nobody is to be redirected. */
export function renderRedirect({ from, config }: PortRedirectRequest): string | undefined {
  const { listenPort, listenAddresses, peers, ranges = [] } = config
  if (listenPort === 0 || listenPort === from) return undefined
  const rules = [
    ...peers
      .filter(({ password, shutdown }) => password === undefined && shutdown === undefined)
      .flatMap((peer) => ruleOf(hostPrefix(peer.address), peer.sourceAddress ?? listenAddresses)),
    ...ranges
      .filter(({ password, shutdown }) => password === undefined && shutdown === undefined)
      .flatMap(({ range }) => ruleOf(range, listenAddresses)),
  ]
  if (rules.length === 0) return undefined
  return [
    `table inet ${redirectTable} {`,
    '  chain routers {',
    '    type nat hook prerouting priority dstnat - 5; policy accept;',
    ...rules.map((rule) => `    ${rule} tcp dport ${from} counter dnat to :${listenPort}`),
    '  }',
    '}',
    '',
  ].join('\n')
}

// A router's address, and the addresses of ours that it may mean. Without any, all that this host has.
function ruleOf(router: Prefix, ours: Ip | readonly Ip[]): readonly string[] {
  const word = prefixFamily(router) === 'IPv4' ? 'ip' : 'ip6'
  const listed = typeof ours === 'string' ? [ours] : ours
  const own = listed.filter((address) => familyOf(address) === prefixFamily(router))
  if (listed.length > 0 && own.length === 0) return []
  const local = own.length === 0 ? 'fib daddr type local' : `${word} daddr { ${own.join(', ')} }`
  return [`${word} saddr ${router} ${local}`]
}

const checkMs = 10_000
const retryMs = 1_000

/** Keeps the redirection in place, mends it when somebody else took it away, and removes what an earlier process left. */
export function keepPortRedirect({ exec, clock, log, onChange }: PortRedirectOptions): PortRedirect {
  let wanted: string | undefined
  let applied: { readonly text: string | undefined; readonly fingerprint: string } | undefined
  let problem: string | undefined
  let ended = false
  let cancel: CancelTimer = () => {}
  let work: Promise<void> = Promise.resolve()

  const nft = (args: readonly string[], input?: string) =>
    exec('nft', args, { timeoutMs: 10_000, ...(input === undefined ? {} : { input }) })

  const observe = async (): Promise<string | undefined> => {
    const { status, stdout } = await nft(['-j', 'list', 'table', 'inet', redirectTable])
    return status === 0 ? fingerprintOf(stdout) : undefined
  }
  const look = async (): Promise<void> => {
    const text = wanted
    const seen = await observe()
    const intact =
      applied !== undefined && applied.text === text && seen === (text === undefined ? undefined : applied.fingerprint)
    if (intact || (text === undefined && seen === undefined)) return
    const removal = `add table inet ${redirectTable}\ndelete table inet ${redirectTable}\n`
    const result = await nft(['-f', '-'], `${removal}${text ?? ''}`)
    const before = problem
    problem = result.status === 0 ? undefined : explainNft(result).message
    if (problem === undefined) {
      applied = { text, fingerprint: (await observe()) ?? '' }
      log.info({
        event: 'port-redirect',
        active: text !== undefined,
        mended: seen === undefined && before === undefined,
      })
    } else if (before === undefined) log.error({ event: 'port-redirect-failed', message: problem })
    if (before !== problem) onChange?.()
  }
  const run = (): void => {
    cancel()
    work = work.then(look).then(() => {
      // A host that never had a redirection has nobody look after it.
      const idle = wanted === undefined && problem === undefined
      if (!ended && !idle) cancel = clock.setTimer(problem === undefined ? checkMs : retryMs, run)
    })
  }
  run()

  return {
    problem: () => problem,
    set: (request) => {
      const text = request === undefined ? undefined : renderRedirect(request)
      const left = request === undefined ? [] : peersWithPassword(request.config.peers)
      if (text === wanted || ended) return
      if (left.length > 0)
        log.warn({ event: 'port-redirect-without', peers: left, because: 'the port is under the signature of TCP-MD5' })
      wanted = text
      run()
    },
    stop: async () => {
      wanted = undefined
      ended = true
      run()
      await work
    },
  }
}
