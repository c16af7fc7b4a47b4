// A cluster that somebody names as the lab's control plane. It has controllers of its own for Deployments, EndpointSlices, deletion
// and silent nodes; the lab adds Nodes, runs the pods on them, and binds its own pods, whether there is a scheduler or not.
// Nothing that exists is touched: the lab refuses a cluster that has anything of the names it uses, and removes what it made.

import { existsSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { homedir } from 'node:os'
import path from 'node:path'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { createKubeClient } from '../../k8s/client.ts'
import type { Clock } from '../../runtime/clock.ts'
import { type ExecResult, systemExec } from '../../runtime/exec.ts'
import type { Log } from '../../runtime/log.ts'
import { must } from '../../runtime/result.ts'
import { repositoryRoot } from '../netns/node-program.ts'
import type { ControlPlane, Endpoint, NodeTaint } from './control-plane.ts'
import { startPodBinder } from './pod-binder.ts'

export interface NamedClusterOptions {
  /** YAML with everything in it, as `kubectl config view --raw --flatten --minify` prints it. */
  readonly kubeconfig: string
  /** Names the namespace of this lab; must be unlike that of any other lab. */
  readonly namespace: string
  /** The Nodes that the lab will register. */
  readonly nodeNames: readonly string[]
  /** For the kubeconfig; the caller removes it. */
  readonly directory: string
  readonly clock: Clock
  readonly log: Log
}

interface Kubeconfig {
  readonly clusters: readonly { readonly name: string; readonly cluster: KubeconfigCluster }[]
  readonly contexts: readonly { readonly name: string; readonly context: Readonly<Record<string, unknown>> }[]
  readonly [key: string]: unknown
}

export interface KubeconfigCluster {
  readonly server: string
  readonly 'tls-server-name'?: string
  readonly 'insecure-skip-tls-verify'?: boolean
  readonly [key: string]: unknown
}

/** The pods of the lab name it, so that a scheduler of the cluster leaves them alone. */
export const labScheduler = 'bellhop-lab'
const taintKey = 'lab.bellhop.io/lab'
/** In the certificate of every API server; an address cannot be asked for by name. */
const serverNameOfAll = 'kubernetes.default.svc'

/** What the cluster that somebody named does not do for a lab; the message is for them, and says all there is to say. */
export class NamedClusterError extends Error {
  override readonly name = 'NamedClusterError'
}

const bellhopNamespace = 'bellhop-system'
const crds = ['bgpconfs', 'bgppeers', 'bgppolicies', 'vippools', 'vips'].map((plural) => `${plural}.bellhop.io`)
const roles = ['bellhop-controller', 'bellhop-agent', 'bellhop-node-speaker', 'bellhop-adoption']

/** What $KUBECONFIG and its files mean now, in one text. Throws a NamedClusterError. */
export async function flattenedKubeconfig(kubeconfig: string): Promise<string> {
  const files = kubeconfig.split(path.delimiter).filter((file) => file !== '')
  // kubectl takes a file that is not there for an empty one.
  if (!files.some((file) => existsSync(file)))
    throw new NamedClusterError(
      files.length === 0 ? 'no kubeconfig is named' : `there is no file ${files.join(' or ')}`,
    )
  const args = ['config', 'view', '--raw', '--flatten', '--minify']
  const env = { KUBECONFIG: kubeconfig, HOME: homedir(), NO_COLOR: '1' }
  const { status, stdout, stderr } = await systemExec(process.env['BELLHOP_KUBECTL'] ?? 'kubectl', args, { env })
  if (status !== 0) throw new NamedClusterError(`${kubeconfig} is no kubeconfig to go by: ${wordsOf(stderr)}`)
  return stdout
}

/** Takes a namespace of the cluster for the lab. Throws a NamedClusterError, before anything is made there, when it is none for that. */
export async function takeNamedCluster(options: NamedClusterOptions): Promise<ControlPlane> {
  const { namespace, nodeNames, directory, clock, log } = options
  const original = parse(options.kubeconfig) as Kubeconfig
  const cluster = original.clusters[0]?.cluster
  if (cluster === undefined) throw new NamedClusterError('the kubeconfig names no cluster')
  const kubeconfig = stringify({
    ...original,
    contexts: original.contexts.map(({ name, context }) => ({ name, context: { ...context, namespace } })),
  })
  const file = path.join(directory, 'kubeconfig-named-cluster')
  writeFileSync(file, kubeconfig, { mode: 0o600 })
  const kubectl = runKubectl(file)
  await refuseUnlessFit(kubectl, cluster.server)
  await refuseUnlessFree(kubectl, cluster.server, [
    `nodes ${nodeNames.join(' ')}`,
    `namespaces ${bellhopNamespace} ${namespace}`,
    `customresourcedefinitions ${crds.join(' ')}`,
    `clusterroles ${roles.join(' ')}`,
    `clusterrolebindings ${roles.join(' ')}`,
  ])
  const created = await kubectl(['create', 'namespace', namespace])
  if (created.status !== 0) {
    // Whoever interrupts kubectl has not interrupted the server.
    await kubectl(['delete', 'namespace', namespace, '--ignore-not-found', '--timeout=60s'])
    throw new NamedClusterError(wordsOf(created.stderr))
  }

  const credentials = { type: 'kubeconfig', path: file } as const
  const client = must(await createKubeClient({ credentials, clock, log, userAgent: 'bellhop-lab' }))
  const binder = startPodBinder({ client, clock, log, namespace, scheduler: labScheduler, nodeNames })
  const url = new URL(cluster.server)
  const serviceClass = `bellhop.io/${namespace}`
  const taint: NodeTaint = { key: taintKey, value: namespace, effect: 'NoSchedule' }
  return {
    kubeconfig,
    credentials,
    server: { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port === '' ? 443 : url.port) },
    nodeKubeconfig: (from, token) => stringify(nodeKubeconfig(cluster, from, token)),
    namespace,
    nodeTaints: [taint],
    programArgs: ['--class', serviceClass, '--default-class', 'false'],
    adapt: (manifest) => adapt(manifest, serviceClass),
    stop: async () => {
      await binder.stop()
      client.close()
      await removeEverything(kubectl, namespace, nodeNames)
    },
  }
}

type RunKubectl = (args: readonly string[], options?: { readonly input?: string }) => Promise<ExecResult>

const runKubectl =
  (kubeconfig: string): RunKubectl =>
  (args, options = {}) =>
    systemExec(process.env['BELLHOP_KUBECTL'] ?? 'kubectl', args, {
      ...options,
      env: { KUBECONFIG: kubeconfig, HOME: homedir(), NO_COLOR: '1' },
      timeoutMs: 120_000,
    })

/** What kubectl says, without what it logs before it says it. */
const wordsOf = (stderr: string): string =>
  stderr
    .split('\n')
    .filter((line) => line.trim() !== '' && !/^[EIW]\d{4} /.test(line))
    .join('\n')
    .replace(/^error: /i, '')

const dualStackProbe = JSON.stringify({
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'bellhop-probe', namespace: 'default' } },
  spec: { ipFamilyPolicy: 'RequireDualStack', ports: [{ port: 80 }] },
})

// Asked for before anything is made: who finds out in the middle has a cluster to tidy up.
async function refuseUnlessFit(kubectl: RunKubectl, server: string): Promise<void> {
  const allowed = await kubectl(['auth', 'can-i', '*', '*', '--all-namespaces', '--request-timeout=10s'])
  if (allowed.stdout.trim() === 'no')
    throw new NamedClusterError(
      `the lab needs an administrator of the cluster at ${server} (it makes Nodes, CRDs and roles), and this kubeconfig is none's: ` +
        'kubectl auth can-i "*" "*" --all-namespaces says no',
    )
  if (allowed.status !== 0)
    throw new NamedClusterError(`the cluster at ${server} cannot be used: ${wordsOf(allowed.stderr)}`)
  const dualStack = await kubectl(['create', '--dry-run=server', '-f', '-'], { input: dualStackProbe })
  if (dualStack.status !== 0)
    throw new NamedClusterError(
      `the lab's Service has an IPv4 and an IPv6 address, and the cluster at ${server} takes no such Service: ${wordsOf(dualStack.stderr)}`,
    )
}

async function refuseUnlessFree(kubectl: RunKubectl, server: string, names: readonly string[]): Promise<void> {
  const found: string[] = []
  for (const name of names) {
    const { status, stdout, stderr } = await kubectl(['get', ...name.split(' '), '--ignore-not-found', '-o', 'name'])
    if (status !== 0) throw new NamedClusterError(`the cluster at ${server} cannot be used: ${wordsOf(stderr)}`)
    found.push(...stdout.split('\n').filter((line) => line !== ''))
  }
  if (found.length > 0)
    throw new NamedClusterError(
      `the cluster at ${server} has objects that the lab would have to make, and none of them is touched:\n` +
        `  ${found.join('\n  ')}\n` +
        'Where there is no Bellhop but what an interrupted demo or test left, docs/testing.md says how to remove it.',
    )
}

/** The cluster as a node sees it, through the lab's relay: at another address, with the certificate that it has. */
export function nodeKubeconfig(cluster: KubeconfigCluster, from: Endpoint, token: string): object {
  const url = new URL(cluster.server)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const name = cluster['tls-server-name'] ?? (isIP(host) > 0 ? serverNameOfAll : host)
  const verified = url.protocol === 'https:' && cluster['insecure-skip-tls-verify'] !== true
  const server = `${url.protocol}//${from.host}:${from.port}${url.pathname}`
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster: { ...cluster, server, ...(verified ? { 'tls-server-name': name } : {}) } }],
    users: [{ name: 'program', user: { token } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'program' } }],
    'current-context': 'lab',
  }
}

type Manifest = Readonly<Record<string, unknown>> & {
  readonly kind?: string
  readonly spec?: ManifestSpec
  /** Of a List. */
  readonly items?: readonly Manifest[]
}
type ManifestSpec = Readonly<Record<string, unknown>> & {
  readonly type?: string
  readonly template?: { readonly spec?: object }
}

/** Services of the lab's class, and pods that only the lab places, on its tainted nodes. */
function adapt(manifest: string, serviceClass: string): string {
  const objects = parseAllDocuments(manifest).map((document) => document.toJS() as Manifest)
  return objects.map((object) => stringify(adaptObject(object, serviceClass))).join('---\n')
}

function adaptObject(object: Manifest, serviceClass: string): Manifest {
  const { kind, spec = {}, items } = object
  if (items !== undefined) return { ...object, items: items.map((item) => adaptObject(item, serviceClass)) }
  if (kind === 'Service' && spec.type === 'LoadBalancer')
    return { ...object, spec: { ...spec, loadBalancerClass: serviceClass } }
  if (kind !== 'Deployment') return object
  const pod = {
    ...spec.template?.spec,
    schedulerName: labScheduler,
    tolerations: [{ key: taintKey, operator: 'Exists' }],
  }
  return { ...object, spec: { ...spec, template: { ...spec.template, spec: pod } } }
}

// Rights go first: a program of the lab that still runs must not put back what is taken away. What fails keeps nothing else.
async function removeEverything(kubectl: RunKubectl, namespace: string, nodes: readonly string[]): Promise<void> {
  const complaints: string[] = []
  const remove = async (...args: readonly string[]): Promise<void> => {
    const { status, stderr } = await kubectl(['delete', ...args, '--ignore-not-found', '--timeout=60s'])
    if (status !== 0) complaints.push(`kubectl delete ${args.join(' ')}: ${wordsOf(stderr)}`)
  }
  await remove('clusterrolebindings', ...roles)
  await remove('clusterroles', ...roles)
  const services = await kubectl(['get', 'services', '-n', namespace, '-o', 'name'])
  for (const name of services.stdout.split('\n').filter((line) => line !== ''))
    await kubectl(['patch', name, '-n', namespace, '--type=merge', '-p', '{"metadata":{"finalizers":null}}'])
  await remove('deployments', '--all', '-n', namespace)
  // No kubelet is left that would say that they are gone.
  await remove('pods', '--all', '-n', namespace, '--force', '--grace-period=0')
  await remove('-k', path.join(repositoryRoot, 'crds'))
  await remove('namespaces', namespace, bellhopNamespace)
  await remove('nodes', ...nodes)
  await remove('leases', ...nodes, '-n', 'kube-node-lease')
  if (complaints.length > 0)
    throw new NamedClusterError(
      `something of the lab is left on the cluster; docs/testing.md says how to remove it\n  ${complaints.join('\n  ')}`,
    )
}
