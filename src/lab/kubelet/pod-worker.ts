// One pod's life on its node: sandbox, server, probes, reports, and the way out: SIGTERM, the grace in which it still
// answers, and the deletion of the object once nothing is left. One loop a pod; what it is told only wakes it.

import type { KubeClient } from '../../k8s/client.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { Network } from '../netns/network.ts'
import type { DualStack } from '../topology/addresses.ts'
import type { LabNode } from '../topology/topology.ts'
import { createSandbox, type Sandbox } from './pod-sandbox.ts'
import { type PodFacts, podStatus } from './pod-status.ts'
import type { Prober } from './prober.ts'

export interface PodWorkerOptions {
  readonly network: Network
  readonly node: LabNode
  readonly client: KubeClient
  readonly clock: Clock
  readonly log: Log
  readonly prober: Prober
  readonly address: DualStack
  readonly serial: string
  readonly probePeriodMs: number
  readonly terminationDelayMs: number
}

export interface PodWorker {
  /** The object changed, or is gone from the API server (undefined). */
  readonly update: (facts: PodFacts | undefined) => void
  /** Removes the pod from the node at once and reports nothing. */
  readonly abandon: () => Promise<PodEnd>
  /** Resolves when nothing of the pod is left on the node. */
  readonly ended: Promise<PodEnd>
}

/** `deleted`: wound up, the object too. `gone`: the object was gone first, or the pod abandoned. `failed`: could not be run. */
export type PodEnd = 'deleted' | 'gone' | 'failed'

interface PodState {
  facts: PodFacts
  gone: boolean
  ready: boolean
  readyChangedAt: string
  reported: string
  restarts: number
  toldReady: boolean
}

/** Starts a pod. */
export function startPodWorker(initial: PodFacts, options: PodWorkerOptions): PodWorker {
  const { clock } = options
  const startedAt = timestamp(clock)
  const state: PodState = {
    facts: initial,
    gone: false,
    ready: false,
    readyChangedAt: startedAt,
    reported: '',
    restarts: 0,
    toldReady: true,
  }
  let wake: () => void = () => {}
  const rest = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const cancel = clock.setTimer(ms, resolve)
      wake = () => {
        cancel()
        resolve()
      }
    })

  const live = async (): Promise<PodEnd> => {
    if (!initial.deleting) await runInSandbox()
    if (state.gone) return 'gone'
    await deleteObject(state.facts, options)
    return 'deleted'
  }
  const runInSandbox = async (): Promise<void> => {
    const sandbox = await createSandbox({ ...options, pod: initial.key, port: initial.port })
    try {
      await serve(sandbox)
      if (!state.gone) await terminate(sandbox)
    } finally {
      await sandbox.remove()
    }
  }
  const serve = async (sandbox: Sandbox): Promise<void> => {
    while (!state.gone && !state.facts.deleting) {
      if (sandbox.server().ended() !== undefined) {
        state.restarts++
        sandbox.restart()
      }
      await look(sandbox, state, options)
      await report(sandbox, state, startedAt, options)
      if (!state.gone && !state.facts.deleting) await rest(options.probePeriodMs)
    }
  }
  // Still probed and reported while it winds up: that is what makes a terminating endpoint "serving".
  const terminate = async (sandbox: Sandbox): Promise<void> => {
    const server = sandbox.server()
    server.kill('SIGTERM')
    const lastMs = clock.monotonicMs() + state.facts.gracePeriodSeconds * 1000
    while (!state.gone && server.ended() === undefined && clock.monotonicMs() < lastMs) {
      await look(sandbox, state, options)
      await report(sandbox, state, startedAt, options)
      await Promise.race([rest(options.probePeriodMs), server.end])
    }
  }

  const ended = live().catch((error: unknown): PodEnd => {
    if (state.gone) return 'gone'
    options.log.error({ event: 'lab-pod-failed', pod: initial.key, message: String(error) })
    return 'failed'
  })
  return {
    update: (facts) => {
      if (facts === undefined) state.gone = true
      else state.facts = facts
      wake()
    },
    abandon: () => {
      state.gone = true
      wake()
      return ended
    },
    ended,
  }
}

// Passes on what the annotation asks for, then probes.
async function look(sandbox: Sandbox, state: PodState, { prober, clock, node }: PodWorkerOptions): Promise<void> {
  const [family] = node.families
  const host = family === 'ipv6' ? `[${sandbox.address.ipv6}]` : sandbox.address.ipv4
  const base = `http://${host}:${state.facts.port}`
  const { wantedReady } = state.facts
  if (wantedReady !== state.toldReady) {
    const status = await prober.ask('POST', `${base}/${wantedReady ? 'ready' : 'unready'}`, 1000)
    if (status === 200) state.toldReady = wantedReady
  }
  const ready = (await prober.ask('GET', `${base}/readyz`, 1000)) === 200
  if (ready !== state.ready) {
    state.ready = ready
    state.readyChangedAt = timestamp(clock)
  }
}

async function report(
  sandbox: Sandbox,
  state: PodState,
  startedAt: string,
  { client, node, log }: PodWorkerOptions,
): Promise<void> {
  const { facts, ready, restarts, readyChangedAt } = state
  const status = podStatus({
    facts,
    address: sandbox.address,
    hostAddress: node.address,
    families: node.families,
    ready,
    restarts,
    startedAt,
    readyChangedAt,
  })
  const signature = JSON.stringify(status)
  if (signature === state.reported && facts.saidReady === ready) return
  const [namespace, name] = facts.key.split('/')
  const path = `/api/v1/namespaces/${namespace}/pods/${name}/status`
  const answer = await client.request({ method: 'PATCH', path, patchType: 'merge', body: { status } })
  if (answer.ok) state.reported = signature
  else if (answer.error.status === 404) state.gone = true
  else log.warn({ event: 'lab-pod-status-refused', pod: facts.key, message: answer.error.message })
}

async function deleteObject(facts: PodFacts, { client, log }: PodWorkerOptions): Promise<void> {
  const [namespace, name] = facts.key.split('/')
  const answer = await client.request({
    method: 'DELETE',
    path: `/api/v1/namespaces/${namespace}/pods/${name}`,
    body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0, preconditions: { uid: facts.uid } },
  })
  if (!answer.ok && answer.error.status !== 404 && answer.error.status !== 409)
    log.warn({ event: 'lab-pod-delete-refused', pod: facts.key, message: answer.error.message })
}

const timestamp = (clock: Clock): string => new Date(clock.wallMs()).toISOString().replace(/\.\d+Z$/, 'Z')
