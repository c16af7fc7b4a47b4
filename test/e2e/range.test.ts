// Leaves that connect to the controllers by themselves: BgpPeers that name a network instead of a router, from `kubectl apply` to the
// routes in the kernels of the leaves and back to what `kubectl get` says of them.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Stage, setStage } from '../../src/lab/demo/stage.ts'
import { createStory, type Probe } from '../../src/lab/demo/story.ts'
import { type Lab, startLab } from '../../src/lab/lab.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { systemClock } from '../../src/runtime/system-clock.ts'
import { describeWith } from '../support/privileges.ts'
import { labCluster } from './support-named-cluster.ts'
import { becomes } from './support-replicas.ts'

const programs = ['iptables', 'kubectl', ...programsOf('bird'), ...programsOf('frr')]
const timeout = 120_000

const rangePeer = (name: string, addressRange: string, asn: number): string =>
  JSON.stringify({
    apiVersion: 'bellhop.io/v1alpha1',
    kind: 'BgpPeer',
    metadata: { name },
    spec: { addressRange, asn, families: ['ipv4-unicast', 'ipv6-unicast'], timers: { holdSeconds: 9 } },
  })

describeWith({ netns: true, programs }, 'Leaves that connect from a range', () => {
  let lab: Lab
  let stage: Stage
  const says =
    (args: string, expected: RegExp): Probe =>
    async () => {
      const { stdout } = await lab.kubectl(args.split(' '))
      return expected.test(stdout) ? undefined : stdout
    }

  beforeAll(async () => {
    lab = await startLab({
      prefix: 'range',
      leaves: ['bird', 'frr'],
      ...(await labCluster()),
      clock: systemClock,
      log: silentLog,
    })
    stage = setStage(lab, createStory({ write: () => {}, clock: systemClock, terminal: false }))
    await lab.install()
    for (const manifest of ['bgp', 'whoami'] as const) await lab.mustKubectl(['apply', '-f', lab.manifest(manifest)])
    await lab.mustKubectl(['delete', 'bgppeer', 'leaf1', 'leaf2'])
    await lab.mustKubectl(['apply', '-f', '-'], { input: rangePeer('leaves', '10.0.0.0/30', 64513) })
    const [node1, node2] = stage.nodes
    await Promise.all([stage.startAgents(), stage.startController(node1), stage.startController(node2)])
  }, timeout)
  afterAll(() => lab?.destroy(), timeout)

  test('the one that is meant has a session with each controller, the other is told why not', { timeout }, async () => {
    const speakers = 'get bgppeer leaves -o jsonpath={.status.sessions[?(@.remoteAddress=="10.0.0.1")].state}'
    await becomes('the sessions of leaf1', says(speakers, /^Established Established$/))
    await becomes(
      'the words about leaf2',
      says(
        'get bgppeer leaves -o jsonpath={.status.sessions[*].lastError}',
        /10\.0\.0\.2: .*the router says its AS is 64514, BgpPeer leaves@10\.0\.0\.2 expects 64513/,
      ),
    )
    expect(await lab.mustKubectl(['get', 'bgppeers'])).toMatch(/^leaves +10\.0\.0\.0\/30 +64513 /m)
  })

  test('a longer range takes it over: both hold every next hop', { timeout }, async () => {
    await lab.mustKubectl(['apply', '-f', '-'], { input: rangePeer('leaf2', '10.0.0.2/31', 64514) })
    await becomes('every next hop', stage.leavesHold(stage.nodes))
    await becomes('the summary', says('get bgppeers', /^leaf2 +10\.0\.0\.2\/31 +64514 +Established +2\/2 +2 /m))
    await becomes('the summary', says('get bgppeers', /^leaves +10\.0\.0\.0\/30 +64513 +Established +2\/2 +2 /m))
    await becomes(
      'the Vips',
      says('get vips -o jsonpath={.items[0].status.announcedTo}', /^\[("leaf2","leaves"|"leaves","leaf2")\]$/),
    )
  })

  test('a leaf that goes is out of the status, and its BgpPeer says that nobody is there', { timeout }, async () => {
    const [bird] = lab.routers
    await bird?.stop()
    await becomes(
      'nobody',
      says('get bgppeers', /^leaves .* Active +0\/0 +0 .*no router has connected from 10\.0\.0\.0\/30/m),
    )
    await bird?.start()
    await becomes('every next hop', stage.leavesHold(stage.nodes))
  })
})
