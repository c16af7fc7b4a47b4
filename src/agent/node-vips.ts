// The Vips as a node needs them: what to let through, and which of them the node is to answer for. An agent follows every Vip of the
// cluster and writes none, so it keeps of each the two hundred bytes that it reads; as the objects that controllers work with they
// would be ten times as much, on every node.

import { isDeepStrictEqual } from 'node:util'
import { rulesOfVip, type VipPort, type VipRules } from '../datapath/desired.ts'
import type { KubeClient } from '../k8s/client.ts'
import { identityOf } from '../k8s/json.ts'
import type { Vip, VipLayer2 } from '../k8s/objects.ts'
import { type ReflectorFacts, startReflector } from '../k8s/reflector.ts'
import { resources } from '../k8s/resources.ts'
import { parseObject } from '../k8s/schemas/parse.ts'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'

export interface NodeVip {
  /** The same value as long as they are the same. */
  readonly rules: VipRules
  /** Absent = no node answers. */
  readonly layer2?: VipLayer2
  readonly deleting: boolean
}

export interface NodeVipsOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Ends the watch. */
  readonly signal: AbortSignal
}

export interface NodeVips {
  readonly all: () => Iterable<NodeVip>
  /** Called once a turn in which something changed that a node reads, or in which the first list was complete. */
  readonly onChange: (listener: () => void) => void
  /** All Vips were listed at least once. */
  readonly synced: () => boolean
  /** Resolves when they were listed anew, by quorum, after this call. Rejects when the watch ends. */
  readonly confirm: () => Promise<void>
  readonly facts: () => ReflectorFacts
}

/** Begins to follow. */
export function followNodeVips(options: NodeVipsOptions): NodeVips {
  const listeners: (() => void)[] = []
  const read = createReader(options.log)
  let vips = new Map<string, NodeVip>()
  let staged = new Map<string, NodeVip>()
  let listed = false
  let waking = false
  const wake = (): void => {
    if (waking) return
    waking = true
    setImmediate(() => {
      waking = false
      for (const listener of listeners) listener()
    })
  }
  const reflector = startReflector({
    ...options,
    resource: resources.Vip,
    // Fleets of agents start at once: a list that a cache may answer is good enough for rules.
    consistency: 'cache',
    sink: {
      begin: () => {
        staged = new Map()
      },
      stage: (raw) => {
        const name = identityOf(raw).name ?? ''
        const vip = read(raw, vips.get(name))
        if (vip !== undefined) staged.set(name, vip)
      },
      swap: () => {
        const isNews = !listed || staged.size !== vips.size || [...staged].some(([key, vip]) => vips.get(key) !== vip)
        listed = true
        vips = staged
        staged = new Map()
        if (isNews) wake()
      },
      put: (raw) => {
        const name = identityOf(raw).name ?? ''
        const before = vips.get(name)
        const vip = read(raw, before)
        if (vip === before) return
        if (vip === undefined) vips.delete(name)
        else vips.set(name, vip)
        wake()
      },
      remove: (raw) => {
        if (vips.delete(identityOf(raw).name ?? '')) wake()
      },
    },
  })
  return {
    all: () => vips.values(),
    onChange: (listener) => void listeners.push(listener),
    synced: () => reflector.facts().synced,
    confirm: reflector.confirm,
    facts: reflector.facts,
  }
}

/** Lists of ports that are kept once; most Services have one of a few. */
const sharedPortsMax = 1000

/** Reads raw Vips; one that says what it said before is the value that it was. */
function createReader(log: Log): (raw: unknown, before: NodeVip | undefined) => NodeVip | undefined {
  const shared = new Map<string, readonly VipPort[]>()
  const share = ({ address, ports }: VipRules): VipRules => {
    const key = JSON.stringify(ports)
    const same = shared.get(key)
    if (same === undefined && shared.size < sharedPortsMax) shared.set(key, ports)
    return { address, ports: same ?? ports }
  }
  return (raw, before) => {
    const parsed = parseObject('Vip', raw)
    if (parsed.type === 'refusal') {
      const { meta, problems } = parsed.refusal
      log.warn({ event: 'vip-refused', vip: meta.name, problems })
    }
    if (parsed.type !== 'value') return undefined
    const vip = lean(parsed.value)
    if (before === undefined) return { ...vip, rules: share(vip.rules) }
    if (!isDeepStrictEqual(vip.rules, before.rules)) return { ...vip, rules: share(vip.rules) }
    return isDeepStrictEqual(vip, before) ? before : { ...vip, rules: before.rules }
  }
}

const lean = (vip: Vip): NodeVip => ({
  rules: rulesOfVip(vip),
  ...(vip.layer2 === undefined ? {} : { layer2: vip.layer2 }),
  deleting: vip.meta.deleting,
})
