// Which back end is taken, and what is said when none can be: with programs that answer as the real ones do.

import { describe, expect, test } from 'vitest'
import { addressesOnly } from '../../src/datapath/desired.ts'
import { keepForwardRules } from '../../src/datapath/keeper.ts'
import { chosenBackend, detectBackend, installedBackends } from '../../src/iptables/backend.ts'
import { explainFailure, isTransient } from '../../src/iptables/errors.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { parseIp } from '../../src/net/ip.ts'
import type { Exec, ExecResult } from '../../src/runtime/exec.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { must } from '../../src/runtime/result.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'

const absent: ExecResult = { status: 127, stdout: '', stderr: 'spawn ENOENT' }
const said = (stdout: string): ExecResult => ({ status: 0, stdout, stderr: '' })
const failed = (status: number, stderr: string): ExecResult => ({ status, stdout: '', stderr })

/** A node on which exactly these programs exist. */
const nodeWith =
  (programs: Readonly<Record<string, ExecResult>>): Exec =>
  async (file) =>
    programs[file] ?? absent

const nftVersion = said('iptables v1.8.9 (nf_tables)\n')
const legacyVersion = said('iptables v1.8.9 (legacy)\n')
const hint = ':KUBE-IPTABLES-HINT - [0:0]'
const services = ':KUBE-SERVICES - [0:0]'
const rule = '-A INPUT -j ACCEPT'

describe('the back end in use', () => {
  const both = { 'iptables-nft': nftVersion, 'iptables-legacy': legacyVersion, iptables: nftVersion }

  test.each<[string, Readonly<Record<string, ExecResult>>, string, string]>([
    ['a hint in nft', { 'iptables-nft-save': said(hint) }, 'nft', "the kubelet's hint chains"],
    ['a hint in legacy', { 'iptables-legacy-save': said(hint) }, 'legacy', "the kubelet's hint chains"],
    ['a hint for IPv6 only', { 'ip6tables-legacy-save': said(hint) }, 'legacy', "the kubelet's hint chains"],
    [
      'a canary of the kubelet',
      { 'iptables-legacy-save': said(':KUBE-KUBELET-CANARY - [0:0]') },
      'legacy',
      "the kubelet's hint chains",
    ],
    [
      'a hint in nft against more chains and rules in legacy',
      { 'iptables-nft-save': said(hint), 'iptables-legacy-save': said(`${services}\n${services}\n${rule}`) },
      'nft',
      "the kubelet's hint chains",
    ],
    ['chains of kube-proxy', { 'iptables-legacy-save': said(services) }, 'legacy', 'chains of Kubernetes'],
    ['more rules in legacy', { 'iptables-legacy-save': said(rule) }, 'legacy', 'most rules are there'],
    ['nothing anywhere', {}, 'nft', 'default of this installation'],
  ])('%s', async (_what, programs, name, because) => {
    expect(must(await detectBackend(nodeWith({ ...both, ...programs })))).toMatchObject({ name, because })
  })

  test('an installation from before there were two is legacy, by the only name there is', async () => {
    const exec = nodeWith({ iptables: said('iptables v1.6.1\n') })
    expect(must(await detectBackend(exec))).toMatchObject({ name: 'legacy', infix: '' })
    expect(must(await chosenBackend('legacy', exec))).toMatchObject({ name: 'legacy', infix: '' })
    expect(must(await installedBackends(exec)).map(({ name }) => name)).toEqual(['legacy'])
  })

  test('one that was asked for and is not installed is refused by name', async () => {
    const refusal = await chosenBackend('legacy', nodeWith({ 'iptables-nft': nftVersion, iptables: nftVersion }))
    expect(refusal).toMatchObject({ ok: false, error: { code: 'iptables/not-installed', program: 'iptables-legacy' } })
  })

  test('without any iptables there is an error and not a guess', async () => {
    expect(await detectBackend(nodeWith({}))).toMatchObject({ ok: false, error: { code: 'iptables/not-installed' } })
    expect(await installedBackends(nodeWith({}))).toMatchObject({ ok: false })
  })
})

describe('a failure of iptables', () => {
  test.each<[string, ExecResult, string, boolean]>([
    ['no program', absent, 'iptables/not-installed', false],
    [
      'no rights',
      failed(4, 'Could not fetch rule set generation id: Permission denied (you must be root)'),
      'iptables/not-permitted',
      false,
    ],
    [
      'a read-only file system',
      failed(4, "Fatal: can't open lock file /run/xtables.lock: Read-only file system"),
      'iptables/read-only',
      false,
    ],
    [
      'a lock held too long',
      failed(4, 'Another app is currently holding the xtables lock. Stopped waiting after 5s.'),
      'iptables/busy',
      true,
    ],
    ['a busy kernel', failed(4, 'line 9: CHAIN_USER_DEL failed (Device or resource busy)'), 'iptables/busy', true],
    ['a rule gone meanwhile', failed(1, 'line 4 failed: Bad rule'), 'iptables/changed-meanwhile', true],
    [
      'a kernel without the table',
      failed(3, "can't initialize iptables table `filter': Table does not exist (do you need to insmod?)"),
      'iptables/kernel-lacks-it',
      false,
    ],
    [
      'rules of nft in the table',
      { status: 1, stdout: "# Table `filter' is incompatible, use 'nft' tool.", stderr: '' },
      'iptables/incompatible-table',
      false,
    ],
    ['something new', failed(7, 'the moon is full'), 'iptables/failed', false],
  ])('%s', (_what, result, code, transient) => {
    const error = explainFailure('iptables-nft-restore', result)
    expect([error.code, isTransient(error)]).toEqual([code, transient])
    expect(error.message).toContain('iptables-nft-restore')
  })
})

test('the same set as another version is in place without a look, another set only after one', async () => {
  let runs = 0
  const ipv4Only = nodeWith({
    ...{ 'iptables-nft': nftVersion, 'iptables-nft-save': said(''), 'iptables-nft-restore': said('') },
  })
  const exec: Exec = (...args) => {
    runs++
    return ipv4Only(...args)
  }
  const stop = new AbortController()
  const inPlace: unknown[] = []
  const keeper = keepForwardRules(
    { backend: 'nft', checkIntervalMs: 3_600_000 },
    { exec, clock: systemClock, log: silentLog, signal: stop.signal, onInPlace: (vips) => inPlace.push(vips) },
  )
  const version = (...texts: readonly string[]) => addressesOnly(texts.map((text) => must(parseIp(text))))
  const [first, second, third] = [version('192.0.2.1'), version('192.0.2.1'), version('192.0.2.1', '192.0.2.2')]
  keeper.setVips(first)
  await waitFor(() => inPlace.length === 1, { what: 'the first' })
  const before = runs
  keeper.setVips(second)
  expect([inPlace[1] === second, runs]).toEqual([true, before])
  keeper.setVips(third)
  await waitFor(() => inPlace.length === 3, { what: 'the third' })
  expect([inPlace[2] === third, runs > before]).toEqual([true, true])
  stop.abort()
  await keeper.ended
})

describe('the keeper on a node with trouble', () => {
  const keep = (exec: Exec, vip: string) => {
    const stop = new AbortController()
    const options = { backend: 'nft' as const, checkIntervalMs: 20 }
    const keeper = keepForwardRules(options, { exec, clock: systemClock, log: silentLog, signal: stop.signal })
    keeper.setVips(addressesOnly([must(parseIp(vip))]))
    const end = async (): Promise<void> => {
      stop.abort()
      await keeper.ended
    }
    return { keeper, end }
  }
  const ipv4Only = { 'iptables-nft': nftVersion, 'iptables-nft-save': said(''), 'iptables-nft-restore': said('') }

  test('says what is wrong, and goes on trying', async () => {
    const { keeper, end } = keep(nodeWith({}), '203.0.113.10')
    await waitFor(() => keeper.facts().errors >= 2, { what: 'a second try' })
    expect(keeper.facts()).toMatchObject({ applies: 0, lastError: { code: 'iptables/not-installed' } })
    await end()
  })

  test('is in order without IPv6 when there is no IPv6 VIP', async () => {
    const { keeper, end } = keep(nodeWith(ipv4Only), '203.0.113.10')
    await waitFor(() => keeper.facts().lastSyncMs, { what: 'a sync' })
    expect(keeper.facts()).toMatchObject({ errors: 0, vips: { IPv4: 1, IPv6: 0 }, rules: { IPv4: 2, IPv6: 0 } })
    await end()
  })

  test('is not in order without IPv6 when there is an IPv6 VIP', async () => {
    const { keeper, end } = keep(nodeWith(ipv4Only), '2001:db8::1')
    await waitFor(() => keeper.facts().lastError, { what: 'an error' })
    expect(keeper.facts().lastError).toMatchObject({ code: 'iptables/not-installed', program: 'ip6tables-nft-save' })
    await end()
  })

  test('a lock held by others is waited for, up to a bound', async () => {
    let tries = 0
    const busy: Exec = async (file) => {
      if (file === 'iptables-nft-restore' && tries++ < 2) return failed(4, 'Another app is holding the xtables lock')
      return nodeWith(ipv4Only)(file, [])
    }
    const { keeper, end } = keep(busy, '203.0.113.10')
    await waitFor(() => keeper.facts().lastSyncMs, { what: 'a sync' })
    // The next round may have begun already.
    expect(tries).toBeGreaterThanOrEqual(3)
    expect(keeper.facts().errors).toBe(0)
    await end()
  })
})
