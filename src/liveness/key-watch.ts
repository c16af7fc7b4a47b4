// Follows the one Secret with the keys of liveness, in controllers and agents alike, and says in the log what became of it. The
// Secret is named in the request, so that an agent needs no right to read any other.

import { createHash } from 'node:crypto'
import type { BfdAuthentication, BfdKey } from '../bfd/authentication.ts'
import type { KubeClient } from '../k8s/client.ts'
import { identityOf } from '../k8s/json.ts'
import { startReflector } from '../k8s/reflector.ts'
import { resources } from '../k8s/resources.ts'
import { parseSecret } from '../k8s/schemas/builtin.ts'
import { parseMeta } from '../k8s/schemas/meta.ts'
import type { KeyState } from '../plan/liveness-report.ts'
import type { CancelTimer, Clock, Random } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import {
  announcedKeys,
  authenticationWith,
  changesAtMs,
  type KeyRing,
  learn,
  noKeys,
  type ReadKeys,
  readKeys,
} from './key-ring.ts'

/** In Bellhop's own namespace. */
const livenessSecretName = 'bellhop-liveness'
/** On the Leases of replicas and agents: which keys the holder has, never their values. */
const keysAnnotation = 'bellhop.io/liveness-keys'

export interface KeyWatchOptions {
  readonly client: KubeClient
  /** Bellhop's own. */
  readonly namespace: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly signal: AbortSignal
}

export interface KeyWatch {
  readonly state: () => KeyState
  /** For this process's Lease; empty without a key. */
  readonly annotations: () => Readonly<Record<string, string>>
  /** For the session with the holder of a Lease with these annotations. */
  readonly authenticationWith: (annotations: Readonly<Record<string, string>>) => BfdAuthentication | undefined
  /** Keys came or went: sessions have to be configured anew, and the Lease renewed. */
  readonly onChange: (listener: () => void) => void
}

export function watchKeys(options: KeyWatchOptions): KeyWatch {
  const { clock, log, signal } = options
  const listeners: (() => void)[] = []
  let ring: KeyRing = noKeys
  let state: KeyState = { type: 'unknown' }
  let staged: ReadKeys | undefined
  let cancelTimer: CancelTimer = () => {}

  const tell = (): void => {
    for (const listener of listeners) listener()
    cancelTimer()
    const nowMs = clock.monotonicMs()
    const atMs = changesAtMs(ring, nowMs)
    if (atMs !== undefined && !signal.aborted) cancelTimer = clock.setTimer(atMs - nowMs, tell)
  }
  /** `read`: what the Secret says; undefined: there is none. */
  const become = (read: ReadKeys | undefined): void => {
    const next = stateAfter(read, ring)
    const before = announcedKeys(ring)
    ring = learn(ring, read?.keys ?? [], clock.monotonicMs(), labelOf)
    if (JSON.stringify(next) !== JSON.stringify(state)) report(log, next)
    const isNews = announcedKeys(ring) !== before || next.type !== state.type
    state = next
    if (isNews) tell()
  }
  signal.addEventListener('abort', () => cancelTimer(), { once: true })
  startReflector({
    ...options,
    resource: resources.Secret,
    fieldSelector: `metadata.name=${livenessSecretName}`,
    sink: {
      begin: () => {
        staged = undefined
      },
      stage: (raw) => {
        staged = keysOf(raw) ?? staged
      },
      swap: () => become(staged),
      put: (raw) => {
        const read = keysOf(raw)
        if (read !== undefined) become(read)
      },
      remove: (raw) => {
        if (identityOf(raw).name === livenessSecretName) become(undefined)
      },
    },
  })
  return {
    state: () => state,
    annotations: (): Readonly<Record<string, string>> =>
      ring.length === 0 ? {} : { [keysAnnotation]: announcedKeys(ring) },
    authenticationWith: (annotations) => authenticationWith(ring, annotations[keysAnnotation], clock.monotonicMs()),
    onChange: (listener) => void listeners.push(listener),
  }
}

function keysOf(raw: unknown): ReadKeys | undefined {
  const meta = parseMeta(raw)
  return meta === undefined || meta.name !== livenessSecretName ? undefined : readKeys(parseSecret(raw, meta).data)
}

function stateAfter(read: ReadKeys | undefined, ring: KeyRing): KeyState {
  if (read === undefined) return ring.length === 0 ? { type: 'absent' } : { type: 'vanished' }
  const { keys, problems } = read
  if (keys.length === 0) return { type: 'unusable', problems, kept: ring.length > 0 }
  return { type: 'in-use', ids: keys.map(({ id }) => id).sort((a, b) => b - a), problems }
}

// Three digits of a digest tell two keys of one id apart and leave whoever wants to guess the key four thousandth of his work.
const labelOf = ({ id, secret }: BfdKey): string =>
  `${id}:${createHash('sha256').update('bellhop-liveness').update(secret).digest('hex').slice(0, 3)}`

function report(log: Log, state: KeyState): void {
  const secret = livenessSecretName
  switch (state.type) {
    case 'unknown':
      return
    case 'absent':
      log.info({
        event: 'liveness-not-authenticated',
        advice: `there is no Secret ${secret} with a key: see the README`,
      })
      return
    case 'vanished':
      log.warn({
        event: 'liveness-keys-vanished',
        secret,
        advice: 'the keys it had are used on until this process ends',
      })
      return
    case 'unusable':
      log.warn({ event: 'liveness-keys-unusable', secret, problems: state.problems, kept: state.kept })
      return
    case 'in-use':
      log.info({ event: 'liveness-keys', secret, ids: state.ids })
      if (state.problems.length > 0) log.warn({ event: 'liveness-keys-unusable', secret, problems: state.problems })
  }
}
