// Starting kubectl and the controller as an operator would, on this very host: what the loopback demo and the tests at the level
// of the API have in common. Nothing here needs root or a network namespace.

import { createServer } from 'node:net'
import path from 'node:path'
import { type ExecResult, systemExec } from '../../runtime/exec.ts'
import { nodeProgram } from '../netns/node-program.ts'
import { type LabProcess, startProcess } from '../netns/process.ts'
import { kubectlProgram } from '../requirements.ts'

export interface Kubectl {
  /** Runs kubectl to its end; never rejects. */
  readonly run: (args: readonly string[], options?: { readonly input?: string }) => Promise<ExecResult>
  /** As `run`; throws with kubectl's own words when it fails. Returns standard output. */
  readonly must: (args: readonly string[], options?: { readonly input?: string }) => Promise<string>
}

const kubectlTimeoutMs = 60_000

/** The real kubectl (BELLHOP_KUBECTL, else the one in PATH) with this kubeconfig; its cache goes to `home`. */
export function createKubectl(kubeconfig: string, home: string): Kubectl {
  const run: Kubectl['run'] = (args, options = {}) =>
    systemExec(kubectlProgram(), args, {
      ...options,
      env: { KUBECONFIG: kubeconfig, HOME: home, NO_COLOR: '1' },
      timeoutMs: kubectlTimeoutMs,
    })
  return {
    run,
    must: async (args, options) => {
      const result = await run(args, options)
      if (result.status !== 0) throw new Error(`kubectl ${args.join(' ')}: ${result.stderr.trim()}`)
      return result.stdout
    },
  }
}

export interface ControllerOptions {
  readonly kubeconfig: string
  /** Of the replica. */
  readonly name: string
  /** The Node it pretends to run on. */
  readonly node: string
  /** Where its log goes. */
  readonly directory: string
  /** Further arguments. */
  readonly args?: readonly string[]
}

export interface RunningController {
  readonly process: LabProcess
  /** Of the status server. */
  readonly httpPort: number
}

/** Starts a replica; it may not be ready yet. However this process ends, the replica ends with it. */
export async function startControllerProcess(options: ControllerOptions): Promise<RunningController> {
  const httpPort = await freePort()
  const flags = {
    '--kubeconfig': options.kubeconfig,
    '--name': options.name,
    '--node': options.node,
    '--http-port': String(httpPort),
    '--log-format': 'json',
    '--log-level': 'debug',
  }
  const args = ['controller', ...Object.entries(flags).flat(), ...(options.args ?? [])]
  const logPath = path.join(options.directory, `${options.name}.log`)
  const replica = startProcess(nodeProgram('src/cli/main.ts', args), { logPath })
  const kill = (): void => replica.kill('SIGKILL')
  process.once('exit', kill)
  void replica.end.then(() => process.off('exit', kill))
  return { process: replica, httpPort }
}

/** Resolves once the replica has planned for the first time; fails at once, with its output, when it ends before. */
export async function whenReady({ process: replica, httpPort }: RunningController): Promise<void> {
  await replica.waitUntil(async () => (await fetch(`http://127.0.0.1:${httpPort}/readyz`)).ok, {
    what: 'the controller to be ready',
    // The program is compiled as it starts: ten seconds and more on a machine that does much else.
    timeoutMs: 60_000,
  })
}

/** A port that is free now. Somebody else may take it before it is used: the caller then fails and says so. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, () => resolve())
  })
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (typeof address !== 'object' || address === null) throw new Error('no free TCP port')
  return address.port
}
