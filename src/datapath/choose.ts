// Which back end the node's rules are written with. What decides is who closes the node's FORWARD, since only a rule in the same
// place can open it again: with kube-proxy in iptables or IPVS mode that is iptables, in one of its two kernels; with kube-proxy in
// nftables mode it is nftables, unless somebody else (a container engine, an old firewall) closes FORWARD by iptables all the same.

import { type Backend, chosenBackend, detectBackend, programsOf } from '../iptables/backend.ts'
import type { IptablesError } from '../iptables/errors.ts'
import { forwardInUse } from '../iptables/observe.ts'
import type { NftablesError } from '../nftables/errors.ts'
import { kubeProxyUsesNft, nftWorks } from '../nftables/reconcile.ts'
import type { Exec } from '../runtime/exec.ts'
import { ok, type Result } from '../runtime/result.ts'

export type BackendChoice = 'auto' | 'nft' | 'legacy' | 'nftables'

/** iptables in one of its kernels, or nftables alone. */
export type DatapathBackend = Backend | { readonly name: 'nftables'; readonly because: string }

export type DatapathError = IptablesError | NftablesError

/** The back end for this node. Creates nothing. */
export async function chooseBackend(
  choice: BackendChoice,
  exec: Exec,
): Promise<Result<DatapathBackend, DatapathError>> {
  if (choice === 'nft' || choice === 'legacy') return chosenBackend(choice, exec)
  if (choice === 'nftables') {
    const works = await nftWorks(exec)
    return works.ok ? ok({ name: 'nftables', because: 'configuration' }) : works
  }
  if (await kubeProxyUsesNft(exec)) {
    const closing = await closingIptables(exec)
    return ok(closing ?? { name: 'nftables', because: 'kube-proxy is in nftables mode, and iptables closes nothing' })
  }
  const iptables = await detectBackend(exec)
  if (iptables.ok || iptables.error.code !== 'iptables/not-installed') return iptables
  const works = await nftWorks(exec)
  return works.ok ? ok({ name: 'nftables', because: 'there is no iptables here' }) : iptables
}

async function closingIptables(exec: Exec): Promise<Backend | undefined> {
  for (const [name, infix] of [
    ['nft', '-nft'],
    ['legacy', '-legacy'],
  ] as const)
    for (const family of ['IPv4', 'IPv6'] as const) {
      // Without a table's name, because the legacy program creates a table that it is asked for.
      const saved = await exec(programsOf({ infix }, family).save, [])
      if (saved.status === 0 && forwardInUse(saved.stdout))
        return { name, infix, because: 'kube-proxy is in nftables mode, but FORWARD is closed by iptables' }
    }
  return undefined
}
