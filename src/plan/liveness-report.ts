// What a replica sees of the nodes by BFD, in the words of statuses: how many it watches, which are silent, and whether what it hears
// is authenticated. Pure; the facts come from the sessions.

import type { Condition } from '../k8s/objects.ts'
import { shortList } from './status-text.ts'

/** What stands between us and authenticated packets. */
export type KeyState =
  | { readonly type: 'unknown' }
  | { readonly type: 'absent' }
  /** The Secret has no key that can be used; `kept`: those that it had before are. */
  | { readonly type: 'unusable'; readonly problems: readonly string[]; readonly kept: boolean }
  /** It was there and is gone: the keys it had are used on. */
  | { readonly type: 'vanished' }
  | { readonly type: 'in-use'; readonly ids: readonly number[]; readonly problems: readonly string[] }

export interface LivenessFacts {
  readonly keys: KeyState
  /** The nodes whose agents are watched, in order. */
  readonly watched: readonly string[]
  /** Of those: that answer, that are silent, and whose agents have no key in common with us. */
  readonly up: number
  readonly silent: readonly string[]
  readonly withoutKey: readonly string[]
}

const namesMax = 10
const namesBytesMax = 1024

/** A replica's own entry in BgpConf.status.speakers. */
export const livenessEntry = ({ watched, up, silent }: LivenessFacts): Readonly<Record<string, unknown>> => ({
  nodes: watched.length,
  up,
  ...(silent.length === 0 ? {} : { silent: shortList(silent, namesMax, namesBytesMax) }),
})

/** The condition `LivenessAuthenticated` of the BgpConf; undefined before the Secret was asked for. */
export function livenessAuthenticated(
  facts: LivenessFacts,
): Pick<Condition, 'status' | 'reason' | 'message'> | undefined {
  const { keys, withoutKey } = facts
  const no = (reason: string, message: string) => ({ status: 'False', reason, message }) as const
  switch (keys.type) {
    case 'unknown':
      return undefined
    case 'absent':
      return no(
        'NoSecret',
        "there is no Secret bellhop-liveness in Bellhop's namespace: what nodes say is believed as it is",
      )
    case 'unusable': {
      const because = keys.problems.join('; ') || 'it is empty'
      const kept = keys.kept ? '; the keys that it had are used' : ''
      return no('NoUsableKey', `Secret bellhop-liveness has no key that can be used: ${because}${kept}`)
    }
    case 'vanished':
      return no('SecretVanished', 'the Secret bellhop-liveness is gone: its keys are used until this process ends')
    case 'in-use': {
      if (withoutKey.length > 0) {
        const nodes = shortList(withoutKey, namesMax, namesBytesMax)
        return no('AgentsWithoutKey', `agents that have not said that they have the key: ${nodes}`)
      }
      const problems = keys.problems.length === 0 ? '' : `; ${keys.problems.join('; ')}`
      return { status: 'True', reason: 'KeysInUse', message: `by key ${keys.ids.join(', ')}${problems}` }
    }
  }
}
