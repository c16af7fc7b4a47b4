// The verb as a shell sees it: from files, from standard input, from a cluster; and what kubectl makes of its output.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RawObject } from '../../src/k8s/json.ts'
import { type ApiServerHandle, startApiServer } from '../../src/lab/apiserver/server.ts'
import { nodeProgram, repositoryRoot } from '../../src/lab/netns/node-program.ts'
import { describeWith } from '../support/privileges.ts'

interface Outcome {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

function run(command: string, args: readonly string[], stdin = ''): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, KUBECONFIG: '' }, timeout: 50_000 })
    const out = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      out.stderr += text
    })
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, ...out }))
    child.stdin.end(stdin)
  })
}

function migrateVerb(args: readonly string[], stdin = ''): Promise<Outcome> {
  const [node = '', ...rest] = nodeProgram('src/cli/main.ts', ['migrate', ...args])
  return run(node, rest, stdin)
}

const inCase = (name: string, file: string): string => path.join(import.meta.dirname, 'cases', name, file)
const expected = (name: string): string => readFileSync(inCase(name, 'expected.yaml'), 'utf8')

let folder: string
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bellhop-migrate-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const serviceYaml = (address: string): string =>
  `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {type: LoadBalancer, clusterIP: 10.96.0.9, ports: [{port: 80}]}, status: {loadBalancer: {ingress: [{ip: ${address}}]}}}\n`

describe('bellhop migrate', () => {
  test('prints the objects, says that Services were not checked, and succeeds where nothing has to be decided', async () => {
    const { status, stdout, stderr } = await migrateVerb(['-f', inCase('porter', 'input.yaml')])
    expect({ status, stdout }).toEqual({ status: 0, stdout: expected('porter') })
    expect(stderr).toBe(
      '1 BgpConf, 1 BgpPeer, 1 VipPool, 0 BgpPolicy; 0 without an object of their own\n' +
        'Services were not checked: --services <file|folder|cluster> says whether each keeps its address\n',
    )
  })

  test('reads standard input, and has status 1 where something has to be decided', async () => {
    const input = readFileSync(inCase('metallb-racks', 'input.yaml'), 'utf8')
    const { status, stdout, stderr } = await migrateVerb(['-f', '-'], input)
    expect({ status, stdout }).toEqual({ status: 1, stdout: expected('metallb-racks') })
    expect(stderr).toContain('! MetalLB BGPPeer metallb-system/unnumbered: spec.interface: ')
  })

  test('keeps a session from every node where that is asked for, and says what it needs', async () => {
    const input = inCase('metallb-speaker-node', 'input.yaml')
    const { status, stdout, stderr } = await migrateVerb(['-f', input, '--speaker', 'node'])
    expect({ status, stdout }).toEqual({ status: 1, stdout: expected('metallb-speaker-node') })
    for (const step of ['deploy/node-speakers instead of deploy/base', 'create secret generic bgp-node-peers'])
      expect(stderr).toContain(step)
    expect(stderr).not.toContain('typed')
    const refused = await migrateVerb(['-f', inCase('openelb', 'input.yaml'), '--speaker', 'node'])
    expect(refused).toMatchObject({ status: 1, stdout: '' })
    expect(refused.stderr).toContain("--speaker node is for MetalLB's objects")
  })

  test.each([
    ['198.51.100.9', 0, '1 of 1 Services with an address keep it'],
    ['203.0.113.9', 1, '! Service shop/web would lose 203.0.113.9: '],
  ])('a Service with %s gives status %i', async (address, status, line) => {
    const pools = path.join(folder, 'pools.yaml')
    const services = path.join(folder, 'services.yaml')
    const pool =
      '{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: a}, spec: {addresses: [198.51.100.0/24]}}'
    writeFileSync(pools, pool)
    writeFileSync(services, serviceYaml(address))
    const outcome = await migrateVerb(['-f', pools, '--services', services])
    expect(outcome.stderr).toContain(line)
    expect(outcome.status).toBe(status)
  })

  test.each([
    ['a file that is not there', ['-f', '/nonexistent.yaml'], /^\/nonexistent\.yaml: .*ENOENT/],
    ['a cluster that is not there', ['--kubeconfig', '/nonexistent'], /no usable Kubernetes credentials/],
  ])('%s is one line on standard error and status 1', async (_, args, message) => {
    const { status, stdout, stderr } = await migrateVerb(args)
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  })

  test.each([
    ['broken YAML', 'a: [', /^-: /],
    ['no Kubernetes object', 'just: text', /no Kubernetes object/],
    [
      'both products at once',
      readFileSync(inCase('porter', 'input.yaml'), 'utf8') +
        readFileSync(inCase('metallb-layer2', 'input.yaml'), 'utf8').replace(/^/, '---\n'),
      /objects of both OpenELB and MetalLB: .*--from/,
    ],
  ])('%s is refused', async (_, input, message) => {
    const { status, stdout, stderr } = await migrateVerb(['-f', '-'], input)
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(message)
  })
})

// --------------------------------------------------------------------------------------------------------- a cluster

function foreignCrd(group: string, kind: string, plural: string, versions: readonly string[]): RawObject {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: group === 'metallb.io' ? 'Namespaced' : 'Cluster',
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() },
      versions: versions.map((name, i) => ({
        name,
        served: true,
        storage: i === 0,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: { spec: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
          },
        },
      })),
    },
  }
}

const metalLbCrds = [
  foreignCrd('metallb.io', 'IPAddressPool', 'ipaddresspools', ['v1beta1']),
  foreignCrd('metallb.io', 'BGPPeer', 'bgppeers', ['v1beta2', 'v1beta1']),
  foreignCrd('metallb.io', 'BGPAdvertisement', 'bgpadvertisements', ['v1beta1']),
  foreignCrd('metallb.io', 'BFDProfile', 'bfdprofiles', ['v1beta1']),
]

describeWith({ programs: ['kubectl'] }, 'bellhop migrate of a cluster with MetalLB', () => {
  let server: ApiServerHandle
  let kubeconfig: string

  const kubectl = (args: readonly string[], stdin = ''): Promise<Outcome> =>
    run('kubectl', ['--kubeconfig', kubeconfig, '--cache-dir', path.join(folder, 'cache'), ...args], stdin)

  beforeAll(async () => {
    server = await startApiServer()
    kubeconfig = path.join(folder, 'kubeconfig')
    writeFileSync(kubeconfig, server.kubeconfig())
    const crds = metalLbCrds.map((crd) => JSON.stringify(crd)).join('\n---\n')
    const namespaces = ['metallb-system', 'shop'].map(
      (name) => `{apiVersion: v1, kind: Namespace, metadata: {name: ${name}}}`,
    )
    for (const input of [
      crds,
      namespaces.join('\n---\n'),
      readFileSync(inCase('metallb-bgp', 'input.yaml'), 'utf8'),
      serviceYaml('203.0.113.9'),
    ]) {
      const { status, stderr } = await kubectl(['apply', '-f', '-'], `---\n${input}`)
      expect([status, stderr]).toEqual([0, ''])
    }
    const status = JSON.stringify({ status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } } })
    const patched = await kubectl(['patch', 'service', 'web', '-n', 'shop', '--subresource=status', '-p', status])
    expect([patched.status, patched.stderr]).toEqual([0, ''])
  })
  afterAll(() => server.stop())

  test('reads what is there, writes nothing, and its output is applied by kubectl', async () => {
    const before = server.store.revision
    const { status, stdout, stderr } = await migrateVerb(['--kubeconfig', kubeconfig])
    expect(server.store.revision).toBe(before)
    // Nobody shares an address with another namespace, and the server says so.
    const fromFile = expected('metallb-bgp')
      .replace(/^# {3}~ sharing: .*\n/gm, '')
      .replace(/^ {2}sharing: .*\n/gm, '')
    const inOrder = (text: string): readonly string[] => text.split('---\n').sort()
    expect(inOrder(stdout)).toEqual(inOrder(fromFile))
    expect(stderr).toContain('1 of 1 Services with an address keep it')
    expect(status).toBe(1)

    const crds = await kubectl(['apply', '-k', path.join(repositoryRoot, 'crds')])
    expect([crds.status, crds.stderr]).toEqual([0, ''])
    const applied = await kubectl(['apply', '--validate=strict', '-f', '-'], stdout)
    expect(applied.stderr).toBe('')
    expect(applied.stdout.trim().split('\n')).toEqual([
      'bgpconf.bellhop.io/default created',
      'bgppeer.bellhop.io/tor1 created',
      'bgppeer.bellhop.io/tor2 created',
      'vippool.bellhop.io/production created',
      'vippool.bellhop.io/tenants created',
    ])
  })
})
