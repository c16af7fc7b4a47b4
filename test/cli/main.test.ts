// The command line as a shell sees it: what is printed where, and the exit status.

import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import packageJson from '../../package.json' with { type: 'json' }
import { nodeProgram, repositoryRoot } from '../../src/lab/netns/node-program.ts'
import { startProcess } from '../../src/lab/netns/process.ts'
import { type ExecResult, systemExec } from '../../src/runtime/exec.ts'

/** Runs bellhop to its end. Nothing of our own surroundings decides for it. */
function bellhop(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<ExecResult> {
  const [node = '', ...rest] = nodeProgram('src/cli/main.ts', args)
  return systemExec(node, rest, { env: { KUBECONFIG: '', ...env }, timeoutMs: 30_000 })
}

const verbs = ['controller', 'agent', 'crds', 'replay', 'migrate', 'uninstall', 'demo', 'lab', 'version']

describe('what bellhop prints', () => {
  test('--help names every verb', async () => {
    const { status, stdout, stderr } = await bellhop(['--help'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    for (const verb of verbs) expect(stdout).toMatch(new RegExp(`^  ${verb}\\b`, 'm'))
  })

  test('without a verb it prints the help where errors go, and fails', async () => {
    const { status, stdout, stderr } = await bellhop([])
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(/^Usage: bellhop/)
  })

  test.each([
    [
      'controller',
      '--kubeconfig --namespace --name --node --class --default-class --http-port --log-level --log-format',
    ],
    [
      'agent',
      '--kubeconfig --namespace --node --backend --enforce-source-ranges --refuse-unused-ports --check-seconds --http-port --cleanup',
    ],
  ])('%s --help names its flags and their variables', async (verb, flags) => {
    const { status, stdout } = await bellhop([verb, '--help'])
    expect(status).toBe(0)
    for (const flag of flags.split(' ')) expect(stdout).toContain(`  ${flag}`)
    for (const variable of ['KUBECONFIG', 'POD_NAMESPACE', 'NODE_NAME', 'BELLHOP_LOG_LEVEL'])
      expect(stdout.replace(/\s+/g, ' ')).toContain(`env: ${variable}`)
  })

  test.each([
    ['replay /no/such/recording', /^ENOENT: [^\n]*\/no\/such\/recording'\n$/],
    ['migrate -f /no/such/file', /^\/no\/such\/file: ENOENT[^\n]*\n$/],
    ['controller --http-port x', /a whole number from 0 to 65535 is needed, not "x"/],
    ['nosuchverb', /^error: unknown command 'nosuchverb'\n/],
  ])('%s is refused in words, not with a stack', async (line, words) => {
    const { status, stdout, stderr } = await bellhop(line.split(' '))
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(words)
  })

  test.each([[['version']], [['--version']], [['-V']]])('%j is the version of the package', async (args) => {
    expect(await bellhop(args)).toEqual({ status: 0, stdout: `${packageJson.version}\n`, stderr: '' })
  })

  test('crds prints one definition for each file in crds/', async () => {
    const { status, stdout } = await bellhop(['crds'])
    expect(status).toBe(0)
    const names = parseAllDocuments(stdout).map((document) => {
      expect(document.errors).toEqual([])
      return [document.getIn(['kind']), document.getIn(['metadata', 'name'])]
    })
    const files = readdirSync(path.join(repositoryRoot, 'crds')).filter((file) => file !== 'kustomization.yaml')
    expect(names).toEqual(
      files.sort().map((file) => ['CustomResourceDefinition', `${path.basename(file, '.yaml')}.bellhop.io`]),
    )
  })
})

describe('mistakes', () => {
  test.each<[readonly string[], Readonly<Record<string, string>>, string]>([
    [['frobnicate'], {}, "unknown command 'frobnicate'"],
    [['--frobnicate'], {}, "unknown option '--frobnicate'"],
    [['controller', '--nodes', 'n1'], {}, "unknown option '--nodes'\n(Did you mean --node?)"],
    [['controller', 'now'], {}, "too many arguments for 'controller'"],
    [['crds', 'vips'], {}, "too many arguments for 'crds'"],
    [['replay'], {}, "missing required argument 'file'"],
    [['controller', '--namespace'], {}, "option '--namespace <name>' argument missing"],
    [['controller', '--http-port', '70000'], {}, 'a whole number from 0 to 65535 is needed, not "70000"'],
    [['controller', '--log-level', 'loud'], {}, 'one of debug, info, warn, error is needed, not "loud"'],
    [['agent', '--check-seconds', '0'], {}, 'a whole number from 1 to 3600 is needed, not "0"'],
    [['controller'], { BELLHOP_HTTP_PORT: '70000' }, "value '70000' from env 'BELLHOP_HTTP_PORT' is invalid"],
    [['agent'], { BELLHOP_BACKEND: 'ebpf' }, "value 'ebpf' from env 'BELLHOP_BACKEND' is invalid"],
  ])('bellhop %j with %j', async (args, env, message) => {
    const { status, stdout, stderr } = await bellhop(args, env)
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain(`error: `)
    expect(stderr).toContain(message)
    expect(stderr).toContain('(see --help)')
    expect(stderr).not.toContain('    at ')
  })

  test.each<[string, readonly string[], Readonly<Record<string, string>>, string]>([
    ['named by the flag', ['--kubeconfig', '/no/such/flag'], {}, '/no/such/flag'],
    ['named by the environment', [], { KUBECONFIG: '/no/such/variable' }, '/no/such/variable'],
    [
      'named by both: the flag wins',
      ['--kubeconfig', '/no/such/flag'],
      { KUBECONFIG: '/no/such/variable' },
      '/no/such/flag',
    ],
    ['the first of several', [], { KUBECONFIG: '/no/such/first:/no/such/second' }, "'/no/such/first'"],
  ])('a kubeconfig that does not exist, %s, ends the controller with one line', async (_, args, env, file) => {
    const { status, stdout } = await bellhop(['controller', '--log-format', 'json', ...args], env)
    expect(status).toBe(1)
    const line: unknown = JSON.parse(stdout)
    expect(line).toMatchObject({ level: 'error', event: 'failed', message: expect.stringContaining(file) })
  })
})

function kubeconfigOf(directory: string, port: number): string {
  const file = path.join(directory, 'kubeconfig')
  writeFileSync(
    file,
    JSON.stringify({
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'it' },
      clusters: [{ name: 'it', cluster: { server: `http://127.0.0.1:${port}` } }],
      users: [{ name: 'it', user: {} }],
      contexts: [{ name: 'it', context: { cluster: 'it', user: 'it' } }],
    }),
  )
  return file
}

// A second controller on a host, in the way of the first one's sessions, Lease and liveness, if it got any further.
test('a controller whose status port is taken ends with one line, and nobody has heard of it', async () => {
  let asked = 0
  const server = createServer((_request, response) => {
    asked++
    response.writeHead(404).end()
  })
  const directory = mkdtempSync(path.join(tmpdir(), 'bellhop-cli-'))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
    rmSync(directory, { recursive: true, force: true })
  })
  await once(server.listen(0), 'listening')
  const { port } = server.address() as AddressInfo
  const flags = ['--kubeconfig', kubeconfigOf(directory, port), '--http-port', String(port), '--log-format', 'json']
  const { status, stdout } = await bellhop(['controller', ...flags])
  expect(status).toBe(1)
  const line: unknown = JSON.parse(stdout)
  expect(line).toMatchObject({ level: 'error', event: 'failed', message: expect.stringContaining(`TCP port ${port}`) })
  expect(asked).toBe(0)
})

// Half of a list is all that comes: `undefined` is a server that takes the request and says nothing.
const half = '{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a'

describe.each([
  ['refuses connections', 'refused' as const],
  ['never answers', undefined],
  ['stops in the middle of a list', half],
  ['answers nonsense', '<html>a captive portal</html>'],
])('an API server that %s', (_how, answer) => {
  test('does not keep a controller from ending within five seconds of SIGTERM, with status 0', async () => {
    let asked = 0
    const server = createServer((_request, response) => {
      asked++
      if (answer === undefined) return
      response.writeHead(200, { 'content-type': 'application/json' })
      if (answer === half) response.write(answer)
      else response.end(answer)
    })
    const directory = mkdtempSync(path.join(tmpdir(), 'bellhop-cli-'))
    const listening = answer !== 'refused'
    if (listening) await once(server.listen(0, '127.0.0.1'), 'listening')
    const port = listening ? (server.address() as AddressInfo).port : 1
    const kubeconfig = kubeconfigOf(directory, port)
    const args = ['controller', '--kubeconfig', kubeconfig, '--log-format', 'json', '--http-port', '0']
    const controller = startProcess(nodeProgram('src/cli/main.ts', args))
    onTestFinished(async () => {
      await controller.stop()
      server.closeAllConnections()
      server.close()
      rmSync(directory, { recursive: true, force: true })
    })
    await controller.waitUntil(() => controller.output().includes('"event":"controller-started"'), {
      what: 'the start',
    })
    // What it asks for is under way, so that ending means breaking off.
    await controller.waitUntil(() => !listening || asked > 0, { what: 'a request' })
    controller.kill('SIGTERM')
    // After five seconds a process ends itself, with another status.
    expect(await controller.end, controller.output()).toEqual({ status: 0, signal: null })
  })
})
