// What the lab and its tests need of the machine, and what of it is missing, in words. Asked before anything is built, and tried
// rather than guessed: containers allow some of what namespaces take and refuse the rest.

import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { programsOf } from './routers/create-router.ts'
import type { RouterKind } from './routers/router.ts'

/** Everything that stands in the way of a lab with these leaves; empty when nothing does. */
export function missingForLab(leaves: readonly RouterKind[] = ['bird', 'frr']): readonly string[] {
  if (process.getuid?.() !== 0) return ['this is not root']
  const programs = [
    'ip',
    'iptables',
    'iptables-save',
    'curl',
    'sysctl',
    kubectlProgram(),
    ...leaves.flatMap(programsOf),
  ]
  const missing = programs.filter((program) => !isInstalled(program)).map((program) => `${program} is not installed`)
  if (missing.length > 0) return missing
  const refusal = refusalOfNamespaces(['iptables', '-w', '-S'])
  return refusal === undefined ? [] : [`no network namespaces (${refusal})`]
}

/** The kubectl to use: BELLHOP_KUBECTL, else the one in PATH. */
export const kubectlProgram = (): string => process.env['BELLHOP_KUBECTL'] ?? 'kubectl'

/** Why no network namespace with a cable in it can be made and `argv` be run inside, in the machine's words; undefined if all can. */
export function refusalOfNamespaces(argv: readonly string[] = ['true']): string | undefined {
  const name = `bellhop-probe-${process.pid}`
  const steps = [
    ['netns', 'add', name],
    ['-n', name, 'link', 'add', 'probe0', 'type', 'veth', 'peer', 'name', 'probe1'],
    ['netns', 'exec', name, ...argv],
  ]
  try {
    for (const step of steps) {
      const { status, stderr, error } = spawnSync('ip', step, { encoding: 'utf8' })
      if (status !== 0) return error?.message ?? (stderr.trim() || `ip ${step.join(' ')}: status ${status}`)
    }
    return undefined
  } finally {
    spawnSync('ip', ['netns', 'del', name])
  }
}

/** Whether a program, by name or absolute path, is in PATH or the directories of root's. */
export function isInstalled(program: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin']
  const candidates = path.isAbsolute(program) ? [program] : folders.map((folder) => path.join(folder, program))
  return candidates.some((candidate) => {
    try {
      accessSync(candidate, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
