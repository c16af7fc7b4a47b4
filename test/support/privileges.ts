// Tests that need more than a process: root, network namespaces, other people's daemons. Where these are missing the tests
// are skipped and say why in their name; where CI=true promises them, their absence is a failure, so that a green run on
// continuous integration means that they ran.

import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { skipMark } from './skip-mark.ts'

export interface Requirements {
  readonly root?: boolean
  /** Root, and the right to create network namespaces. */
  readonly netns?: boolean
  /** Names looked up in PATH (and the sbin directories), or absolute paths. */
  readonly programs?: readonly string[]
}

/** `describe` for tests with requirements. */
export function describeWith(requirements: Requirements, name: string, suite: () => void): void {
  const missing = missingOf(requirements)
  if (missing.length === 0) describe(name, suite)
  else if (process.env['CI'] === 'true')
    describe(name, () => {
      test('has what it needs on this machine', () => expect(missing).toEqual([]))
    })
  else describe.skip(`${name} ${skipMark}needs ${missing.join(', ')}]`, suite)
}

/** What is missing here, in words; empty when all is there. */
export function missingOf(requirements: Requirements): readonly string[] {
  const missing: string[] = []
  if ((requirements.root === true || requirements.netns === true) && process.getuid?.() !== 0) missing.push('root')
  else if (requirements.netns === true && !canCreateNamespaces()) missing.push('network namespaces')
  for (const program of requirements.programs ?? []) if (!isInstalled(program)) missing.push(`program ${program}`)
  return missing
}

let namespacesProbed: boolean | undefined

function canCreateNamespaces(): boolean {
  if (namespacesProbed === undefined) {
    const name = `probe-${process.pid}`
    namespacesProbed = spawnSync('ip', ['netns', 'add', name]).status === 0
    if (namespacesProbed) spawnSync('ip', ['netns', 'del', name])
  }
  return namespacesProbed
}

function isInstalled(program: string): boolean {
  const directories = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin']
  const candidates = path.isAbsolute(program)
    ? [program]
    : directories.map((directory) => path.join(directory, program))
  return candidates.some(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
