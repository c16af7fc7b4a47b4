// The rows of docs/interop.md about BFD. Their tests are in bfd.test.ts, where each has to be: only BIRD and FRR have BFD of their own.

import type { FeatureRow } from './feature.ts'

export const bfdNames = [
  'BFD comes up over IPv4',
  'BFD comes up over IPv6',
  'BFD comes up between link-local addresses',
  'BFD comes up on iBGP to a router on the same network',
  'BFD comes up from a source address of our choice',
  'BFD comes up next to GTSM',
  'BFD comes up over several hops',
  'BFD: a stopped process of ours loses its BGP session within the detection time, and gets it back',
  'BFD: a killed process of ours takes its routes along at once',
  'BFD: a stopped router loses its BGP session, and we say why',
  'BFD: a path that is cut in silence ends the session on both sides, and mends',
  'BFD: our new timers reach the router by a poll sequence, and nothing goes down',
  'BFD: without an answer from the router BGP comes up and stays',
  'BFD that is switched off on our side costs at most the one reset that the router makes of it',
  'BFD: a peer that is shut down says AdminDown',
] as const

export type BfdName = (typeof bfdNames)[number]

const none = 'has no BFD'

export const bfdRows: readonly FeatureRow[] = bfdNames.map((name) => ({
  name,
  except: { gobgp: none, openbgpd: none, exabgp: none },
}))
