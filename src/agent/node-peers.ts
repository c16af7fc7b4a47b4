// Whether this node is to speak BGP for itself: a small watch on the BgpPeers with `speaker: node` and on the node's own labels.
// Only where a peer selects the node is there a speaker, with its view of the cluster and its thread; all other agents stay small.

import type { SessionStatus } from '../bgp/speaker/protocol.ts'
import { type ClusterStore, createClusterStore } from '../k8s/cluster-store.ts'
import { matchesSelector } from '../k8s/objects.ts'
import { createTrigger } from '../runtime/trigger.ts'
import type { Annotations } from './node-lease.ts'
import type { NodeSpeaker, NodeSpeakerOptions } from './node-speaker.ts'

/** Of BgpPeers an agent sees its own kind alone: what the others' statuses say all day costs it nothing. */
export const nodePeerSelection = { fieldSelector: 'spec.speaker=node' } as const

export interface NodePeersFacts {
  /** BgpPeers that select the node, of which so many have a session; absent while none does. */
  readonly sessions?: { readonly peers: number; readonly established: number }
  readonly problem?: string
}

export interface NodePeers {
  readonly facts: () => NodePeersFacts
  readonly annotations: () => Annotations
  /** By BgpPeer. */
  readonly sessions: () => ReadonlyMap<string, SessionStatus>
  /** What a rolling update of the agents should wait for before it goes on to the next node. */
  readonly notReady: () => string | undefined
  /** Rejects when the thread of the speaker dies, which only a new process mends. */
  readonly died: Promise<never>
  /** Ends the sessions. */
  readonly stop: () => Promise<void>
}

/** A router that is not there is no reason for an update to stop for ever. */
const sessionsDueMs = 30_000

const noSessions: ReadonlyMap<string, SessionStatus> = new Map()

/** Begins to follow. `onChange` is called when `facts` says something else, not whenever something was planned. */
export function followNodePeers(options: NodeSpeakerOptions): NodePeers {
  const { node, clock, log } = options
  let speaker: NodeSpeaker | undefined
  let startedMs = 0
  let wasReady = false
  let fail: (error: unknown) => void = () => {}
  const died = new Promise<never>((_resolve, reject) => {
    fail = reject
  })
  died.catch(() => {})
  const store = createClusterStore({
    ...options,
    kinds: ['BgpPeer', 'Node'],
    select: {
      BgpPeer: { ...nodePeerSelection, withoutStatus: true },
      Node: { fieldSelector: `metadata.name=${node}` },
    },
    consistency: 'cache',
  })
  const isWanted = (): boolean => {
    const { bgpPeers, nodes } = store.view()
    const labels = nodes.get(node)?.meta.labels
    return (
      labels !== undefined && [...bgpPeers.values()].some(({ nodeSelector }) => matchesSelector(nodeSelector, labels))
    )
  }
  const reconsider = async (): Promise<void> => {
    if (!store.synced() || isWanted() === (speaker !== undefined)) return
    const ending = speaker
    if (ending === undefined) {
      log.info({ event: 'node-speaker-begins', node })
      // Code that most agents never need is not to be in their memory.
      const { startNodeSpeaker } = await import('./node-speaker.ts')
      if (options.signal.aborted) return
      startedMs = clock.monotonicMs()
      wasReady = false
      speaker = startNodeSpeaker({ ...options, onChange: tell })
      speaker.died.catch(fail)
    } else {
      log.info({ event: 'node-speaker-ends', node, because: 'no BgpPeer selects the node' })
      await ending.stop('unwanted')
      speaker = undefined
    }
    tell()
  }
  const facts = (): NodePeersFacts => {
    if (speaker === undefined) return unknownPeers(store)
    const problem = speaker.problem()
    const established = [...speaker.sessions().values()].filter(({ state }) => state === 'Established').length
    return { sessions: { peers: speaker.peers(), established }, ...(problem === undefined ? {} : { problem }) }
  }
  let told = ''
  const tell = (): void => {
    const says = JSON.stringify(facts())
    if (says === told) return
    told = says
    options.onChange()
  }
  const trigger = createTrigger(reconsider, { clock, onError: fail })
  store.onChange(trigger.pull)

  return {
    died,
    sessions: () => speaker?.sessions() ?? noSessions,
    facts,
    annotations: () => annotationsOf(facts()),
    notReady: () => {
      if (speaker === undefined || wasReady) return undefined
      const problem = speaker.problem()
      const missing = speaker.missing()
      wasReady = (problem === undefined && missing.length === 0) || clock.monotonicMs() - startedMs > sessionsDueMs
      if (wasReady) return undefined
      return problem === undefined ? `BGP sessions come up: ${missing.join(', ')}` : `BGP is ${problem}`
    },
    stop: async () => {
      await trigger.stop()
      await speaker?.stop('ending')
    },
  }
}

const annotationsOf = ({ sessions, problem }: NodePeersFacts): Annotations => ({
  ...(sessions === undefined ? {} : { 'bellhop.io/bgp-sessions': `${sessions.established}/${sessions.peers}` }),
  ...(problem === undefined ? {} : { 'bellhop.io/bgp-problem': problem }),
})

/** Why nothing is known of BgpPeers, if that is so for a reason: missing rights, or CRDs that are older than this program. */
function unknownPeers(store: ClusterStore): NodePeersFacts {
  if (store.synced()) return {}
  const error = [...store.facts().kinds.values()].map(({ lastError }) => lastError).find((each) => each !== undefined)
  return error === undefined ? {} : { problem: `waiting for the first list of BgpPeers: ${error.message}` }
}
