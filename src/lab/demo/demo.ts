// The story that `make demo` tells: from `kubectl apply` to a client whose requests arrive, through everything that may go wrong on
// the way, to a cluster in which nothing is left. Each chapter changes one thing and checks what users, routers and clients see.

import type { Ip } from '../../net/ip.ts'
import { type Lab, repositoryFile, waitForCrds } from '../lab.ts'
import { urlOf } from '../topology/client.ts'
import { type Stage, setStage, vip4, vip6 } from './stage.ts'
import type { Story } from './story.ts'

/** Tells the whole story in an empty lab. A chapter that cannot be told to its end is a failed check, and the last one. */
export async function tellStory(lab: Lab, story: Story): Promise<void> {
  const stage = setStage(lab, story)
  for (const [title, chapter] of chapters) {
    story.chapter(title)
    try {
      await chapter(stage)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      await story.check('this can be shown to its end', () => reason, { withinMs: 0 })
      return
    }
  }
}

/** Changes one thing on the stage and checks what follows. Each builds on those before. */
export type Chapter = (stage: Stage) => Promise<void>

const allRules = 'iptables-save; ip6tables-save'
const ingressOf = 'get service whoami -o jsonpath={.status.loadBalancer.ingress[*].ip}'
const leaderOf = 'get lease bellhop-controller -n bellhop-system -o jsonpath={.spec.holderIdentity}'

const aCluster: Chapter = async ({ story, nodes, showRun, kubectlSays }) => {
  const names = `nodes ${nodes.map(({ name }) => name).join(' ')}`
  story.say('Three nodes on a LAN with two leaf routers; a client beyond an edge router that spreads over both leaves.')
  await story.check(
    'three nodes are Ready',
    kubectlSays(`get ${names} -o jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`, 'True True True'),
  )
  await showRun(`get ${names} -o wide`)
}

const bellhopIsInstalled: Chapter = async ({ lab, story, nodes, showRun, startController }) => {
  story.say('Two controller replicas, on node1 and node2. The agents come later, so that you see what they are for.')
  await showRun(`apply -f ${repositoryFile('deploy/base/namespace.yaml')}`)
  await showRun(`apply -k ${repositoryFile('crds')}`)
  await showRun(waitForCrds)
  for (const rights of ['controller-rbac', 'agent-rbac'])
    await showRun(`apply -f ${repositoryFile(`deploy/base/${rights}.yaml`)}`)
  await lab.takeTokens()
  story.command('bellhop controller   # on node1 and on node2')
  await Promise.all([startController(nodes[0]), startController(nodes[1])])
  await story.check('one of the two controllers leads', async () => {
    const { stdout } = await lab.kubectl(leaderOf.split(' '))
    return stdout === '' ? 'nobody holds the lease' : undefined
  })
}

const bgp: Chapter = async ({ lab, story, showRun, sessionsAreUp, kubectlSays }) => {
  await showRun(`apply -f ${lab.manifest('bgp')}`)
  await story.check('both leaves have a session with each controller', sessionsAreUp)
  await story.check(
    'the BgpPeers say so',
    kubectlSays('get bgppeers -o jsonpath={.items[*].status.sessionsSummary}', '2/2 2/2'),
  )
  await showRun('get bgppeers')
}

const aService: Chapter = async (stage) => {
  const { lab, story, nodes, showRun, kubectlSays } = stage
  await showRun(`apply -f ${lab.manifest('whoami')}`)
  await story.check(`EXTERNAL-IP appears: ${vip4} and ${vip6}`, kubectlSays(ingressOf, `${vip4} ${vip6}`))
  await story.check('three pods on three nodes are ready', async () =>
    (await stage.readyNodes()).length === 3 ? undefined : 'not all pods are ready',
  )
  await story.check(
    'both leaves: exactly the nodes with ready pods, in BGP and as one ECMP route in the kernel',
    stage.leavesHold(nodes),
  )
  const nextHops = 'get vips -o jsonpath={range.items[*]}{.status.nextHops[*].node};{end}'
  const all = nodes.map(({ name }) => name).join(' ')
  await story.check('the Vips name the same nodes', kubectlSays(nextHops, `${all};${all};`))
  await showRun('get service whoami')
  await showRun('get vips')
  await stage.showBgpRoutes()
  await stage.showKernelRoutes()
}

const theForwardPath: Chapter = async ({ lab, story, nodes, showIn, startAgents, requestsArrive }) => {
  const [node1] = nodes
  story.say('The nodes drop what they are not told to forward. After DNAT a packet for a VIP is such a packet.')
  await showIn(node1.namespace, ['iptables', '-S', 'FORWARD'])
  await story.check('the policy of FORWARD is DROP on every node, for both families', async () => {
    for (const { name, namespace } of nodes)
      for (const program of ['iptables', 'ip6tables'])
        if (!(await namespace.run([program, '-S', 'FORWARD'])).includes('-P FORWARD DROP'))
          return `${program} of ${name} has another`
    return undefined
  })
  await story.check('without agents no request arrives', async () => {
    const ask = (vip: Ip) => lab.topology.client.request(vip, { count: 3, timeoutMs: 500 })
    const through = (await Promise.all([vip4, vip6].map(ask))).map(({ failed }) => 3 - failed)
    return through.every((count) => count === 0) ? undefined : `${through.join(' and ')} of 3 requests got through`
  })
  story.command('bellhop agent   # on every node')
  await startAgents()
  await story.check('with them they do', requestsArrive(20, 3))
  await story.check('the same over IPv6', requestsArrive(20, 3, vip6))
  await showIn(node1.namespace, ['iptables', '-S', 'BELLHOP-FORWARD'])
}

const aClient: Chapter = async ({ lab, story, requestsArrive }) => {
  const { namespace } = lab.topology.client
  story.command(`for i in $(seq 200); do ${namespace.commandLine(['curl', '-s', urlOf(vip4, 80)])}; done`)
  await story.check(
    '200 requests: none fails, every pod answers, and every pod sees the client’s own address',
    requestsArrive(200, 3),
  )
  await story.check('the same over IPv6', requestsArrive(200, 3, vip6))
}

const aPodIsUnready: Chapter = async (stage) => {
  const { lab, story, nodes, run, leavesHold } = stage
  const [node1, node2, node3] = nodes
  const pods = 'get pods -l app=whoami --field-selector spec.nodeName=node2 -o name'
  const pod = (await lab.mustKubectl(pods.split(' '))).trim()
  const loads = await stage.startLoads()
  await run(`annotate ${pod} lab.bellhop.io/ready=false`)
  await story.check('the cluster notices', async () =>
    (await stage.readyNodes()).includes(node2) ? 'the pod on node2 is still ready' : undefined,
  )
  await story.check('within a second node2 is no next hop any more', leavesHold([node1, node3]), {
    withinMs: 1000,
    everyMs: 20,
  })
  loads.reset()
  await stage.showKernelRoutes()
  await story.check('100 requests after that to each VIP: none fails', loads.nothingFails(100))
  await run(`annotate ${pod} --overwrite lab.bellhop.io/ready=true`)
  await story.check('it comes back, and node2 with it', leavesHold(nodes))
  await loads.stop()
  await story.check(`${loads.requests()} requests meanwhile: none failed`, loads.nothingFails())
}

const aControllerIsKilled: Chapter = async (stage) => {
  const { lab, story, nodes, controllers, sessionsAreUp, leavesHold, startController } = stage
  const loads = await stage.startLoads()
  const leader = (await lab.mustKubectl(leaderOf.split(' '))).includes(nodes[0].name) ? nodes[0] : nodes[1]
  const transitions = 'get lease bellhop-controller -n bellhop-system -o jsonpath={.spec.leaseTransitions}'.split(' ')
  const before = await lab.mustKubectl(transitions)
  const killed = controllers.get(leader.name)
  story.command(`kill -9 ${killed?.pid}   # the controller on ${leader.name}, the leader`)
  killed?.kill('SIGKILL')
  await killed?.end
  controllers.delete(leader.name)
  await story.check('both leaves notice', sessionsAreUp)
  await story.check('the routes stay as they were', leavesHold(nodes))
  story.command(`bellhop controller   # on ${leader.name} again`)
  await startController(leader)
  await story.check('its sessions come back', sessionsAreUp)
  await story.check('its lease of 15 seconds runs out, and one of the two leads again', async () =>
    (await lab.mustKubectl(transitions)) === before ? 'nobody has taken the lease yet' : undefined,
  )
  await story.check('the routes are still the same', leavesHold(nodes))
  await loads.stop()
  await story.check(`${loads.requests()} requests meanwhile: none failed`, loads.nothingFails(100))
}

const aNodeIsLost: Chapter = async ({ lab, story, nodes, leavesHold, requestsArrive }) => {
  const [node1, node2, node3] = nodes
  story.say('All cables of node3 are pulled, that to the API server too. BFD between controllers and agents notices.')
  await lab.cutOff(node3)
  await story.check('within five seconds both leaves go on with node1 and node2', leavesHold([node1, node2]), {
    withinMs: 5000,
    everyMs: 20,
  })
  await story.check('60 requests after that: none fails', requestsArrive(60, 2))
  await story.check('the same over IPv6', requestsArrive(60, 2, vip6))
  await lab.reconnect(node3)
  await story.check('the node comes back', leavesHold(nodes))
  await story.check('and takes its share again', requestsArrive(60, 3))
}

const theLastPodGoes: Chapter = async (stage) => {
  const { lab, story, nodes, showRun, kubectlSays, leavesHold } = stage
  await showRun('scale deployment whoami --replicas=0')
  await story.check('both leaves have no route any more', leavesHold([]))
  await story.check('the Service keeps its addresses', kubectlSays(ingressOf, `${vip4} ${vip6}`))
  await story.check('and the Vips say why they are not announced', async () => {
    for (const vip of ['203.0.113.10', '2001-0db8-0001-0000-0000-0000-0000-0010']) {
      const announced = '.status.conditions[?(@.type=="Announced")]'
      const { stdout } = await lab.kubectl([
        ...['get', 'vip', vip, '-o'],
        `jsonpath={${announced}.status} {${announced}.reason}: {${announced}.message}`,
      ])
      if (!stdout.startsWith('False NoReadyEndpoints: ')) return `condition Announced of ${vip} says: ${stdout}`
      story.show(stdout)
    }
    return undefined
  })
  await showRun('get vips')
  await showRun('scale deployment whoami --replicas=3')
  await story.check('all three pods come back, and the routes with them', leavesHold(nodes))
}

const mistakes: Chapter = async ({ lab, story, nodes, run, leavesHold }) => {
  const malformed = `apply -f ${repositoryFile('src/lab/demo/manifests/mistakes/malformed.yaml')}`
  story.command(`kubectl ${malformed}   # address 10.0.0.300, AS number 0`)
  await story.check('is refused, with the fields named', async () => {
    const result = await lab.kubectl(malformed.split(' '))
    if (result.status === 0) return 'it was accepted'
    story.show(result.stderr)
    const named = ['spec.address', 'spec.asn'].every((field) => result.stderr.includes(field))
    return named ? undefined : 'a field is not named'
  })
  await run(`apply -f ${repositoryFile('src/lab/demo/manifests/mistakes/no-secret.yaml')}`)
  await story.check('is accepted and says what it waits for', async () => {
    const accepted = 'get bgppeer leaf3 -o jsonpath={.status.conditions[?(@.type=="Accepted")].message}'
    const { stdout } = await lab.kubectl(accepted.split(' '))
    if (!stdout.includes('leaf3-md5')) return `condition Accepted says: ${stdout || '(nothing)'}`
    story.show(stdout)
    return undefined
  })
  await story.check('everything else goes on', leavesHold(nodes))
  await run('delete bgppeer leaf3')
}

const theEnd: Chapter = async ({ lab, story, nodes, controllers, agents, showRun, kubectlSays, leavesHold }) => {
  await showRun('delete service whoami')
  await story.check('the routes are gone from both leaves', leavesHold([]))
  await story.check('the Vips are gone', kubectlSays('get vips -o name', ''))
  await story.check('the nodes’ rules for them are gone', async () => {
    for (const node of nodes) {
      const rules = await node.namespace.run(['sh', '-c', allRules])
      const vip = [vip4, vip6].find((each) => rules.includes(each))
      if (vip !== undefined) return `${node.name} has a rule for ${vip}`
    }
    return undefined
  })
  const programs = [...controllers.values(), ...agents.values()]
  for (const program of programs) program.kill('SIGTERM')
  await story.check('controllers and agents end cleanly', async () => {
    for (const program of programs) {
      const end = await program.end
      if (end.status !== 0) return `exit status ${end.status ?? end.signal}: ${program.output().split('\n').at(-1)}`
    }
    return undefined
  })
  story.command('bellhop agent --cleanup   # on every node')
  await story.check('nothing of Bellhop is left in the nodes’ tables', async () => {
    for (const node of nodes) {
      const cleanup = await lab.bellhop(node, ['agent', '--cleanup'])
      if (cleanup.status !== 0) return `${node.name}: ${cleanup.stderr.trim()}`
      if (/bellhop/i.test(await node.namespace.run(['sh', '-c', allRules])))
        return `${node.name} still has chains of ours`
    }
    return undefined
  })
}

/** Titles and chapters, in the order in which they are told. */
export const chapters: readonly (readonly [string, Chapter])[] = [
  ['A cluster', aCluster],
  ['Bellhop is installed', bellhopIsInstalled],
  ['BGP', bgp],
  ['A Service', aService],
  ['The node’s FORWARD path', theForwardPath],
  ['A client two hops away', aClient],
  ['A pod becomes unready', aPodIsUnready],
  ['A controller is killed', aControllerIsKilled],
  ['A node loses its links', aNodeIsLost],
  ['The last pod goes', theLastPodGoes],
  ['Mistakes', mistakes],
  ['The end', theEnd],
]
