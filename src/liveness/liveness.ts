// Which nodes live, from what the BFD sessions with their agents went through: pure. Silence alone is a death. An agent that says
// goodbye, or that is heard saying that it does not hear us, speaks, and who speaks is not dead; of such a node there is no opinion,
// and its condition Ready decides, unless its kernel answers for it and then falls silent. Neither is there one when most of the agents
// fall silent together, or all of several: then it may be we who are deaf, until the API server has not heard of them either.

/** What happened to the session with a node's agent. Times in milliseconds of one monotonic clock. */
export type LivenessEvent =
  /** The complete list of nodes whose agents are watched: what was known of others is forgotten. */
  | { readonly type: 'watched'; readonly nodes: ReadonlySet<string> }
  | { readonly type: 'up'; readonly node: string }
  /** It ended, and no silence of the node's: an agent that ends, begins anew, does not hear us, or is gone from a host that lives. */
  | { readonly type: 'ended'; readonly node: string }
  /** Its agent is gone, and its kernel answers. */
  | { readonly type: 'host-answers'; readonly node: string }
  /** The kernel that answered does so no more. */
  | { readonly type: 'host-silent'; readonly node: string; readonly atMs: number }
  /** The API server, which answers us, has not heard of it either since it fell silent, and would have. */
  | { readonly type: 'unheard-of'; readonly node: string }
  /** A whole detection time passed without a packet. */
  | {
      readonly type: 'silent'
      readonly node: string
      readonly atMs: number
      /** How many other sessions that are up have not been heard for suspiciously long. */
      readonly alsoSilent: number
    }
  /** All sessions, a while after one of them fell silent with others suspected. */
  | {
      readonly type: 'looked'
      readonly atMs: number
      /** As above. */
      readonly alsoSilent: number
    }

/** `distrusted`: it fell silent with too many others for us to believe it. `host-up`: a kernel without an agent. */
type Life =
  | { readonly state: 'up' }
  | { readonly state: 'host-up' }
  | { readonly state: 'down'; readonly atMs: number }
  | { readonly state: 'distrusted'; readonly atMs: number }

/** Nodes of which nothing is known are absent. */
export type Liveness = ReadonlyMap<string, Life>

export const noLiveness: Liveness = new Map()

/** So many silent agents are a failure of the network or of nodes, whatever their share, as long as others are heard. */
const silentMax = 2

/**
 * What is known after the event. `detectionMs` is how long an agent is silent before its session falls; sessions that fall within
 * one such time of each other fell together.
 */
export function transitionLiveness(before: Liveness, event: LivenessEvent, detectionMs: number): Liveness {
  switch (event.type) {
    case 'watched':
      return new Map([...before].filter(([node]) => event.nodes.has(node)))
    case 'up':
      return new Map(before).set(event.node, { state: 'up' })
    case 'ended': {
      const after = new Map(before)
      after.delete(event.node)
      return after
    }
    case 'host-answers':
      return new Map(before).set(event.node, { state: 'host-up' })
    case 'host-silent':
      return hostSilence(before, event)
    case 'unheard-of': {
      const life = before.get(event.node)
      return life?.state === 'distrusted' ? new Map(before).set(event.node, { ...life, state: 'down' }) : before
    }
    case 'silent':
      return silence(before, event, detectionMs)
    case 'looked':
      return believe(before, event, detectionMs)
  }
}

// Only while somebody else is heard, or where there is nobody else: else it is we who hear nothing.
function hostSilence(before: Liveness, { node, atMs }: Extract<LivenessEvent, { type: 'host-silent' }>): Liveness {
  if (before.get(node)?.state !== 'host-up') return before
  const others = [...before].filter(([name]) => name !== node).map(([, { state }]) => state)
  const isHeard = others.includes('up') || others.every((state) => state === 'down')
  return new Map(before).set(node, { state: isHeard ? 'down' : 'distrusted', atMs })
}

function silence(
  before: Liveness,
  { node, atMs, alsoSilent }: Extract<LivenessEvent, { type: 'silent' }>,
  detectionMs: number,
): Liveness {
  const after = new Map<string, Life>(before).set(node, { state: 'down', atMs })
  const together = fallenTogether(after, atMs, detectionMs)
  if (!isDeaf(after, together, alsoSilent)) return after
  for (const [name, life] of together) if (life.state === 'down') after.set(name, { ...life, state: 'distrusted' })
  return after
}

// Those that were suspected did not fall, after all: then who did is believed to be dead.
function believe(
  before: Liveness,
  { atMs, alsoSilent }: Extract<LivenessEvent, { type: 'looked' }>,
  detectionMs: number,
): Liveness {
  const together = fallenTogether(before, atMs, detectionMs)
  if (isDeaf(before, together, alsoSilent)) return before
  const after = new Map(before)
  for (const [name, life] of together) if (life.state === 'distrusted') after.set(name, { ...life, state: 'down' })
  return after
}

type Fallen = Extract<Life, { readonly atMs: number }>

const fallenTogether = (lives: Liveness, atMs: number, detectionMs: number): readonly (readonly [string, Fallen])[] =>
  [...lives].flatMap(([name, life]) =>
    'atMs' in life && atMs - life.atMs <= detectionMs ? [[name, life] as const] : [],
  )

/** Whether it is we who hear nobody, rather than they who say nothing. */
function isDeaf(lives: Liveness, together: readonly unknown[], alsoSilent: number): boolean {
  const up = [...lives.values()].filter(({ state }) => state === 'up').length
  // The others that are silent are still up: those who fall together with them are known before they fall.
  const silent = together.length + Math.min(alsoSilent, up)
  // Only who lived until a detection time ago counts: nodes that died long before are no evidence.
  const lived = together.length + up
  // One that is all there is has nobody to be compared with.
  return silent === lived ? silent > 1 : silent > silentMax && 2 * silent > lived
}

/** As the plan reads it: nodes of which there is no opinion are absent. */
export function opinions(liveness: Liveness): ReadonlyMap<string, 'up' | 'down'> {
  const said = new Map<string, 'up' | 'down'>()
  for (const [node, { state }] of liveness) if (state === 'up' || state === 'down') said.set(node, state)
  return said
}

/** Nodes that fell silent with too many others: the API server may know better. */
export const distrusted = (liveness: Liveness): ReadonlySet<string> =>
  new Set([...liveness].flatMap(([node, { state }]) => (state === 'distrusted' ? [node] : [])))
