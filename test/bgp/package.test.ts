// node-bgp as somebody else would have it: packed, installed beside its dependencies, type-checked by a stranger's program, and the
// example of its README run as it stands, against a router of somebody else's.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { packNodeBgp } from '../../scripts/pack-node-bgp.ts'
import { createNetwork } from '../../src/lab/netns/network.ts'
import { repositoryRoot } from '../../src/lab/netns/node-program.ts'
import { waitFor } from '../../src/lab/netns/wait.ts'
import { createRouter, programsOf } from '../../src/lab/routers/create-router.ts'
import { parseIp } from '../../src/net/ip.ts'
import { hostPrefix } from '../../src/net/prefix.ts'
import { must } from '../../src/runtime/result.ts'
import { describeWith } from '../support/privileges.ts'

let project = ''

beforeAll(() => {
  project = mkdtempSync(path.join(tmpdir(), 'bhpkg-'))
  const modules = path.join(project, 'node_modules')
  mkdirSync(modules)
  packNodeBgp(path.join(modules, 'node-bgp'))
  // What `npm install` would fetch: the dependencies of the manifest, and the types of Node.
  const manifest = JSON.parse(readFileSync(path.join(repositoryRoot, 'src/bgp/package.json'), 'utf8'))
  for (const name of [...Object.keys(manifest.dependencies), '@types'])
    symlinkSync(path.join(repositoryRoot, 'node_modules', name), path.join(modules, name))
})
afterAll(() => rmSync(project, { recursive: true, force: true }))

const exampleOf = (readme: string): string => /```js\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''

test('the manifest asks for the versions that Bellhop has', () => {
  const read = (file: string) => JSON.parse(readFileSync(path.join(repositoryRoot, file), 'utf8'))
  expect(read('package.json').dependencies).toMatchObject(read('src/bgp/package.json').dependencies)
})

test('the declarations are whole, for a compiler that checks libraries too', () => {
  const program = `import { createWorkerSpeaker, type PeerConfig, parseIp, type Speaker } from 'node-bgp'
const address = parseIp('10.0.0.1')
export const port: PeerConfig['port'] = address.ok ? 179 : 0
export const speaker: () => Speaker = () => createWorkerSpeaker()
// @ts-expect-error a name is no number
export const wrong: PeerConfig['name'] = 7
`
  writeFileSync(path.join(project, 'program.ts'), program)
  const options = [
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--strict',
    '--noEmit',
    '--types',
    'node',
    'program.ts',
  ]
  const compiler = path.join(repositoryRoot, 'node_modules/.bin/tsc')
  expect(execFileSync(compiler, options, { cwd: project, encoding: 'utf8' })).toBe('')
})

describeWith({ netns: true, programs: programsOf('bird') }, 'the example of the README', () => {
  test('makes an ECMP route of two next hops in BIRD', async () => {
    await using network = await createNetwork({ prefix: 'bhpkg' })
    const routerNamespace = await network.addNamespace('router', { forwarding: true })
    const speakerNamespace = await network.addNamespace('speaker')
    await network.connect(
      { at: routerNamespace, addresses: ['10.0.0.1/24'] },
      { at: speakerNamespace, addresses: ['10.0.0.10/24'] },
    )
    const ip = (text: string) => must(parseIp(text))
    const router = createRouter('bird', {
      name: 'bird',
      namespace: routerNamespace,
      directory: network.directory,
      asn: 65001,
      routerId: ip('10.0.0.1'),
      neighbors: [{ address: ip('10.0.0.10'), asn: 64512, addPath: true }],
    })
    await router.start()
    writeFileSync(
      path.join(project, 'example.mjs'),
      exampleOf(readFileSync(path.join(project, 'node_modules/node-bgp/README.md'), 'utf8')),
    )
    const example = speakerNamespace.spawn([process.execPath, path.join(project, 'example.mjs')])
    const vip = hostPrefix(ip('203.0.113.10'))
    await example.waitUntil(async () => (await router.kernelNextHops(vip)).length === 2, { what: 'two legs' })
    expect(await router.kernelNextHops(vip)).toEqual(['10.0.0.101', '10.0.0.102'])
    expect(example.output()).toContain('tor Established')
    await example.stop()
    await waitFor(() => readFileSync(router.logPath, 'utf8').includes('maintenance'), { what: 'the reason in the log' })
  })
})
