// The demo for machines without root or network namespaces: the same cluster API, the same kubectl and the same controllers, two
// BGP receivers instead of routers, and nobody who forwards a packet. It says itself what it leaves out.

import { constants } from 'node:os'
import { hostPrefix } from '../../net/prefix.ts'
import { repositoryFile, shellLines } from '../lab.ts'
import { clusterAsn, leafAsns, startLoopbackLab } from '../loopback/loopback-lab.ts'
import type { Receiver } from '../receiver/receiver.ts'
import {
  addressOf,
  type LoopbackStage,
  type NodeName,
  nodeNames,
  patchStatus,
  setLoopbackStage,
} from './loopback-stage.ts'
import { vip4, vip6 } from './stage.ts'
import type { Story } from './story.ts'

/** Tells the story in a lab of its own. Everything it starts has ended when it returns, also after SIGINT and SIGTERM. */
export async function tellLoopbackStory(story: Story): Promise<void> {
  const lab = await startLoopbackLab()
  // Before the story notices, so that what it then says of a lab that is gone is not heard any more.
  const interrupted = (signal: NodeJS.Signals): void =>
    void lab.destroy().then(() => process.exit(128 + constants.signals[signal]))
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  const before = story.summary()
  let failed = true
  try {
    sayWhatIsLeftOut(story)
    story.say('Until the end of the story you can look around from another terminal, with what is printed here and:')
    for (const line of shellLines(lab.directory)) story.command(line)
    const stage = setLoopbackStage(lab, story)
    for (const [title, chapter] of chapters) {
      story.chapter(title)
      await chapter(stage)
    }
    const { passed, total } = story.summary()
    failed = passed - before.passed < total - before.total
  } finally {
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
    await lab.destroy({ keepDirectory: failed })
    if (failed) story.say(`The logs of the controllers are in ${lab.directory}.`)
  }
}

function sayWhatIsLeftOut(story: Story): void {
  story.chapter('On loopback')
  story.say('Real here: the Kubernetes API as kubectl sees it, two controllers, and every byte of BGP over TCP.')
  story.say('The leaves are BGP receivers of our own that share no state machine with the controllers.')
  story.say('Left out: routers and their kernels’ ECMP routes, clients and their packets, kubelets (the demo says')
  story.say('itself which pod is ready), and the nodes’ FORWARD rules. As root, make demo shows all of that.')
}

type Chapter = (stage: LoopbackStage) => Promise<void>

const theCluster: Chapter = async ({ manifest, lab, story, showRun, kubectlSays }) => {
  const { kubectl } = lab
  await showRun(`apply -f ${manifest('nodes', nodeNames.map(nodeManifest).join('---\n'))}`)
  for (const node of nodeNames) await kubectl.must(patchStatus('node', node, nodeStatus(node)))
  await story.check(
    'three nodes are ready',
    kubectlSays('get nodes -o jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}', 'True True True'),
  )
  await showRun('get nodes -o wide')
}

const bellhopStarts: Chapter = async ({ lab, story, run, showRun, startController, leader }) => {
  const { kubectl } = lab
  await run(`apply -f ${repositoryFile('deploy/base/namespace.yaml')}`)
  await showRun(`apply -k ${repositoryFile('crds')}`)
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
}

const peering: Chapter = async ({ lab, story, manifest, showRun, kubectlSays, sessionsAreUp }) => {
  await showRun(`apply -f ${manifest('bgp', bgpManifest(lab.leaves))}`)
  await story.check('both leaves have a session with each controller, with both families', sessionsAreUp)
  await story.check(
    'the BgpPeers say so',
    kubectlSays('get bgppeers -o jsonpath={.items[*].status.sessionsSummary}', '2/2 2/2'),
  )
  await showRun('get bgppeers')
}

const aService: Chapter = async ({
  lab,
  story,
  showRun,
  kubectlSays,
  leavesHold,
  showRoutes,
  pods,
  report,
  whenPodsAreScheduled,
}) => {
  const { leaves } = lab
  await showRun(`apply -f ${repositoryFile('src/lab/demo/manifests/whoami.yaml')}`)
  await story.check(
    `EXTERNAL-IP appears: ${vip4} and ${vip6}`,
    kubectlSays('get service whoami -o jsonpath={.status.loadBalancer.ingress[*].ip}', `${vip4} ${vip6}`),
  )
  await whenPodsAreScheduled()
  await story.check('no pod is ready, so no leaf has a route', leavesHold([]))
  for (const pod of await pods()) await report(pod, { ready: true })
  await story.check('the pods become ready: both leaves have exactly their nodes as next hops', leavesHold(nodeNames))
  await showRun('get service whoami')
  await showRun('get vips')
  showRoutes()
  await story.check('both controllers announce the same paths with the same path ids', () => sameTables(leaves))
}

const aPodIsUnready: Chapter = async ({ story, leavesHold, showRoutes, podOn, report }) => {
  const pod = await podOn('node2')
  story.say(`Readiness of ${pod.metadata.name} on node2: False`)
  await report(pod, { ready: false })
  await story.check('node2 is no next hop any more', leavesHold(['node1', 'node3']), { everyMs: 10 })
  showRoutes()
  await report(pod, { ready: true })
  await story.check('it is ready again, and node2 is back', leavesHold(nodeNames), { everyMs: 10 })
}

const theLastPodGoes: Chapter = async ({
  lab,
  story,
  showRun,
  kubectlSays,
  leavesHold,
  pods,
  report,
  whenPodsAreScheduled,
}) => {
  const { kubectl } = lab
  await showRun('scale deployment whoami --replicas=0')
  await story.check('both leaves have no route any more', leavesHold([]))
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
      `jsonpath=${announced}.status} ${announced}.reason}: ${announced}.message}`,
    ])
    if (!stdout.startsWith('False NoReadyEndpoints: ')) return `Announced: ${stdout}`
    story.show(stdout)
    return undefined
  })
  await showRun('scale deployment whoami --replicas=3')
  await whenPodsAreScheduled()
  for (const pod of await pods()) await report(pod, { ready: true })
  await story.check('the pods are back, and the routes with them', leavesHold(nodeNames))
}

const aControllerDies: Chapter = async ({
  lab,
  story,
  controllers,
  leavesHold,
  sessionsAreUp,
  startController,
  leader,
  transitions,
}) => {
  const { leaves } = lab
  const name = (await leader()) ?? 'node1'
  const before = await transitions()
  const followed = leaves.map((leaf) => leaf.follow(hostPrefix(vip4)))
  story.command(`kill -9 ${controllers.get(name)?.process.pid}   # the controller of ${name}, the leader`)
  controllers.get(name)?.process.kill('SIGKILL')
  await controllers.get(name)?.process.end
  controllers.delete(name)
  await story.check('both leaves notice', sessionsAreUp)
  await story.check('the routes stay as they were', leavesHold(nodeNames))
  await startController(name)
  await story.check('its sessions come back', sessionsAreUp)
  await story.check('its lease of 15 seconds runs out, and one of the two leads again', async () =>
    (await transitions()) === before ? 'nobody has taken the lease yet' : undefined,
  )
  await story.check('not for a moment was a next hop missing at a leaf', () => {
    const seen = followed.flatMap((each) => each.seen())
    for (const each of followed) each.stop()
    const all = nodeNames.map((node) => addressOf(node).ipv4).join(', ')
    const other = seen.find((nextHops) => nextHops.join(', ') !== all)
    return other === undefined ? undefined : `a leaf went through: ${other.join(', ') || 'no route'}`
  })
}

const badInput: Chapter = async ({ lab, story, run, manifest, leavesHold }) => {
  const { kubectl } = lab
  const malformed = `apply -f ${repositoryFile('src/lab/demo/manifests/mistakes/malformed.yaml')}`
  story.command(`kubectl ${malformed}   # address 10.0.0.300, AS number 0`)
  await story.check('is refused, with the fields named', async () => {
    const refused = await kubectl.run(malformed.split(' '))
    if (refused.status === 0) return 'it was accepted'
    story.show(refused.stderr)
    return ['spec.address', 'spec.asn'].every((field) => refused.stderr.includes(field))
      ? undefined
      : 'a field is not named'
  })
  story.say('A Service that asks for an address that no pool has:')
  await run(`apply -f ${manifest('lost', lostService)}`)
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
}

const theEnd: Chapter = async ({ lab, story, controllers, showRun, kubectlSays, leavesHold }) => {
  const { leaves } = lab
  await showRun('delete service whoami')
  await story.check('the route is gone from both leaves', leavesHold([]))
  await story.check('the Vips are gone', kubectlSays('get vips -o name', ''))
  for (const { process: controller } of controllers.values()) controller.kill('SIGTERM')
  await story.check('the controllers end cleanly', async () => {
    for (const { process: controller } of controllers.values()) {
      const end = await controller.end
      if (end.status !== 0) return `exit status ${end.status ?? end.signal}: ${controller.output().split('\n').at(-1)}`
    }
    return undefined
  })
  await story.check('no leaf has anything to complain about', () => {
    const complaints = leaves.flatMap((leaf) => leaf.complaints())
    return complaints.length === 0 ? undefined : complaints.join('\n')
  })
}

/** Titles and chapters, in the order in which they are told. */
const chapters: readonly (readonly [string, Chapter])[] = [
  ['A cluster', theCluster],
  ['Bellhop', bellhopStarts],
  ['BGP', peering],
  ['A Service', aService],
  ['A pod becomes unready', aPodIsUnready],
  ['The last pod goes', theLastPodGoes],
  ['A controller is killed', aControllerDies],
  ['Mistakes', badInput],
  ['The end', theEnd],
]

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
