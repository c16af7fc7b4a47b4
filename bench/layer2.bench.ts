// How long a client on the nodes' own link, whose caches are full, waits when the node that answers for a VIP loses its power: from
// the last connection that came about to the next one, tried every ten milliseconds. And what taking over many VIPs at once costs.
// Run as root: npx node bench/layer2.bench.ts

import { connect } from 'node:net'
import { controllerPort } from '../src/lab/lab.ts'
import { nodeProgram } from '../src/lab/netns/node-program.ts'
import type { LabNode } from '../src/lab/topology/topology.ts'
import { familyOf, type Ip } from '../src/net/ip.ts'
import { type Layer2Lab, startLayer2Lab } from '../test/e2e/support-layer2.ts'
import { becomes } from '../test/e2e/support-replicas.ts'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 6)
const tryEveryMs = 10
/** Shorter pauses are the scheduler's. */
const gapMs = 150

const [role, target = ''] = process.argv.slice(2)
if (role === 'client') runClient(target)
else await bench()

function runClient(vip: string): void {
  let lastMs = performance.now()
  let count = 0
  setInterval(() => {
    const socket = connect({ host: vip, port: 80 })
    socket.setTimeout(5_000, () => socket.destroy())
    socket.on('error', () => socket.destroy())
    socket.on('connect', () => {
      const nowMs = performance.now()
      if (nowMs - lastMs > gapMs && count > 0) console.log(`gap ${Math.round(nowMs - lastMs)}`)
      lastMs = nowMs
      if (++count === 20) console.log('flowing')
      socket.destroy()
    })
  }, tryEveryMs)
}

async function bench(): Promise<void> {
  const layer2 = await startLayer2Lab({ prefix: 'bhl2', nodes: 3, pods: 3 })
  try {
    await layer2.addServices(Array.from({ length: 8 }, (_, i) => `web${i}`))
    await becomes('16 owners', async () => ((await layer2.owners()).size === 16 ? undefined : 'not yet'))
    const gaps = { IPv4: [] as number[], IPv6: [] as number[] }
    for (let round = 0; round < rounds; round++) {
      const node = layer2.nodeNamed(round % 2 === 0 ? 'node3' : 'node2')
      await spreadAgain(layer2, node)
      for (const [family, gap] of await failOver(layer2, node)) gaps[family].push(gap)
    }
    for (const [family, seen] of Object.entries(gaps)) tell(`${family}, the owner`, seen)
    await layer2.startController(layer2.nodeNamed('node2'))
    const withLeader = { IPv4: [] as number[], IPv6: [] as number[] }
    for (let round = 0; round < rounds; round++) {
      const leader = await becomesLeader(layer2)
      await spreadAgain(layer2, leader)
      for (const [family, gap] of await failOver(layer2, leader)) withLeader[family].push(gap)
    }
    for (const [family, seen] of Object.entries(withLeader)) tell(`${family}, the owner that is the leader`, seen)
  } finally {
    await layer2.destroy()
  }
}

function tell(what: string, seen: readonly number[]): void {
  const sorted = seen.toSorted((a, b) => a - b)
  const median = sorted[Math.floor(sorted.length / 2)]
  console.log(`${what}: median ${median} ms, all ${sorted.join(', ')} ms without an answer after a power-off`)
}

/** The leader's node, once the other replica sees it live: what is not known to live cannot be seen dying. */
async function becomesLeader(layer2: Layer2Lab): Promise<LabNode> {
  let leader: string | undefined
  await becomes('a leader that the other one sees', async () => {
    leader = await layer2.leader()
    const other = leader === 'node1' ? 'node2' : 'node1'
    const { stdout } = await layer2
      .nodeNamed(other)
      .namespace.exec(['curl', '-s', `http://127.0.0.1:${controllerPort}/liveness`])
    return new RegExp(`"node":"${leader}","opinion":"up"`).test(stdout.replaceAll(' ', '')) ? undefined : stdout
  })
  return layer2.nodeNamed(leader ?? '')
}

/** Until `node` owns VIPs of both families. */
async function spreadAgain(layer2: Layer2Lab, node: LabNode): Promise<void> {
  const remove = ['--type=json', '-p', '[{"op":"remove","path":"/spec/layer2"}]']
  await becomes(`VIPs of ${node.name}`, async () => {
    const owners = await layer2.owners()
    const families = new Set([...owners].filter(([, owner]) => owner === node.name).map(([vip]) => familyOf(vip)))
    if (families.size === 2) return undefined
    const names = (await layer2.lab.mustKubectl(['get', 'vips', '-o', 'name'])).trim().split('\n')
    await Promise.all(names.map((name) => layer2.lab.mustKubectl(['patch', name, ...remove])))
    return 'not spread'
  })
}

async function failOver(
  layer2: Layer2Lab,
  node: LabNode,
): Promise<readonly (readonly [family: 'IPv4' | 'IPv6', gap: number])[]> {
  const owners = await layer2.owners()
  const own = [...owners].filter(([, owner]) => owner === node.name).map(([vip]) => vip)
  const vips = (['IPv4', 'IPv6'] as const).map((family) => own.find((vip) => familyOf(vip) === family) as Ip)
  const clients = vips.map((vip) =>
    layer2.client.namespace.spawn(nodeProgram('bench/layer2.bench.ts', ['client', vip])),
  )
  await Promise.all(
    clients.map((client) => client.waitUntil(() => client.output().includes('flowing'), { what: 'a full cache' })),
  )
  await layer2.lab.cutOff(node)
  const gaps = await Promise.all(
    clients.map(async (client, i) => {
      const [, gap] = await client.waitUntil(() => /gap (\d+)/.exec(client.output()) ?? undefined, {
        what: 'the next connection',
        timeoutMs: 60_000,
      })
      return [i === 0 ? 'IPv4' : 'IPv6', Number(gap)] as const
    }),
  )
  await Promise.all(clients.map((client) => client.stop({ signal: 'SIGKILL' })))
  await layer2.lab.reconnect(node)
  console.log(`${node.name} off, ${own.length} VIPs: ${gaps.map(([family, gap]) => `${family} ${gap} ms`).join(', ')}`)
  return gaps
}
