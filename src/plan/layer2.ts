// One VIP of mode layer2: which node answers for it on the nodes' own link, and why none does. Which node may is decided as for next
// hops, and in addition by what the agents say of their links; who of them does is `layer2/ownership.ts`.

import { matchesSelector, type Vip, type VipPool } from '../k8s/objects.ts'
import type { Layer2Node } from '../layer2/links.ts'
import { type Candidate, chooseOwner, linkFor, linkRefusal, type Owner } from '../layer2/ownership.ts'
import { familyOf } from '../net/ip.ts'
import type { NodeEligibility } from './eligibility.ts'
import type { Backends } from './next-hops.ts'
import type { Layer2Report, PlannedNextHop, VipReport } from './types.ts'

/** A node whose agent knows layer 2. */
export interface Layer2Place {
  readonly agent: Layer2Node
  readonly labels: Readonly<Record<string, string>>
  /** The agent answers a controller at this moment: then it knows that it may go on, whatever has become of its Lease. */
  readonly heard: boolean
}

export interface Layer2Surroundings {
  readonly nodes: ReadonlyMap<string, NodeEligibility>
  readonly layer2: ReadonlyMap<string, Layer2Place>
  /** It is known which nodes have agents. */
  readonly agentsListed: boolean
}

type Outcome = Pick<VipReport, 'nextHops' | 'refusal'> & { readonly layer2: Layer2Report }

type Refusal = NonNullable<VipReport['refusal']>

/**
 * What a node's judgement comes to; `leaving`: it is drained, and answers only where no other node can; `failed`: it could not take the
 * VIP a moment ago, and is asked again only where nobody else can.
 */
type Judged =
  | { readonly candidate: Candidate; readonly leaving: boolean; readonly failed: string | undefined }
  | { readonly because: string }

/** Nodes of which a condition tells why they do not answer. */
const refusedMax = 10

/** Plans one. `pool` is undefined when it is gone or makes no sense: then whoever answers goes on. */
export function planLayer2(
  vip: Vip,
  pool: VipPool | undefined,
  backends: readonly Backends[],
  surroundings: Layer2Surroundings,
): Outcome {
  const locals = backends.filter(({ local }) => local)
  const isHost = (node: string): boolean => backends.some(({ counted }) => counted.byNode.has(node))
  const hostsAll = (node: string): boolean => locals.every(({ counted }) => counted.byNode.has(node))
  const present = vip.layer2?.node
  // Nobody could do better than the owner: a Service without endpoints is no reason to move its address, or to take it away.
  const missing = missingEndpoints(backends, surroundings, hostsAll)
  const judge = (name: string, place: Layer2Place): Judged => {
    if (missing === undefined && !hostsAll(name)) return { because: 'hosts no endpoint of every Service' }
    const judged = judgePlace(vip, pool, name, place, surroundings)
    return 'because' in judged
      ? judged
      : { ...judged, candidate: { ...judged.candidate, preferred: isHost(name) && pool?.nextHops !== 'AllNodes' } }
  }
  // Without any agent in sight nothing is known, which is no reason to take an address away.
  const isBlind = surroundings.layer2.size === 0 && vip.layer2 !== undefined
  const chosen = isBlind ? leftAlone(vip.layer2, surroundings) : choose(vip, present, surroundings, judge)
  const owner = chosen.owner === undefined ? undefined : { node: chosen.owner.node, interface: chosen.owner.interface }
  const settled = owner?.node === present && owner?.interface === vip.layer2?.interface
  const answered = settled && owner !== undefined && chosen.refusal === undefined && saysSo(vip, owner, surroundings)
  const refusal =
    missing ??
    chosen.refusal ??
    (settled && owner !== undefined ? told(vip, owner, surroundings) : undefined) ??
    (owner === undefined || answered ? undefined : notYet(owner))
  return {
    nextHops: owner === undefined ? [] : [hopOf(vip, owner, backends, surroundings)],
    layer2: { ...(owner === undefined ? {} : { owner }), settled, ...(answered ? { answered } : {}) },
    ...(refusal === undefined ? {} : { refusal }),
  }
}

function leftAlone(
  owner: Owner,
  { agentsListed }: Layer2Surroundings,
): { readonly owner: Owner; readonly refusal?: Refusal } {
  if (!agentsListed) return { owner }
  const message = `no agent is left on any node, none that could say whether node ${owner.node} still answers`
  return { owner, refusal: { reason: 'NoAgent', message } }
}

function choose(
  vip: Vip,
  present: string | undefined,
  { layer2 }: Layer2Surroundings,
  judge: (name: string, place: Layer2Place) => Judged,
): { readonly owner?: Owner; readonly refusal?: Refusal } {
  const place = present === undefined ? undefined : layer2.get(present)
  const now = present === undefined || place === undefined ? undefined : judge(present, place)
  // The usual case, without a look at all the other nodes.
  if (now !== undefined && 'candidate' in now && !now.leaving && now.failed === undefined)
    return { owner: now.candidate }
  const staying: Candidate[] = []
  const leaving: Candidate[] = []
  const failing: Candidate[] = []
  const refused: string[] = []
  for (const [name, each] of layer2) {
    const judged = judge(name, each)
    if ('because' in judged) refused.push(`node ${name} ${judged.because}`)
    else if (judged.failed !== undefined) {
      refused.push(`node ${name}: ${judged.failed}`)
      failing.push(judged.candidate)
    } else if (judged.leaving) leaving.push(judged.candidate)
    else staying.push(judged.candidate)
  }
  const owner = chooseOwner(vip.meta.name, present, staying.length > 0 ? staying : leaving)
  if (owner !== undefined) return { owner }
  if (layer2.size === 0)
    return { refusal: { reason: 'NoAgent', message: 'no agent says that its node could answer for it' } }
  refused.sort()
  const more = refused.length > refusedMax ? `; and ${refused.length - refusedMax} more` : ''
  const refusal = { reason: 'NoEligibleNode', message: `${refused.slice(0, refusedMax).join('; ')}${more}` } as const
  // One of them goes on trying, the present owner if it is among them: it stays as long as it fails, so nothing goes in circles.
  const trying = chooseOwner(vip.meta.name, present, failing)
  return trying === undefined ? { refusal } : { owner: trying, refusal }
}

function judgePlace(
  vip: Vip,
  pool: VipPool | undefined,
  name: string,
  { agent, labels, heard }: Layer2Place,
  { nodes }: Layer2Surroundings,
): Judged {
  const verdict = nodes.get(name)?.[familyOf(vip.address)]
  if (verdict === undefined) return { because: 'does not exist' }
  // It needs no address of the family among its own: it is the VIP that is answered for.
  if (!verdict.ok && verdict.code !== 'no-address') return { because: verdict.because }
  const selector = pool?.layer2.nodeSelector
  if (selector !== undefined && !matchesSelector(selector, labels))
    return { because: `is not selected by the pool's layer2.nodeSelector` }
  // It keeps what it has, and does not hear what it is given.
  const keeps = heard && vip.layer2?.node === name && holdsIt(vip, agent)
  if (agent.silent && !keeps) return { because: 'has an agent that has not been heard of for a while' }
  const named = pool?.layer2.interfaces ?? []
  const link = linkFor(vip.address, agent.links, named, vip.layer2?.node === name ? vip.layer2.interface : undefined)
  if (link === undefined) return { because: linkRefusal(vip.address, named) }
  const said = agent.refusals.get(vip.address)
  return {
    candidate: { node: name, interface: link.name, preferred: true },
    leaving: verdict.ok && verdict.leaving === true,
    failed: said?.scope === 'node' ? said.message : undefined,
  }
}

function missingEndpoints(
  backends: readonly Backends[],
  { layer2 }: Layer2Surroundings,
  hostsAll: (node: string) => boolean,
): Refusal | undefined {
  if (backends.every(({ counted }) => counted.total === 0))
    return { reason: 'NoReadyEndpoints', message: 'no endpoint is ready' }
  if (layer2.size === 0 || [...layer2.keys()].some(hostsAll)) return undefined
  return {
    reason: 'NoLocalEndpoints',
    message: 'externalTrafficPolicy is Local, and no node with an agent hosts an endpoint of every Service',
  }
}

/** What the owner itself says against it. */
function told(vip: Vip, { node }: Owner, { layer2 }: Layer2Surroundings): Refusal | undefined {
  const said = layer2.get(node)?.agent.refusals.get(vip.address)
  return said && { reason: said.reason, message: `node ${node}: ${said.message}${whose(said.message, layer2)}` }
}

/** The owner says that it answers. */
const saysSo = (vip: Vip, { node }: Owner, { layer2 }: Layer2Surroundings): boolean =>
  holdsIt(vip, layer2.get(node)?.agent)

/** By the agent's word. One that does not say such things, or is not in sight, is believed. */
const holdsIt = ({ address }: Vip, agent: Layer2Node | undefined): boolean =>
  agent?.holds === undefined || agent.holds.more || agent.holds.vips.has(address)

const notYet = ({ node, interface: name }: Owner): Refusal => ({
  reason: 'NotAnsweredYet',
  message: `node ${node} is to answer for it on ${name}, and has not said that it does`,
})

// A stranger is often none: a node in IPVS mode that answers for everybody, or one of which nobody took the address.
function whose(message: string, layer2: Layer2Surroundings['layer2']): string {
  for (const [name, { agent }] of layer2)
    if (agent.links.some(({ mac }) => mac !== '' && message.includes(mac))) return ` (this is node ${name})`
  return ''
}

function hopOf(
  vip: Vip,
  { node }: Owner,
  backends: readonly Backends[],
  { nodes }: Layer2Surroundings,
): PlannedNextHop {
  const own = nodes.get(node)?.addresses ?? []
  const address = own.find((ip) => familyOf(ip) === familyOf(vip.address)) ?? own[0] ?? vip.address
  const endpoints = backends.reduce((sum, { counted }) => sum + (counted.byNode.get(node) ?? 0), 0)
  return { node, address, endpoints }
}
