// What VIPs cost on a node: how long it takes to put 10,000 of them in place and to change one, and what a packet pays, for our
// rules and for one rule a VIP, in iptables (both kernels) and nftables; and for ipset, which can not look at the original
// destination of a connection and needs a mark instead. Needs root.
//   node bench/datapath.bench.ts            VIPS=10000 ROUNDS=5 QUESTIONS=3000 ONLY=nftables

import type { VipRules } from '../src/datapath/desired.ts'
import type { Backend } from '../src/iptables/backend.ts'
import { reconcile } from '../src/iptables/reconcile.ts'
import type { FilterTable } from '../src/iptables/render.ts'
import type { Namespace } from '../src/lab/netns/namespace.ts'
import { createNetwork } from '../src/lab/netns/network.ts'
import { nodeProgram } from '../src/lab/netns/node-program.ts'
import { type Ip, ipFromBigInt, parseIp } from '../src/net/ip.ts'
import { parsePrefix } from '../src/net/prefix.ts'
import { type Look, type NftState, reconcileNft, untouched } from '../src/nftables/reconcile.ts'
import type { RefusalOptions } from '../src/nftables/table.ts'
import type { Exec } from '../src/runtime/exec.ts'
import { must } from '../src/runtime/result.ts'
import { systemClock } from '../src/runtime/system-clock.ts'

const vipsCount = Number(process.env['VIPS'] ?? 10_000)
const rounds = Number(process.env['ROUNDS'] ?? 5)
const questions = Number(process.env['QUESTIONS'] ?? 3000)
const asked = must(parseIp('203.0.113.10'))
/** Scattered, so that no two make a prefix; the one that is asked comes last. */
const scattered = (count: number): readonly Ip[] => [
  ...Array.from({ length: count - 1 }, (_, i) => ipFromBigInt('IPv4', 0xc612_0000n + BigInt(i * 7))),
  asked,
]

/** One way to have VIPs accepted. */
interface Way {
  readonly name: string
  readonly firewall: 'nft' | 'legacy' | 'nftables'
  /** `look`: how closely, before. */
  readonly apply: (node: Namespace, vips: readonly Ip[], look?: Look) => Promise<unknown>
  /** Whether it can change one VIP among many, having applied the others. */
  readonly changes: boolean
}

const execOf =
  (node: Namespace): Exec =>
  (file, args, options) =>
    node.exec([file, ...args], options)

const ours = (name: 'nft' | 'legacy'): Way => {
  const backend: Backend = { name, infix: `-${name}`, because: 'benchmark' }
  let left: FilterTable | undefined
  return {
    name: `iptables (${name}), our tree of chains`,
    firewall: name,
    apply: async (node, vips, look) => {
      const trusted = look === 'nothing' && name === 'nft' && left !== undefined ? { left, trusted: true as const } : {}
      const request = { backend, family: 'IPv4', vips, stayBehind: [], ...trusted } as const
      left = must(await reconcile(request, { exec: execOf(node), clock: systemClock })).left
    },
    changes: true,
  }
}

const listed = (name: 'nft' | 'legacy'): Way => ({
  name: `iptables (${name}), one rule a VIP`,
  firewall: name,
  apply: (node, vips) =>
    node.run([`iptables-${name}-restore`, '--noflush'], {
      input: `*filter\n:LISTED - [0:0]\n${vips.map((vip) => `-A LISTED -m conntrack --ctstate DNAT --ctorigdst ${vip} -j ACCEPT`).join('\n')}\n-F FORWARD\n-A FORWARD -j LISTED\nCOMMIT\n`,
      timeoutMs: 120_000,
    }),
  changes: false,
})

const sourceRanges = [must(parsePrefix('10.0.0.0/8'))]

const nftOurs = (refusals: RefusalOptions): Way => {
  let state: NftState = untouched
  // As in the agent, a VIP that did not change is the very same value.
  const known = new Map<Ip, VipRules>()
  const rulesOf = (address: Ip): VipRules => {
    const rules = known.get(address) ?? { address, ports: [{ protocol: 'UDP', port: 53, sourceRanges }] }
    known.set(address, rules)
    return rules
  }
  const what = refusals.unusedPorts ? 'our sets, with source ranges and unused ports refused' : 'our sets'
  return {
    name: `nftables, ${what}`,
    firewall: 'nftables',
    apply: async (node, vips, look = 'everything') => {
      if (vips.length === 0) state = untouched
      const rules = vips.map(rulesOf)
      const outcome = must(
        await reconcileNft({ vips: rules, refusals, last: state, look }, { exec: execOf(node), clock: systemClock }),
      )
      state = outcome.state
    },
    changes: true,
  }
}

const nftListed: Way = {
  name: 'nftables, one rule a VIP',
  firewall: 'nftables',
  apply: (node, vips) =>
    node.run(['nft', '-f', '-'], {
      input: `add chain inet firewall listed\nflush chain inet firewall listed\nflush chain inet firewall forward\n${vips.map((vip) => `add rule inet firewall listed ct status dnat ct original ip daddr ${vip} accept`).join('\n')}\nadd rule inet firewall forward jump listed\n`,
      timeoutMs: 120_000,
    }),
  changes: false,
}

const marked: Way = {
  name: 'ipset before translation, and a mark in FORWARD',
  firewall: 'nft',
  apply: async (node, vips) => {
    await node.run(['ipset', 'restore', '-exist'], {
      input: `create vips hash:ip\nflush vips\n${vips.map((vip) => `add vips ${vip}`).join('\n')}\n`,
      timeoutMs: 120_000,
    })
    await node.run(['iptables-nft-restore', '--noflush'], {
      input:
        '*mangle\n-F PREROUTING\n-A PREROUTING -m set --match-set vips dst -j CONNMARK --set-xmark 0x100/0x100\nCOMMIT\n*filter\n-F FORWARD\n-A FORWARD -m connmark --mark 0x100/0x100 -j ACCEPT\nCOMMIT\n',
    })
  },
  changes: false,
}

const ways: readonly Way[] = [
  ours('nft'),
  listed('nft'),
  ours('legacy'),
  listed('legacy'),
  nftOurs({ sourceRanges: false, unusedPorts: false }),
  nftOurs({ sourceRanges: true, unusedPorts: true }),
  nftListed,
  marked,
]

const looks: readonly Look[] = ['nothing', 'rules', 'everything']

async function measure(way: Way): Promise<void> {
  await using network = await createNetwork({ prefix: 'bhdpb' })
  const [client, node, pod] = [
    await network.addNamespace('client'),
    await network.addNamespace('node', { forwarding: true }),
    await network.addNamespace('pod'),
  ]
  await network.connect({ at: client, addresses: ['10.9.1.1/24'] }, { at: node, addresses: ['10.9.1.254/24'] })
  await network.connect({ at: pod, addresses: ['10.9.2.2/24'] }, { at: node, addresses: ['10.9.2.254/24'] })
  await client.setRoute('default', { via: [{ via: must(parseIp('10.9.1.254')) }] })
  await pod.setRoute('default', { via: [{ via: must(parseIp('10.9.2.254')) }] })
  if (way.firewall === 'nftables')
    await node.run(['nft', '-f', '-'], {
      input: `table ip proxy { chain nat { type nat hook prerouting priority dstnat; ip daddr ${asked} udp dport 53 dnat to 10.9.2.2:5353; }; }
        table inet firewall { chain forward { type filter hook forward priority filter; policy drop; }; }\n`,
    })
  else
    await node.run([`iptables-${way.firewall}-restore`], {
      input: `*nat\n-A PREROUTING -d ${asked} -p udp --dport 53 -j DNAT --to-destination 10.9.2.2:5353\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\nCOMMIT\n`,
    })
  const server = pod.spawn(nodeProgram('bench/datapath-program.ts', ['serve', '5353']))
  await server.waitUntil(() => server.output().includes('listening'), { what: 'the server' })

  const all = scattered(vipsCount)
  const whole: number[] = []
  const single: Record<Look, number[]> = { nothing: [], rules: [], everything: [] }
  for (let round = 0; round < rounds; round++) {
    await way.apply(node, [])
    whole.push(await timed(() => way.apply(node, all)))
    if (way.changes)
      for (const [i, look] of looks.entries())
        single[look].push(await timed(() => way.apply(node, all.toSpliced(round + i * rounds, 1), look)))
  }
  await way.apply(node, all)
  const many = await ask(client)
  await way.apply(node, scattered(1))
  const one = await ask(client)
  const change = way.changes
    ? looks.map((look) => `${ms(median(single[look]))} ms (having looked at ${look})`).join(', ')
    : 'the same'
  console.log(
    `${way.name}: ${vipsCount} VIPs in ${ms(median(whole))} ms, one change ${change}; answer after ${one.median.toFixed(0)} us with 1 VIP, ${many.median.toFixed(0)} us with ${vipsCount} (p99 ${many.p99.toFixed(0)})`,
  )
}

async function ask(client: Namespace): Promise<{ readonly median: number; readonly p99: number }> {
  const program = nodeProgram('bench/datapath-program.ts', ['ask', asked, '53', String(questions)])
  return JSON.parse(await client.run(program, { timeoutMs: 120_000 })) as { median: number; p99: number }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await work()
  return performance.now() - startMs
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
const ms = (value: number): string => value.toFixed(0)

if (process.getuid?.() === 0)
  for (const way of ways.filter(({ name }) => name.includes(process.env['ONLY'] ?? ''))) await measure(way)
else console.log('left out: network namespaces need root')
