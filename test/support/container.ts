// A container as a manifest describes it, on this machine and without an engine: the capabilities, the user, the read-only root file
// system, the mounts, the environment and the command line are read off the rendered Pod, so that what is run here and what is
// deployed cannot drift apart. The image is this machine's root file system with none of its programs but those that
// docker/Dockerfile installs, and the bundle.

import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Json, JsonObject } from '../../src/lab/apiserver/json.ts'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { at, isObject, listAt } from '../deploy/rendered.ts'

const repositoryRoot = path.resolve(import.meta.dirname, '../..')

/** Who the Pod is to the API server, as the kubelet would put it into every container. */
export interface ServiceAccountFiles {
  readonly token: string
  /** PEM. */
  readonly ca: string
  readonly namespace: string
  /** Where `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT` point. */
  readonly server: { readonly host: string; readonly port: number }
}

export interface ContainerOptions {
  /** A Deployment or DaemonSet. */
  readonly workload: JsonObject
  /** The network of its host. */
  readonly namespace: Namespace
  /** The folder that scripts/build.ts wrote. */
  readonly bundle: string
  /** For the downward API: `metadata.name`, `spec.nodeName`, ... */
  readonly fields: Readonly<Record<string, string>>
  readonly serviceAccount: ServiceAccountFiles
  /** An empty folder; `<folder>/host` stands for the root of the host, as far as hostPath volumes see it. */
  readonly folder: string
  /** Appended to the command line. */
  readonly args?: readonly string[]
  /** On top of the manifest's. */
  readonly env?: Readonly<Record<string, string>>
}

/** Capabilities by their numbers in linux/capability.h; all that an engine may know and a manifest of ours names. */
const capabilityNumbers: Readonly<Record<string, number>> = { NET_BIND_SERVICE: 10, NET_ADMIN: 12, NET_RAW: 13 }

/** The set in the form of /proc/PID/status. */
export const capabilityMask = (names: readonly string[]): string =>
  names
    .reduce((mask, name) => mask | (1n << BigInt(capabilityNumber(name))), 0n)
    .toString(16)
    .padStart(16, '0')

function capabilityNumber(name: string): number {
  const number = capabilityNumbers[name]
  if (number === undefined) throw new Error(`no number is known for the capability ${name}`)
  return number
}

/** The workload's only container. */
export function containerOf(workload: JsonObject): JsonObject {
  const [container, ...more] = listAt(workload, 'spec', 'template', 'spec', 'containers')
  if (!isObject(container) || more.length > 0) throw new Error('one container is expected')
  return container
}

/** Capabilities that the container is given, by name. */
export const capabilitiesOf = (workload: JsonObject): readonly string[] =>
  listAt(containerOf(workload), 'securityContext', 'capabilities', 'add').map(String)

/** The argument vector to spawn in the namespace; the process that it becomes is the container's. Needs root. */
export function containerArgv(options: ContainerOptions): readonly string[] {
  const { workload, folder } = options
  const container = containerOf(workload)
  mkdirSync(path.join(folder, 'account'), { recursive: true })
  const { token, ca, namespace } = options.serviceAccount
  for (const [name, text] of Object.entries({ token, 'ca.crt': ca, namespace }))
    writeFileSync(path.join(folder, 'account', name), text)
  const script = path.join(folder, 'start.sh')
  writeFileSync(script, renderScript(options, container))
  chmodSync(script, 0o755)
  const capabilities = capabilitiesOf(workload).map((name) => `+${name.toLowerCase()}`)
  const security = at(container, 'securityContext')
  return [
    ...['sh', script],
    ...['setpriv', '--bounding-set', ['-all', ...capabilities].join(',')],
    // An engine gives root its capabilities by exec; ambient and inheritable sets stay empty.
    ...['--inh-caps', '-all', '--ambient-caps', '-all', '--clear-groups'],
    ...['--reuid', String(at(security, 'runAsUser')), '--regid', String(at(security, 'runAsGroup'))],
    ...(at(security, 'allowPrivilegeEscalation') === false ? ['--no-new-privs'] : []),
    ...['env', '-i', ...Object.entries(environmentOf(options, container)).map(([name, value]) => `${name}=${value}`)],
    ...[...imageEntry(), ...listAt(container, 'args').map(String), ...(options.args ?? [])],
  ]
}

const dockerfile = (): string => readFileSync(path.join(repositoryRoot, 'docker/Dockerfile'), 'utf8')

/** Debian packages that the image has on top of Node's. */
export function imagePackages(): readonly string[] {
  const line = /apt-get install -y --no-install-recommends (.+?) *\\?\n/.exec(dockerfile())?.[1]
  if (line === undefined) throw new Error('docker/Dockerfile installs no packages')
  return line.split(/\s+/)
}

// The image's /usr/local/bin/bellhop, word by word.
function imageEntry(): readonly string[] {
  const script = /printf '#!\/bin\/sh\\nexec (.+) "\$@"\\n' > \/usr\/local\/bin\/bellhop/.exec(dockerfile())?.[1]
  if (script === undefined) throw new Error('docker/Dockerfile has no entry point that this understands')
  return script.split(' ')
}

/** Files of these packages that can be run, and what `update-alternatives` makes of them. */
function programsOf(packages: readonly string[]): readonly string[] {
  const files = execFileSync('dpkg', ['-L', ...packages], { encoding: 'utf8' }).split('\n')
  const programs = files.filter((file) => /^(\/usr)?\/s?bin\//.test(file)).map((file) => file.replace(/^\/usr/, ''))
  const alternatives = programs.flatMap((file) => {
    const name = /^(\/sbin\/ip6?tables)-nft(.*)$/.exec(file)
    return name === null ? [] : [`${name[1]}${name[2]}`]
  })
  return [...new Set([...programs, ...alternatives])]
}

function environmentOf(options: ContainerOptions, container: JsonObject): Readonly<Record<string, string>> {
  const { server } = options.serviceAccount
  const literal = Object.fromEntries(
    [...dockerfile().matchAll(/^ENV (\w+)=(\S+)$/gm)].map(([, k = '', v = '']) => [k, v]),
  )
  const declared = listAt(container, 'env').map((entry): readonly [string, string] => {
    const field = at(entry, 'valueFrom', 'fieldRef', 'fieldPath')
    const value = field === undefined ? at(entry, 'value') : options.fields[String(field)]
    if (typeof value !== 'string') throw new Error(`no value for the variable ${at(entry, 'name')}`)
    return [String(at(entry, 'name')), value]
  })
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    HOSTNAME: options.namespace.name,
    ...literal,
    KUBERNETES_SERVICE_HOST: server.host,
    KUBERNETES_SERVICE_PORT: String(server.port),
    ...Object.fromEntries(declared),
    ...options.env,
  }
}

// The root of the image is an overlay, because that is the one way to have mount points in it that this machine has not.
function renderScript(options: ContainerOptions, container: JsonObject): string {
  const { folder, bundle } = options
  const readOnly = at(container, 'securityContext', 'readOnlyRootFilesystem') === true
  const lines = [
    '# Runs in a mount namespace of its own, which `ip netns exec` makes.',
    'set -eu',
    'mount -t tmpfs -o mode=0755 none /mnt',
    'mkdir /mnt/upper /mnt/work /mnt/root',
    'mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work none /mnt/root',
    'cd /mnt/root',
    // Only the image's programs.
    'mount -t tmpfs -o mode=0755 none usr/local',
    'mkdir -p usr/local/bin opt/bellhop',
    'for folder in usr/bin usr/sbin; do mount -t tmpfs -o mode=0755 none $folder; done',
    ...basePrograms.map((file) => `cp -a ${file} usr/bin/`),
    ...programsOf(imagePackages()).map((file) => `cp -a ${file} usr${path.dirname(file)}/`),
    `touch usr/local/bin/node && mount --bind ${process.execPath} usr/local/bin/node`,
    'mount -o remount,bind,ro usr/local/bin/node',
    `mount --bind ${bundle} opt/bellhop && mount -o remount,bind,ro opt/bellhop`,
    // What every engine gives.
    'mount -t proc -o nosuid,nodev,noexec none proc',
    'mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys',
    'mount -t sysfs -o ro,nosuid,nodev,noexec none sys',
    'mount -t tmpfs -o mode=0755 none dev',
    'for file in null zero full random urandom; do touch dev/$file; mount --bind /dev/$file dev/$file; done',
    'mount -t tmpfs -o mode=0755 none run',
    'mkdir -p run/secrets/kubernetes.io/serviceaccount',
    `mount --bind ${folder}/account run/secrets/kubernetes.io/serviceaccount`,
    'mount -o remount,bind,ro run/secrets/kubernetes.io/serviceaccount',
    ...listAt(container, 'volumeMounts').flatMap((mount) => renderMount(options, mount)),
    ...(readOnly ? ['for folder in . usr/bin usr/sbin usr/local dev run; do mount -o remount,ro $folder; done'] : []),
    'exec chroot . "$@"',
  ]
  return `${lines.join('\n')}\n`
}

/** Of the base image: what starts the container, and nothing that the agent asks for. */
const basePrograms: readonly string[] = ['/usr/bin/env', '/usr/bin/setpriv']

function renderMount({ workload, folder }: ContainerOptions, mount: Json): readonly string[] {
  const volume = listAt(workload, 'spec', 'template', 'spec', 'volumes').find(
    (candidate) => at(candidate, 'name') === at(mount, 'name'),
  )
  const hostPath = at(volume, 'hostPath', 'path')
  if (typeof hostPath !== 'string') throw new Error(`no hostPath volume ${at(mount, 'name')}`)
  const isFile = at(volume, 'hostPath', 'type') === 'FileOrCreate'
  const source = path.join(folder, 'host', hostPath)
  const target = String(at(mount, 'mountPath')).slice(1)
  const create = (file: string): string =>
    `mkdir -p ${isFile ? path.dirname(file) : file}${isFile ? ` && touch ${file}` : ''}`
  return [
    ...[create(source), create(target), `mount --bind ${source} ${target}`],
    ...(at(mount, 'readOnly') === true ? [`mount -o remount,bind,ro ${target}`] : []),
  ]
}
