// Why nft could not do its work, told from its exit status and words, in the words of the person who has to mend it.

import type { ExecResult } from '../runtime/exec.ts'

export interface NftablesError {
  readonly code:
    | 'nftables/not-installed'
    | 'nftables/not-permitted'
    | 'nftables/kernel-lacks-it'
    | 'nftables/busy'
    | 'nftables/changed-meanwhile'
    | 'nftables/failed'
  readonly program: 'nft'
  /** For operators: what is wrong and what would help. */
  readonly message: string
  /** What the program said. */
  readonly stderr: string
}

// The first pattern that matches decides.
const explanations: readonly (readonly [code: NftablesError['code'], pattern: RegExp, message: string])[] = [
  [
    'nftables/not-permitted',
    /Operation not permitted|must be root|Permission denied/,
    'nft is not allowed to change the rules (it needs root with CAP_NET_ADMIN; a table may also belong to the daemon that made it, as with firewalld’s NftablesTableOwner)',
  ],
  ['nftables/busy', /resource busy|temporarily unavailable|Interrupted system call/i, 'nft found the rules in use'],
  [
    'nftables/kernel-lacks-it',
    /Operation not supported|Protocol not supported|Address family not supported|Invalid argument/,
    'the kernel lacks what nft needs: sets of intervals with several fields need 5.6 or later',
  ],
  [
    'nftables/changed-meanwhile',
    /No such file or directory|File exists/,
    'nft found other rules than a moment before: somebody else is changing them',
  ],
]

/** The error of a run that ended with a status other than 0. */
export function explainNft({ status, stderr }: ExecResult): NftablesError {
  const said = stderr.trim().split('\n').slice(0, 3).join('; ').slice(0, 300)
  const program = 'nft'
  if (status === 127)
    return {
      code: 'nftables/not-installed',
      program,
      message: 'there is no program nft here: install nftables in the image or on the node',
      stderr: said,
    }
  const [code, , words] = explanations.find(([, pattern]) => pattern.test(stderr)) ?? [
    'nftables/failed' as const,
    undefined,
    `nft ended with status ${status}`,
  ]
  return { code, program, message: said === '' ? words : `${words}: ${said}`, stderr: said }
}

/** Whether looking again and trying again may help. */
export const isTransientNft = ({ code }: NftablesError): boolean =>
  code === 'nftables/busy' || code === 'nftables/changed-meanwhile'
