// Whole speakers over the kernel's TCP: in this thread, and in a worker thread as production runs them.

import { afterEach, describe, expect, test } from 'vitest'
import type { PeerConfig, SessionStatus, Speaker, SpeakerEvent } from '../../../src/bgp/speaker/protocol.ts'
import { createLocalSpeaker, createWorkerSpeaker } from '../../../src/bgp/speaker/speaker.ts'
import { createTcpTransport } from '../../../src/bgp/speaker/tcp-transport.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { systemClock } from '../../../src/runtime/system-clock.ts'
import * as bench from './bench.ts'
import { type End, manyRoutes, peerOf, routerId, routeTo } from './bench.ts'
import { loopback } from './loopback.ts'

const port = 1790
const started: Speaker[] = []
afterEach(async () => {
  await Promise.all(started.splice(0).map((speaker) => speaker.stop('the test is over')))
})

interface Running {
  readonly end: End
  readonly speaker: Speaker
  readonly events: readonly SpeakerEvent[]
  readonly status: () => SessionStatus | undefined
  readonly configure: (peers: readonly PeerConfig[]) => void
}

function run(end: End, speaker: Speaker): Running {
  started.push(speaker)
  const events: SpeakerEvent[] = []
  speaker.onEvent((event) => events.push(event))
  return {
    end,
    speaker,
    events,
    status: () => events.flatMap((event) => (event.type === 'session' ? [event.status] : [])).at(-1),
    configure: (peers) => {
      const config = { routerId: routerId(end.address), listenPort: port, listenAddresses: [end.address], peers }
      speaker.send({ type: 'configure', config })
    },
  }
}

const local = (): Speaker =>
  createLocalSpeaker({
    clock: systemClock,
    random: Math.random,
    transport: createTcpTransport({ clock: systemClock }),
  })

/** Two ends with addresses of their own, and how each is configured. */
function pair(changes: { readonly ours?: Partial<PeerConfig>; readonly router?: Partial<PeerConfig> } = {}) {
  const ours: End = { ...bench.ours, address: loopback() }
  const router: End = { ...bench.router, address: loopback() }
  const common = { port, connectRetrySeconds: 1, holdTimeSeconds: 9, keepaliveSeconds: 3 }
  return {
    ours,
    router,
    atOurs: (more: Partial<PeerConfig> = {}) =>
      peerOf(ours, router, { ...common, sourceAddress: ours.address, ...changes.ours, ...more }),
    atRouter: (more: Partial<PeerConfig> = {}) =>
      peerOf(router, ours, { ...common, sourceAddress: router.address, passive: true, ...changes.router, ...more }),
  }
}

const established = (running: Running): Promise<SessionStatus> =>
  waitFor(
    () => {
      const status = running.status()
      return status?.state === 'Established' ? status : undefined
    },
    { what: `${running.end.name}: Established`, evidence: () => JSON.stringify(running.status()) },
  )

/** Both ends started, the router first. */
function start(ends: ReturnType<typeof pair>, ours: Speaker = local()): readonly [Running, Running] {
  const router = run(ends.router, local())
  const speaker = run(ends.ours, ours)
  router.configure([ends.atRouter()])
  speaker.configure([ends.atOurs()])
  for (const { speaker: one } of [router, speaker]) one.send({ type: 'ready' })
  return [speaker, router]
}

describe('two speakers over TCP', () => {
  test('announce to each other, and part with a reason', async () => {
    const [ours, router] = start(pair())
    ours.speaker.send({
      type: 'routes',
      table: 'main',
      replace: false,
      upserts: [routeTo('203.0.113.1', '10.0.0.101', '10.0.0.102')],
      withdrawals: [],
      revision: 4,
    })
    expect(await established(ours)).toMatchObject({ localAddress: ours.end.address, peerRouterId: router.end.address })
    await waitFor(() => router.status()?.receivedPrefixes === 1, { what: 'the route' })
    await waitFor(() => ours.events.some((event) => event.type === 'flushed' && event.revision === 4), {
      what: 'flushed',
    })
    started.splice(started.indexOf(ours.speaker), 1)
    await ours.speaker.stop('good night')
    await waitFor(() => router.status()?.lastError?.includes('"good night"'), { what: 'the words' })
  })

  test('meet when both dial', async () => {
    const ends = pair({ router: { passive: false } })
    const [ours, router] = start(ends)
    expect(await established(ours)).toMatchObject({ establishedCount: 1 })
    await established(router)
  })

  test('with TCP-MD5 and GTSM on both sides', async () => {
    const secured = { password: 'correct horse', ttlSecurityHops: 1 }
    const [ours, router] = start(pair({ ours: secured, router: secured }))
    await established(ours)
    await established(router)
    for (const { events } of [ours, router]) expect(JSON.stringify(events)).not.toContain('correct horse')
  })

  test('with different passwords do not meet until they are equal', async () => {
    const ends = pair({ ours: { password: 'correct horse' }, router: { password: 'battery staple' } })
    const [ours, router] = start(ends)
    await waitFor(() => ours.status()?.lastError, { what: 'an error' })
    expect(ours.status()?.lastError).toContain('a TCP-MD5 password that differs from the router looks like this')
    router.configure([ends.atRouter({ password: 'correct horse' })])
    await established(ours)
  })

  test('a password that can not be set is an error on the peer, never a plain session', async () => {
    const ends = pair({ ours: { password: 'x'.repeat(81) }, router: {} })
    const [ours] = start(ends)
    await waitFor(() => ours.status()?.lastError, { what: 'an error' })
    expect(ours.status()).toMatchObject({ establishedCount: 0 })
    expect(ours.status()?.lastError).toContain('a TCP-MD5 password has 1 to 80 bytes, not 81')
  })

  test('a full table arrives completely', async () => {
    const ends = pair({ router: { maxPrefixesIn: 100_000 } })
    const [ours, router] = start(ends)
    await established(ours)
    const upserts = manyRoutes(20_000, '10.0.0.101', '10.0.0.102', '10.0.0.103')
    ours.speaker.send({ type: 'routes', table: 'main', replace: true, upserts, withdrawals: [], revision: 1 })
    await waitFor(() => router.status()?.receivedPrefixes === 20_000, { what: '20 000 prefixes' })
    ours.speaker.send({ type: 'routes', table: 'main', replace: true, upserts: [], withdrawals: [], revision: 2 })
    await waitFor(() => router.status()?.receivedPrefixes === 0, { what: 'none' })
  })
})

describe('the worker thread', () => {
  test('is a speaker like the one in this thread', async () => {
    const ends = pair({ ours: { password: 'correct horse' }, router: { password: 'correct horse' } })
    const [ours, router] = start(ends, createWorkerSpeaker({ hostname: 'ours' }))
    await established(ours)
    ours.speaker.send({
      type: 'routes',
      table: 'main',
      replace: false,
      upserts: [routeTo('203.0.113.1', '10.0.0.101')],
      withdrawals: [],
      revision: 1,
    })
    await waitFor(() => router.status()?.receivedPrefixes === 1, { what: 'the route' })
    started.splice(started.indexOf(ours.speaker), 1)
    await ours.speaker.stop('upgrade')
    await waitFor(() => router.status()?.lastError?.includes('"upgrade"'), { what: 'the words' })
  })

  test('that dies says so', async () => {
    const speaker = createWorkerSpeaker()
    started.push(speaker)
    const failures: Error[] = []
    speaker.onFailure((error) => failures.push(error))
    // Not a command of the protocol: what an error of ours looks like from here.
    speaker.send({ type: 'configure' } as never)
    await waitFor(() => failures.length === 1, { what: 'the failure' })
  })
})
