// The demo for machines without root or network namespaces: the same cluster API, the same kubectl and the same controllers, two
// BGP receivers instead of routers, and nobody who forwards a packet. It says itself what it leaves out.

import { type Ip, parseIp } from '../../net/ip.ts'
import { hostPrefix } from '../../net/prefix.ts'
import { must } from '../../runtime/result.ts'
import { clusterAsn, type LoopbackLab, leafAsns, startLoopbackLab } from '../loopback/loopback-lab.ts'
import { type RunningController, whenReady } from '../loopback/programs.ts'
import { repositoryRoot } from '../netns/node-program.ts'
import type { Receiver } from '../receiver/receiver.ts'
import { type DualStack, nodeAddress, podAddress } from '../topology/addresses.ts'
import type { Story } from './story.ts'

/** The VIPs that the empty pool gives out first. */
const vip4 = must(parseIp('203.0.113.10'))
const vip6 = must(parseIp('2001:db8:1::10'))

const nodeNames = ['node1', 'node2', 'node3'] as const
type NodeName = (typeof nodeNames)[number]
const numberOf = (node: NodeName): number => nodeNames.indexOf(node) + 1
const addressOf = (node: NodeName): DualStack => nodeAddress(numberOf(node))

/** Tells the story in a lab of its own. Everything it starts has ended when it returns, also after SIGINT and SIGTERM. */
export async function tellLoopbackStory(story: Story): Promise<void> {
  const lab = await startLoopbackLab()
  // Before the story notices, so that what it then says of a lab that is gone is not heard any more.
  const interrupted = (): void => void lab.destroy().then(() => process.exit(130))
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  const before = story.summary()
  let failed = true
  try {
    const teller = createTeller(lab, story)
    teller.whatIsLeftOut()
    await teller.theCluster()
    await teller.bellhopStarts()
    await teller.peering()
    await teller.aService()
    await teller.aPodIsUnready()
    await teller.theLastPodGoes()
    await teller.aControllerDies()
    await teller.badInput()
    await teller.theEnd()
    const { passed, total } = story.summary()
    failed = passed - before.passed < total - before.total
  } finally {
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
    await lab.destroy({ keepDirectory: failed })
    if (failed) story.say(`The logs of the controllers are in ${lab.directory}.`)
  }
}

type Chapter =
  | 'theCluster'
  | 'bellhopStarts'
  | 'peering'
  | 'aService'
  | 'aPodIsUnready'
  | 'theLastPodGoes'
  | 'aControllerDies'
  | 'badInput'
  | 'theEnd'

type Teller = Readonly<Record<Chapter, () => Promise<void>> & { whatIsLeftOut: () => void }>

function createTeller(lab: LoopbackLab, story: Story): Teller {
  const { kubectl, leaves } = lab
  const controllers = new Map<NodeName, RunningController>()

  const run = async (args: string, input?: string): Promise<string> => {
    story.command(`kubectl ${args}`)
    const result = await kubectl.run(args.split(' '), input === undefined ? {} : { input })
    return result.stdout + result.stderr
  }
  const showRun = async (args: string, input?: string): Promise<void> => story.show(await run(args, input))
  const kubectlSays = (args: string, expected: string) => async (): Promise<string | undefined> => {
    const { stdout, stderr } = await kubectl.run(args.split(' '))
    return stdout.trim() === expected ? undefined : `kubectl says: ${stdout.trim() || stderr.trim() || '(nothing)'}`
  }

  const leavesHold = (expected: readonly NodeName[]) => (): string | undefined => {
    for (const [index, leaf] of leaves.entries())
      for (const vip of [vip4, vip6]) {
        const wanted = expected.map((node) => addressOf(node)[vip === vip4 ? 'ipv4' : 'ipv6'])
        const problem = leafHolds(leaf, vip, wanted)
        if (problem !== undefined) return `leaf${index + 1} ${problem}`
      }
    return undefined
  }
  const leavesHoldNothing = leavesHold([])
  const showRoutes = (): void => {
    for (const [index, leaf] of leaves.entries()) story.show(`leaf${index + 1}  ${renderRoute(leaf, vip4)}`)
  }
  const sessionsAreUp = (): string | undefined => {
    for (const [index, leaf] of leaves.entries()) {
      const up = leaf.sessions().filter(({ state }) => state === 'Established')
      if (up.length !== controllers.size) return `leaf${index + 1} has ${up.length} of ${controllers.size} sessions`
      const unfinished = up.find(({ endOfRib }) => endOfRib.length < 2)
      if (unfinished !== undefined) return `leaf${index + 1} has no End-of-RIB from ${unfinished.routerId} yet`
    }
    return undefined
  }

  const startController = async (node: NodeName): Promise<void> => {
    story.command(`bellhop controller --node ${node}`)
    const controller = await lab.startController({ name: `bellhop-controller-${node}`, node })
    controllers.set(node, controller)
    await whenReady(controller)
  }

  const pods = async (): Promise<readonly Pod[]> => {
    const text = await kubectl.must(['get', 'pods', '-l', 'app=whoami', '-o', 'json'])
    return (JSON.parse(text) as { readonly items: readonly Pod[] }).items
  }
  const podOn = async (node: NodeName): Promise<Pod> => {
    const found = (await pods()).find((pod) => pod.spec.nodeName === node)
    if (found === undefined) throw new Error(`no pod on ${node}`)
    return found
  }
  /** What a kubelet would report. */
  const report = async (pod: Pod, { ready }: { readonly ready: boolean }): Promise<void> => {
    const { ipv4, ipv6 } = podAddress(numberOf(pod.spec.nodeName ?? 'node1'), 2)
    const status = {
      phase: 'Running',
      podIP: ipv4,
      podIPs: [{ ip: ipv4 }, { ip: ipv6 }],
      conditions: ['ContainersReady', 'Ready'].map((type) => ({ type, status: ready ? 'True' : 'False' })),
    }
    await kubectl.must(patchStatus('pod', pod.metadata.name, status))
  }
  const whenPodsAreScheduled = (): Promise<boolean> =>
    story.check('the pods are on their nodes', async () => {
      const placed = (await pods()).map((pod) => pod.spec.nodeName).sort()
      return placed.join() === nodeNames.join() ? undefined : `pods are on ${placed.join(', ')}`
    })

  return {
    whatIsLeftOut: () => {
      story.chapter('On loopback')
      story.say('Real here: the Kubernetes API as kubectl sees it, two controllers, and every byte of BGP over TCP.')
      story.say('The leaves are BGP receivers of our own that share no state machine with the controllers.')
      story.say('Left out: routers and their kernels’ ECMP routes, clients and their packets, kubelets (the demo says')
      story.say('itself which pod is ready), and the nodes’ FORWARD rules. As root, make demo shows all of that.')
    },

    theCluster: async () => {
      story.chapter('A cluster')
      await showRun('apply -f -', nodeNames.map(nodeManifest).join('---\n'))
      for (const node of nodeNames) await kubectl.must(patchStatus('node', node, nodeStatus(node)))
      await story.check(
        'three nodes are ready',
        kubectlSays('get nodes -o jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}', 'True True True'),
      )
      await showRun('get nodes -o wide')
    },

    bellhopStarts: async () => {
      story.chapter('Bellhop')
      await run(`apply -f ${repositoryRoot}/deploy/base/namespace.yaml`)
      await showRun(`apply -k ${repositoryRoot}/crds`)
      await story.check('the CRDs are established', async () =>
        (await kubectl.run('wait --for=condition=Established --timeout=1s crd --all'.split(' '))).status === 0
          ? undefined
          : 'not all are',
      )
      await startController('node1')
      await startController('node2')
      await story.check('both controllers are ready, and one of them leads', async () =>
        (await leader()) === undefined ? 'nobody leads yet' : undefined,
      )
    },

    peering: async () => {
      story.chapter('BGP')
      await showRun('apply -f -', bgpManifest(leaves))
      await story.check('both leaves have a session with each controller, with both families', sessionsAreUp)
      await story.check(
        'the BgpPeers say so',
        kubectlSays('get bgppeers -o jsonpath={.items[*].status.sessionsSummary}', '2/2 2/2'),
      )
      await showRun('get bgppeers')
    },

    aService: async () => {
      story.chapter('A Service')
      await showRun(`apply -f ${repositoryRoot}/src/lab/demo/manifests/whoami.yaml`)
      await story.check(
        `EXTERNAL-IP appears: ${vip4} and ${vip6}`,
        kubectlSays('get service whoami -o jsonpath={.status.loadBalancer.ingress[*].ip}', `${vip4} ${vip6}`),
      )
      await whenPodsAreScheduled()
      await story.check('no pod is ready, so no leaf has a route', leavesHoldNothing)
      for (const pod of await pods()) await report(pod, { ready: true })
      await story.check(
        'the pods become ready: both leaves have exactly their nodes as next hops',
        leavesHold(nodeNames),
      )
      await showRun('get service whoami')
      await showRun('get vips')
      showRoutes()
      await story.check('both controllers announce the same paths with the same path ids', () => sameTables(leaves))
    },

    aPodIsUnready: async () => {
      story.chapter('A pod becomes unready')
      const pod = await podOn('node2')
      story.say(`Readiness of ${pod.metadata.name} on node2: False`)
      await report(pod, { ready: false })
      await story.check('node2 is no next hop any more', leavesHold(['node1', 'node3']), { everyMs: 10 })
      showRoutes()
      await report(pod, { ready: true })
      await story.check('it is ready again, and node2 is back', leavesHold(nodeNames), { everyMs: 10 })
    },

    theLastPodGoes: async () => {
      story.chapter('The last pod goes')
      await showRun('scale deployment whoami --replicas=0')
      await story.check('both leaves have no route any more', leavesHoldNothing)
      await story.check(
        'the Service keeps its addresses',
        kubectlSays('get service whoami -o jsonpath={.status.loadBalancer.ingress[*].ip}', `${vip4} ${vip6}`),
      )
      await story.check('and the Vip says why it is not announced', async () => {
        const announced = '{.status.conditions[?(@.type=="Announced")]'
        const { stdout } = await kubectl.run([
          'get',
          'vip',
          vip4,
          '-o',
          `jsonpath=${announced}.status} ${announced}.message}`,
        ])
        if (!stdout.startsWith('False ')) return `Announced: ${stdout}`
        story.show(stdout)
        return undefined
      })
      await showRun('scale deployment whoami --replicas=3')
      await whenPodsAreScheduled()
      for (const pod of await pods()) await report(pod, { ready: true })
      await story.check('the pods are back, and the routes with them', leavesHold(nodeNames))
    },

    aControllerDies: async () => {
      story.chapter('A controller is killed')
      const name = (await leader()) ?? 'node1'
      const before = await transitions()
      const followed = leaves.map((leaf) => leaf.follow(hostPrefix(vip4)))
      story.command(`kill -9 $(pidof bellhop)   # on ${name}, the leader`)
      controllers.get(name)?.process.kill('SIGKILL')
      await controllers.get(name)?.process.end
      controllers.delete(name)
      await story.check('both leaves notice', sessionsAreUp)
      await story.check('the routes stay as they were', leavesHold(nodeNames))
      await startController(name)
      await story.check('its sessions come back', sessionsAreUp)
      await story.check('not for a moment was a next hop missing at a leaf', () => {
        const seen = followed.flatMap((each) => each.seen())
        for (const each of followed) each.stop()
        const all = nodeNames.map((node) => addressOf(node).ipv4).join(', ')
        const other = seen.find((nextHops) => nextHops.join(', ') !== all)
        return other === undefined ? undefined : `a leaf went through: ${other.join(', ') || 'no route'}`
      })
      await story.check('its lease of 15 seconds runs out, and one of the two leads again', async () =>
        (await transitions()) === before ? 'nobody has taken the lease yet' : undefined,
      )
    },

    badInput: async () => {
      story.chapter('Mistakes')
      story.command('kubectl apply -f -   # a BgpPeer with address 10.0.0.300 and asn 0')
      await story.check('is refused, with the fields named', async () => {
        const refused = await kubectl.run(['apply', '-f', '-'], { input: peerManifest('leaf3', '10.0.0.300', 179, 0) })
        if (refused.status === 0) return 'it was accepted'
        story.show(refused.stderr)
        return ['spec.address', 'spec.asn'].every((field) => refused.stderr.includes(field))
          ? undefined
          : 'a field is not named'
      })
      story.command('kubectl apply -f -   # a Service that asks for an address that no pool has')
      await kubectl.must(['apply', '-f', '-'], { input: lostService })
      await story.check('is told so, and everything else goes on', async () => {
        const { stdout } = await kubectl.run([
          ...'get service lost -o'.split(' '),
          'jsonpath={.status.conditions[?(@.type=="bellhop.io/Allocated")].message}',
        ])
        if (!stdout.includes('198.51.100.1')) return `the condition says: ${stdout || '(nothing)'}`
        story.show(stdout)
        return leavesHold(nodeNames)()
      })
      await run('delete service lost')
    },

    theEnd: async () => {
      story.chapter('The end')
      await showRun('delete service whoami')
      await story.check('the route is gone from both leaves', leavesHoldNothing)
      await story.check('the Vips are gone', kubectlSays('get vips -o name', ''))
      for (const { process: controller } of controllers.values()) controller.kill('SIGTERM')
      await story.check('the controllers end cleanly', async () => {
        for (const { process: controller } of controllers.values()) {
          const end = await controller.end
          if (end.status !== 0)
            return `exit status ${end.status ?? end.signal}: ${controller.output().split('\n').at(-1)}`
        }
        return undefined
      })
      await story.check('no leaf has anything to complain about', () => {
        const complaints = leaves.flatMap((leaf) => leaf.complaints())
        return complaints.length === 0 ? undefined : complaints.join('\n')
      })
    },
  }

  async function leader(): Promise<NodeName | undefined> {
    const { stdout } = await kubectl.run(
      'get lease bellhop-controller -n bellhop-system -o jsonpath={.spec.holderIdentity}'.split(' '),
    )
    return nodeNames.find((node) => stdout.includes(node))
  }

  function transitions(): Promise<string> {
    const lease = 'get lease bellhop-controller -n bellhop-system -o jsonpath={.spec.leaseTransitions}'
    return kubectl.must(lease.split(' '))
  }
}

function leafHolds(leaf: Receiver, vip: Ip, expected: readonly Ip[]): string | undefined {
  const prefix = hostPrefix(vip)
  const actual = leaf.nextHops(prefix)
  return actual.join() === expected.join() ? undefined : `has ${prefix} via ${actual.join(', ') || 'nothing'}`
}

function renderRoute(leaf: Receiver, vip: Ip): string {
  const prefix = hostPrefix(vip)
  const legs = leaf.nextHops(prefix).map((nextHop) => `via ${nextHop}`)
  return `${prefix}  ${legs.join('  ') || '(no route)'}`
}

/** The sessions of a leaf hold the same paths: what makes losing one of them harmless. */
function sameTables(leaves: readonly Receiver[]): string | undefined {
  for (const leaf of leaves) {
    const bySpeaker = Map.groupBy(
      leaf.prefixes().flatMap((prefix) => leaf.routes(prefix).map((path) => ({ prefix, ...path }))),
      ({ from }) => from,
    )
    const tables = [...bySpeaker.values()].map((paths) =>
      paths
        .map(({ prefix, pathId, nextHop }) => `${prefix} ${pathId} ${nextHop}`)
        .sort()
        .join('\n'),
    )
    if (tables.length !== leaf.sessions().length || new Set(tables).size !== 1)
      return `${tables.length} sessions with ${new Set(tables).size} different tables`
  }
  return undefined
}

interface Pod {
  readonly metadata: { readonly name: string }
  readonly spec: { readonly nodeName?: NodeName }
}

// Not --type=merge for pods, whose conditions are several writers'; not the strategic one for nodes, where addresses are merged
// by their type and only one InternalIP would be left.
const patchStatus = (kind: 'node' | 'pod', name: string, status: unknown): readonly string[] => [
  ...['patch', kind, name, '--subresource=status', `--type=${kind === 'node' ? 'merge' : 'strategic'}`, '-p'],
  JSON.stringify({ status }),
]

const nodeManifest = (node: NodeName): string => `apiVersion: v1
kind: Node
metadata: {name: ${node}}
`

const nodeStatus = (node: NodeName): unknown => ({
  addresses: Object.values(addressOf(node)).map((address) => ({ type: 'InternalIP', address })),
  conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'the demo says so' }],
})

const peerManifest = (name: string, address: string, port: number, asn: number): string => `---
apiVersion: bellhop.io/v1alpha1
kind: BgpPeer
metadata: {name: ${name}}
spec:
  address: ${address}
  port: ${port}
  asn: ${asn}
  families: [ipv4-unicast, ipv6-unicast]
  timers: {holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 1}
`

const bgpManifest = (leaves: readonly Receiver[]): string => `apiVersion: bellhop.io/v1alpha1
kind: BgpConf
metadata: {name: default}
spec: {asn: ${clusterAsn}, listenPort: 0}
---
apiVersion: bellhop.io/v1alpha1
kind: VipPool
metadata: {name: default}
spec:
  addresses:
    - 203.0.113.10-203.0.113.99
    - 2001:db8:1::10-2001:db8:1::99
${leaves.map(({ address, port }, i) => peerManifest(`leaf${i + 1}`, address, port, leafAsns[i] ?? 0)).join('')}`

const lostService = `apiVersion: v1
kind: Service
metadata:
  name: lost
  annotations: {bellhop.io/ips: 198.51.100.1}
spec:
  type: LoadBalancer
  ports: [{port: 80}]
`
