// A node is taken out for maintenance, under load: three replicas before a BIRD and a FRR leaf turn the routers to the other nodes while
// the drained one still serves, keep it where it is the only one, and withdraw it when the grace time is over.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { nothingFails, vip4, vip6 } from '../../src/lab/demo/stage.ts'
import type { Probe } from '../../src/lab/demo/story.ts'
import { programsOf } from '../../src/lab/routers/create-router.ts'
import type { RunningLoad } from '../../src/lab/topology/load.ts'
import type { LabNode } from '../../src/lab/topology/topology.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { describeWith } from '../support/privileges.ts'
import { becomes, type ReplicaLab, startReplicaLab } from './support-replicas.ts'

const programs = ['iptables', 'curl', 'kubectl', ...programsOf('bird'), ...programsOf('frr')]
const timeout = 120_000
/** Longer than any test. */
const forever = 3600

describeWith({ netns: true, programs }, 'A drained node', () => {
  let replicas: ReplicaLab
  let load: RunningLoad | undefined

  const kubectl = (...args: readonly string[]): Promise<string> => replicas.lab.mustKubectl(args)
  const drain = (node: LabNode, value: string | undefined): Promise<string> =>
    kubectl('annotate', 'node', node.name, '--overwrite', `bellhop.io/drain${value === undefined ? '-' : `=${value}`}`)
  const setGrace = (seconds: number): Promise<string> =>
    kubectl(
      'patch',
      'bgpconf',
      'default',
      '--type=merge',
      '-p',
      JSON.stringify({ spec: { drainGraceSeconds: seconds } }),
    )
  const setReady = async (node: LabNode, ready: boolean): Promise<void> => {
    const select = `get pods -l app=whoami --field-selector spec.nodeName=${node.name} -o name`
    const pod = (await kubectl(...select.split(' '))).trim()
    await kubectl('annotate', pod, '--overwrite', `lab.bellhop.io/ready=${ready}`)
  }

  /** Both leaves forward both VIPs to exactly these nodes, and know exactly those. */
  const leaves =
    ({ forwardTo, know }: { readonly forwardTo: readonly LabNode[]; readonly know: readonly LabNode[] }): Probe =>
    async () => {
      for (const router of replicas.lab.routers)
        for (const [vip, family] of [[vip4, 'ipv4'] as const, [vip6, 'ipv6'] as const]) {
          const wanted = (nodes: readonly LabNode[]): string =>
            nodes
              .map(({ address }) => address[family])
              .sort()
              .join()
          const prefix = hostPrefix(vip)
          const kernel = [...(await router.kernelNextHops(prefix))].sort().join()
          if (kernel !== wanted(forwardTo)) return `${router.name} forwards ${vip} to ${kernel}`
          const known = [...new Set((await router.routes(prefix)).map(({ nextHop }) => nextHop))].sort().join()
          if (known !== wanted(know)) return `${router.name} knows ${vip} via ${known}`
        }
      return undefined
    }

  /** A request whose packets are under way when its flow is given to another node is lost; it is the price of any such change. */
  const onlyFlowsThatMovedFailed = (): void => {
    const { requests, failed, errors } = load?.report() ?? { requests: 0, failed: 0, errors: [] }
    expect(requests).toBeGreaterThan(0)
    expect(failed, errors.join('; ')).toBeLessThanOrEqual(replicas.lab.routers.length)
  }

  beforeAll(async () => {
    replicas = await startReplicaLab()
  }, timeout)
  afterAll(() => replicas?.destroy())
  afterEach(async () => {
    await load?.stop()
    load = undefined
    const { nodes } = replicas.stage
    for (const node of nodes) {
      await drain(node, undefined)
      await setReady(node, true)
    }
    await becomes('all next hops', leaves({ forwardTo: nodes, know: nodes }))
  }, timeout)

  test('leaves its groups at once, and is back when the annotation is taken back', { timeout }, async () => {
    const { nodes } = replicas.stage
    const [drained, ...others] = nodes
    await setGrace(forever)
    await drain(drained, 'true')
    await becomes('the others', leaves({ forwardTo: others, know: nodes }))
    await becomes('the status', async () => {
      const [vip] = await replicas.json(`vip ${vip4}`)
      const hops = (vip?.status?.['nextHops'] ?? []) as readonly { readonly node: string; readonly leaving?: boolean }[]
      const leaving = hops.flatMap((hop) => (hop.leaving === true ? [hop.node] : []))
      return leaving.join() === drained.name ? undefined : `leaving: ${leaving.join() || 'nobody'}`
    })
    await drain(drained, undefined)
    await becomes('all next hops', leaves({ forwardTo: nodes, know: nodes }))
  })

  test('is withdrawn when its time is over, and no request notices', { timeout }, async () => {
    const { nodes } = replicas.stage
    const [drained, ...others] = nodes
    load = await replicas.lab.topology.client.startLoad(vip4)
    await setGrace(forever)
    await drain(drained, 'maintenance')
    await becomes('the others', leaves({ forwardTo: others, know: nodes }))
    onlyFlowsThatMovedFailed()
    load.reset()
    await becomes('requests', nothingFails(load, 20))
    await setGrace(1)
    await becomes('the withdrawal', leaves({ forwardTo: others, know: others }))
    await becomes('requests', nothingFails(load, 40))
  })

  test('serves on while it is the only one, and hands over to the first that is ready', { timeout }, async () => {
    const [drained, other, third] = replicas.stage.nodes
    for (const node of [other, third]) await setReady(node, false)
    await becomes('one next hop', leaves({ forwardTo: [drained], know: [drained] }))
    load = await replicas.lab.topology.client.startLoad(vip4)
    await setGrace(forever)
    await drain(drained, new Date().toISOString())
    await becomes('the news', async () => {
      const told = await Promise.all(replicas.lab.routers.map((router) => router.routes(hostPrefix(vip4))))
      return told.flat().every(({ med }) => med === 0xffff_ffff) ? undefined : 'not all paths are leaving'
    })
    load.reset()
    await becomes('requests', nothingFails(load, 40))
    await setReady(other, true)
    await becomes('the other', leaves({ forwardTo: [other], know: [drained, other] }))
    // The other has only just become ready, and kube-proxy may hear of it after the routers.
    load.reset()
    await becomes('requests', async () => {
      const wrong = nothingFails(load as RunningLoad, 20)()
      if ((await wrong)?.includes('failed') === true) load?.reset()
      return wrong
    })
    await setGrace(0)
    await becomes('the withdrawal', leaves({ forwardTo: [other], know: [other] }))
    await becomes('requests', nothingFails(load, 20))
  })
})
