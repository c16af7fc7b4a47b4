// What the lab needs of the machine, and what of it is missing, in words.

import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { systemExec } from '../runtime/exec.ts'
import { programsOf } from './routers/create-router.ts'
import type { RouterKind } from './routers/router.ts'

/** Everything that stands in the way of a lab with these leaves; empty when nothing does. */
export async function missingForLab(leaves: readonly RouterKind[] = ['bird', 'frr']): Promise<readonly string[]> {
  if (process.getuid?.() !== 0) return ['this is not root']
  const programs = ['ip', 'iptables', 'iptables-save', 'curl', 'sysctl', ...leaves.flatMap(programsOf)]
  const missing = programs.filter((program) => !isInstalled(program)).map((program) => `${program} is not installed`)
  if (missing.length > 0) return missing
  const name = `bellhop-probe-${process.pid}`
  const added = await systemExec('ip', ['netns', 'add', name])
  if (added.status !== 0) return [`no network namespaces (${added.stderr.trim()})`]
  await systemExec('ip', ['netns', 'del', name])
  return []
}

function isInstalled(program: string): boolean {
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
