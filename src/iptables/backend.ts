// The kernel may hold iptables rules in two places: the old x_tables ("legacy") and nftables. Rules in the wrong one do
// work, but are invisible to those who look in the other, and mixing them has surprised many. So we use the one that the
// kubelet and kube-proxy use, and find it as the kubelet's iptables wrappers do: by the chains these leave.

import type { IpFamily } from '../net/ip.ts'
import type { Exec } from '../runtime/exec.ts'
import { err, ok, type Result } from '../runtime/result.ts'
import { explainFailure, type IptablesError } from './errors.ts'
import { countTraces, type KubernetesTraces } from './observe.ts'

export type BackendName = 'nft' | 'legacy'

export interface Backend {
  readonly name: BackendName
  /** Infix of the programs: `iptables-nft-save`, or `iptables-save` where there is but one. */
  readonly infix: '' | '-nft' | '-legacy'
  /** For the log: what decided. */
  readonly because: string
}

export interface Programs {
  readonly save: string
  readonly restore: string
}

/** The programs of a back end. */
export function programsOf(backend: Pick<Backend, 'infix'>, family: IpFamily): Programs {
  const stem = `${family === 'IPv4' ? 'iptables' : 'ip6tables'}${backend.infix}`
  return { save: `${stem}-save`, restore: `${stem}-restore` }
}

/** The back end that was asked for, whatever the node uses. Refused when its programs are missing. */
export async function chosenBackend(name: BackendName, exec: Exec): Promise<Result<Backend, IptablesError>> {
  const infix = name === 'nft' ? '-nft' : '-legacy'
  const version = await exec(`iptables${infix}`, ['--version'])
  if (version.status === 0) return ok({ name, infix, because: 'configuration' })
  const plain = await plainBackend(exec)
  if (plain.ok && plain.value.name === name) return ok({ ...plain.value, because: 'configuration' })
  return err(explainFailure(`iptables${infix}`, version))
}

/**
 * The back end in use on this node. In turn: the kubelet's hint chains, other chains of Kubernetes, more rules in legacy than
 * in nft, what plain `iptables` is. Creates nothing: the legacy programs are never asked for a table that might not exist.
 */
export async function detectBackend(exec: Exec): Promise<Result<Backend, IptablesError>> {
  const [nft, legacy] = [await traces('-nft', exec), await traces('-legacy', exec)]
  const decide = (count: (found: KubernetesTraces) => number, because: string): Backend | undefined =>
    count(nft) > 0 && count(nft) >= count(legacy)
      ? { name: 'nft', infix: '-nft', because }
      : count(legacy) > 0
        ? { name: 'legacy', infix: '-legacy', because }
        : undefined
  const found =
    decide(({ hints }) => hints, "the kubelet's hint chains") ??
    decide(({ chains }) => chains, 'chains of Kubernetes') ??
    (legacy.rules > nft.rules
      ? ({ name: 'legacy', infix: '-legacy', because: 'most rules are there' } as const)
      : undefined)
  return found === undefined ? plainBackend(exec) : ok(found)
}

async function traces(infix: Backend['infix'], exec: Exec): Promise<KubernetesTraces> {
  const outputs = await Promise.all(
    (['IPv4', 'IPv6'] as const).map((family) => exec(programsOf({ infix }, family).save, [])),
  )
  return countTraces(outputs.map(({ stdout }) => stdout).join('\n'))
}

async function plainBackend(exec: Exec): Promise<Result<Backend, IptablesError>> {
  const version = await exec('iptables', ['--version'])
  if (version.status !== 0) return err(explainFailure('iptables', version))
  // Before 1.8 there was only legacy, and no word about it.
  const name = version.stdout.includes('nf_tables') ? 'nft' : 'legacy'
  return ok({ name, infix: '', because: 'default of this installation' })
}

/** Every back end whose programs are installed, for removing what was left in any of them. */
export async function installedBackends(exec: Exec): Promise<Result<readonly Backend[], IptablesError>> {
  const candidates = await Promise.all((['nft', 'legacy'] as const).map((name) => chosenBackend(name, exec)))
  const installed = candidates.flatMap((candidate) => (candidate.ok ? [candidate.value] : []))
  if (installed.length > 0) return ok(installed)
  const [first] = candidates
  return first === undefined || first.ok ? ok([]) : err(first.error)
}
