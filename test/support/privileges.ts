// Tests that need more than a process: root, network namespaces, other people's daemons. Where these are missing the tests
// are skipped and say why in their name; where CI=true promises them, their absence is a failure, so that a green run on
// continuous integration means that they ran.

import { describe, expect, test } from 'vitest'
import { isInstalled, refusalOfNamespaces } from '../../src/lab/requirements.ts'
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
  else if (requirements.netns === true) {
    const because = whyNoNamespaces()
    if (because !== undefined) missing.push(`network namespaces (${because})`)
  }
  for (const program of requirements.programs ?? []) if (!isInstalled(program)) missing.push(`program ${program}`)
  return missing
}

let namespacesRefused: { readonly because: string | undefined } | undefined

/** Asked once a process: dozens of files want to know. */
function whyNoNamespaces(): string | undefined {
  namespacesRefused ??= { because: refusalOfNamespaces() }
  return namespacesRefused.because
}
