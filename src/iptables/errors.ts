// Why iptables could not do its work, told from its exit status and words, in the words of the person who has to mend it.

import type { ExecResult } from '../runtime/exec.ts'

export interface IptablesError {
  readonly code:
    | 'iptables/not-installed'
    | 'iptables/not-permitted'
    | 'iptables/read-only'
    | 'iptables/kernel-lacks-it'
    | 'iptables/incompatible-table'
    | 'iptables/busy'
    | 'iptables/changed-meanwhile'
    | 'iptables/failed'
  readonly program: string
  /** For operators: what is wrong and what would help. */
  readonly message: string
  /** What the program said. */
  readonly stderr: string
}

type Explanation = readonly [code: IptablesError['code'], pattern: RegExp, explain: (program: string) => string]

// The first pattern that matches decides.
const explanations: readonly Explanation[] = [
  [
    'iptables/read-only',
    /Read-only file system/,
    (program) =>
      `${program} can not lock or write: a file system is read-only (mount the host's /run/xtables.lock into the container, writable)`,
  ],
  [
    'iptables/busy',
    /xtables lock|temporarily unavailable|resource busy|ERESTART|Interrupted system call/i,
    (program) => `${program} found the tables in use by another program for too long`,
  ],
  [
    'iptables/not-permitted',
    /Permission denied|Operation not permitted|must be root/,
    (program) => `${program} is not allowed to change the rules (it needs root with CAP_NET_ADMIN and CAP_NET_RAW)`,
  ],
  [
    'iptables/incompatible-table',
    /is incompatible, use 'nft' tool/,
    (program) =>
      `${program} can not read the filter table: somebody put rules into it with nft that iptables does not understand`,
  ],
  [
    'iptables/kernel-lacks-it',
    /Protocol not supported|can't initialize|Cannot initialize|do you need to insmod|Couldn't load (match|target)|not supported, missing kernel module|Address family not supported/i,
    (program) => `the kernel, or this installation of iptables, lacks what ${program} needs`,
  ],
  [
    'iptables/changed-meanwhile',
    /Bad rule|Index of insertion too big|line \d+ failed|RULE_(DELETE|INSERT|REPLACE) failed|CHAIN_\w+ failed/,
    (program) => `${program} found other rules than a moment before: somebody else is changing them`,
  ],
]

/** The error of a run that ended with a status other than 0. */
export function explainFailure(program: string, { status, stderr, stdout }: ExecResult): IptablesError {
  const said = stderr.trim()
  if (status === 127)
    return {
      code: 'iptables/not-installed',
      program,
      message: `there is no program ${program} here: install iptables in the image or on the node`,
      stderr: said,
    }
  const known = explanations.find(([, pattern]) => pattern.test(`${stderr}\n${stdout}`))
  if (known === undefined)
    return {
      code: 'iptables/failed',
      program,
      message: `${program} ended with status ${status}${said === '' ? '' : `: ${said}`}`,
      stderr: said,
    }
  const [code, , explain] = known
  return { code, program, message: `${explain(program)}${said === '' ? '' : `: ${said}`}`, stderr: said }
}

/** Whether looking again and trying again may help. */
export const isTransient = ({ code }: IptablesError): boolean =>
  code === 'iptables/busy' || code === 'iptables/changed-meanwhile'
