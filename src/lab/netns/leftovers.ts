// Nothing of a lab may outlive it, not even after SIGKILL. Two nets: a reaper, a small shell in a session of its own that
// waits for our end of a pipe to close (which the kernel does however we die) and then removes what bears our name; and a
// sweep at the next start that removes what bears the name of a process that is no more, in case the reaper died as well.

import { spawn } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Exec } from '../../runtime/exec.ts'

/** `<prefix>-<pid>.<n>`: what all kernel objects and the directory of one network are named after. */
export type Owner = `${string}-${number}.${number}`

const ownerPattern = /^([a-z][a-z0-9]*)-(\d+)\.(\d+)(?:-|$)/

/** The process id in a name that a network gave, or undefined for names that are not of `prefix`. */
export function ownerPidOf(prefix: string, name: string): number | undefined {
  const match = ownerPattern.exec(name)
  return match?.[1] === prefix ? Number(match[2]) : undefined
}

/** The directory of a network's files. */
export const directoryOf = (owner: Owner): string => path.join(tmpdir(), owner)

/** Removes namespaces (with the programs in them) and directories of `prefix` whose process is gone. Returns their names. */
export async function sweepLeftovers(prefix: string, exec: Exec): Promise<readonly string[]> {
  const isLeftover = (name: string): boolean => {
    const pid = ownerPidOf(prefix, name)
    return pid !== undefined && !existsSync(`/proc/${pid}`)
  }
  const namespaces = (await listNamespaces(exec)).filter(isLeftover)
  for (const name of namespaces) await removeNamespace(name, exec)
  const directories = readdirSync(tmpdir()).filter(isLeftover)
  for (const name of directories) rmSync(path.join(tmpdir(), name), { recursive: true, force: true })
  return [...namespaces, ...directories]
}

/** Names of all network namespaces that `ip netns` knows. */
export async function listNamespaces(exec: Exec): Promise<readonly string[]> {
  const { stdout } = await exec('ip', ['netns', 'list'])
  return stdout
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => name !== '')
}

/** Kills what still runs in a namespace and removes it; its interfaces go with it. */
export async function removeNamespace(name: string, exec: Exec): Promise<void> {
  const { stdout } = await exec('ip', ['netns', 'pids', name])
  const pids = stdout.split('\n').filter((pid) => pid !== '')
  if (pids.length > 0) await exec('kill', ['-9', ...pids])
  await exec('ip', ['netns', 'del', name])
}

const reaperScript = `
cat >/dev/null
ip netns list | cut -d' ' -f1 | while read -r ns; do
  case "$ns" in
    "$1"-*) ip netns pids "$ns" | xargs -r kill -9; ip netns del "$ns" ;;
  esac
done
rm -rf -- "$2"
`

/** Starts the reaper of one network. `release` lets it go: it finds nothing to do and ends. */
export function startReaper(owner: Owner): { readonly release: () => Promise<void> } {
  const child = spawn('sh', ['-c', reaperScript, 'reaper', owner, directoryOf(owner)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => resolve())
    child.on('error', () => resolve())
  })
  child.unref()
  child.stdin.on('error', () => {})
  return {
    release: () => {
      // The owner may have nothing else left to wait for.
      child.ref()
      child.stdin.end()
      return ended
    },
  }
}
