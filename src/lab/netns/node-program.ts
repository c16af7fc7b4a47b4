// How the lab starts our own TypeScript programs inside a namespace: with the very Node that runs the lab, from the very
// source tree the lab was loaded from, so that no build step stands between a change and its demonstration.

import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** The root of the source tree. */
export const repositoryRoot: string = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..')

/** The argument vector that runs `script` (a path below the repository's root): `namespace.spawn(nodeProgram('src/cli/main.ts', [...]))`. */
export const nodeProgram = (script: string, args: readonly string[] = []): readonly string[] => [
  process.execPath,
  path.join(repositoryRoot, script),
  ...args,
]
