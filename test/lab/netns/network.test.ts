import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { listNamespaces, ownerPidOf, sweepLeftovers } from '../../../src/lab/netns/leftovers.ts'
import { type Namespace, nextHopsFromJson } from '../../../src/lab/netns/namespace.ts'
import { createNetwork, type Network } from '../../../src/lab/netns/network.ts'
import { nodeProgram, repositoryRoot } from '../../../src/lab/netns/node-program.ts'
import { waitFor } from '../../../src/lab/netns/wait.ts'
import { parseIp } from '../../../src/net/ip.ts'
import { parsePrefix } from '../../../src/net/prefix.ts'
import { systemExec } from '../../../src/runtime/exec.ts'
import { must } from '../../../src/runtime/result.ts'
import { describeWith } from '../../support/privileges.ts'

test.each([
  ['bhnet-4711.0-leaf1', 4711],
  ['bhnet-4711.12', 4711],
  ['bhnets-4711.0-leaf1', undefined],
  ['bhnet-leaf1', undefined],
  ['other', undefined],
])('the owner in the name %s is %s', (name, pid) => {
  expect(ownerPidOf('bhnet', name)).toBe(pid)
})

test.each([
  ['no route', '', []],
  ['one gateway', '[{"dst":"10.1.1.1","gateway":"10.0.0.2","dev":"eth0"}]', ['10.0.0.2 eth0']],
  [
    'an ECMP group',
    '[{"dst":"10.1.1.1","nexthops":[{"gateway":"10.0.0.2","dev":"eth0","weight":1},{"gateway":"10.0.0.3","dev":"eth0","weight":3}]}]',
    ['10.0.0.2 eth0 1', '10.0.0.3 eth0 3'],
  ],
  [
    'one IPv6 route a leg, one of them by IPv4 destination over an IPv6 neighbour',
    '[{"gateway":"fd00::2","dev":"eth0"},{"via":{"family":"inet6","host":"fe80::1"},"dev":"eth1"}]',
    ['fd00::2 eth0', 'fe80::1 eth1'],
  ],
  ['a blackhole', '[{"type":"blackhole","dst":"10.1.1.1"}]', []],
])('reads the next hops of %s', (_what, json, expected) => {
  const hops = nextHopsFromJson(json).map((hop) => [hop.via, hop.interface, hop.weight].filter(Boolean).join(' '))
  expect(hops).toEqual(expected)
})

describeWith({ netns: true }, 'a network of namespaces', () => {
  const networks: Network[] = []
  const network = async (): Promise<Network> => {
    const created = await createNetwork({ prefix: 'bhnet' })
    networks.push(created)
    return created
  }
  afterEach(async () => {
    for (const each of networks.splice(0)) await each.destroy()
  })
  const listenIn = async (namespace: Namespace): Promise<void> => {
    const child = namespace.spawn(nodeProgram('test/lab/netns/reach-program.ts', ['listen']))
    await child.waitUntil(() => child.output().includes('listening'), { what: 'the listener' })
  }
  const reaches = async (from: Namespace, address: string): Promise<boolean> =>
    (await from.exec(nodeProgram('test/lab/netns/reach-program.ts', ['connect', address]))).status === 0
  const ours = async (): Promise<readonly string[]> =>
    (await listNamespaces(systemExec)).filter((name) => ownerPidOf('bhnet', name) === process.pid)

  test('two hosts on a switch reach each other over IPv4 and IPv6 at once', async () => {
    const net = await network()
    const [a, b, lan] = [await net.addNamespace('a'), await net.addNamespace('b'), await net.addBridge('lan')]
    await net.connect({ at: a, addresses: ['10.9.0.1/24', 'fd09::1/64'] }, { at: lan })
    await net.connect({ at: b, addresses: ['10.9.0.2/24', 'fd09::2/64'] }, { at: lan })
    await listenIn(b)
    expect(await reaches(a, '10.9.0.2')).toBe(true)
    expect(await reaches(a, 'fd09::2')).toBe(true)
  })

  test('a router forwards between two cables, and not when its link is down', async () => {
    const net = await network()
    const [a, r, b] = [
      await net.addNamespace('a'),
      await net.addNamespace('r', { forwarding: true }),
      await net.addNamespace('b'),
    ]
    const left = await net.connect({ at: a, addresses: ['10.9.1.2/24'] }, { at: r, addresses: ['10.9.1.1/24'] })
    await net.connect({ at: b, addresses: ['10.9.2.2/24'] }, { at: r, addresses: ['10.9.2.1/24'] })
    await a.setRoute('default', { via: [{ via: must(parseIp('10.9.1.1')) }] })
    await b.setRoute('default', { via: [{ via: must(parseIp('10.9.2.1')) }] })
    await listenIn(b)
    expect(await reaches(a, '10.9.2.2')).toBe(true)
    await left.set('b', 'down')
    expect(await reaches(a, '10.9.2.2')).toBe(false)
  })

  test('routes with several next hops read back as they were set, in both families', async () => {
    const net = await network()
    const a = await net.addNamespace('a')
    await net.connect({ at: a, addresses: ['10.9.0.1/24', 'fd09::1/64'] }, { at: await net.addBridge('lan') })
    for (const [prefix, hops] of [
      ['203.0.113.1/32', ['10.9.0.11', '10.9.0.12']],
      ['2001:db8::1/128', ['fd09::11', 'fd09::12']],
    ] as const) {
      await a.setRoute(must(parsePrefix(prefix)), { via: hops.map((hop) => ({ via: must(parseIp(hop)) })) })
      const seen = await a.nextHopsOf(must(parsePrefix(prefix)))
      expect(seen.map(({ via }) => via)).toEqual(hops)
    }
  })

  test('our own programs run inside, report lines, take lines, and end when told', async () => {
    const net = await network()
    const a = await net.addNamespace('a')
    const child = a.spawn(nodeProgram('test/lab/netns/echo-program.ts', ['hello']))
    const lines: string[] = []
    child.onLine((line) => lines.push(line))
    await child.waitUntil(() => lines.includes('hello'), { what: 'the first line' })
    child.writeLine('who is there')
    await child.waitUntil(() => lines.includes('echo who is there'), { what: 'the echo' })
    expect(await child.stop()).toEqual({ status: null, signal: 'SIGTERM' })
  })

  test('waiting for a program that has ended fails at once, with what it printed', async () => {
    const a = await (await network()).addNamespace('a')
    const child = a.spawn(['sh', '-c', 'echo last words >&2; exit 3'])
    await expect(child.waitUntil(() => false, { what: 'nothing' })).rejects.toThrow(/"status":3[\s\S]*last words/)
  })

  test('a command that fails throws with its error text', async () => {
    const a = await (await network()).addNamespace('a')
    await expect(a.ip(['link set nothing up'])).rejects.toThrow(/a: ip link set nothing up.*Cannot find device/)
  })

  test.each(['waytoolonginterface', '0', 'a b'])('an interface may not be called %s', async (name) => {
    const net = await network()
    const a = await net.addNamespace('a')
    expect(() => net.connect({ at: a, interface: name }, { at: a })).toThrow('not an interface name')
  })

  test('after destroy nothing is left, neither names nor programs nor files', async () => {
    const net = await network()
    const a = await net.addNamespace('a')
    const child = a.spawn(['sleep', '1000'])
    await net.destroy()
    expect(await ours()).toEqual([])
    expect(child.ended()).toEqual({ status: null, signal: 'SIGKILL' })
    expect(existsSync(net.directory)).toBe(false)
  })

  test('a program that has nothing left but its network to destroy ends well', async () => {
    const [node = '', script = ''] = nodeProgram('test/lab/netns/destroy-program.ts')
    const { status, stderr } = await systemExec(node, [script])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })

  test('when the owner is killed the reaper removes its network and the programs in it', async () => {
    const [node = '', script = ''] = nodeProgram('test/lab/netns/crash-program.ts')
    const child = spawn(node, [script], { cwd: repositoryRoot, stdio: ['ignore', 'pipe', 'inherit'] })
    const [namespaceName, sleeper] = await new Promise<readonly [string, number]>((resolve) => {
      child.stdout.once('data', (data: Buffer) => resolve(JSON.parse(data.toString())))
    })
    expect(await listNamespaces(systemExec)).toContain(namespaceName)
    child.kill('SIGKILL')
    await waitFor(async () => !(await listNamespaces(systemExec)).includes(namespaceName), { what: 'the reaper' })
    await waitFor(() => !existsSync(`/proc/${sleeper}`), { what: 'the end of the program inside' })
  })

  test('the sweep removes what a dead process left and nothing else', async () => {
    const dead = `bhsweep-${2 ** 22 + 1}.0-x`
    const alive = `bhsweep-${process.pid}.0-x`
    for (const name of [dead, alive]) expect((await systemExec('ip', ['netns', 'add', name])).status).toBe(0)
    try {
      expect(await sweepLeftovers('bhsweep', systemExec)).toEqual([dead])
      expect(await listNamespaces(systemExec)).toContain(alive)
    } finally {
      await systemExec('ip', ['netns', 'del', alive])
    }
  })
})
