// The daemons that are compared, each given the table in the way it is meant to be given one, each passive on port 179 of a
// namespace of its own: our speaker, gobgpd by an MRT file, BIRD and ExaBGP by their configuration, OpenBGPD by a feeder that it
// passes the routes on from, because it originates one next hop a prefix. A sender is ready when it has the table.

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { bundle } from '../../scripts/build.ts'
import type { Namespace } from '../../src/lab/netns/namespace.ts'
import { nodeProgram, repositoryRoot } from '../../src/lab/netns/node-program.ts'
import type { LabProcess } from '../../src/lab/netns/process.ts'
import { missingForLab } from '../../src/lab/requirements.ts'
import type { RouterKind } from '../../src/lab/routers/router.ts'
import type { BellhopOptions } from './bellhop-program.ts'
import { writeMrt } from './mrt.ts'
import {
  bgpPort,
  changerAddress,
  feederAddress,
  feederAsn,
  host,
  nextHop,
  receiverAsn,
  senderAsn,
  type TableSize,
} from './plan.ts'
import type { ReplayOptions } from './replay-program.ts'

export type SenderName = 'bellhop' | 'gobgpd' | 'bird' | 'exabgp' | 'openbgpd' | 'bytes'

export interface SenderOptions extends TableSize {
  readonly namespace: Namespace
  /** The sender's own. */
  readonly address: string
  readonly receivers: readonly string[]
  /** For configuration and sockets. */
  readonly directory: string
}

export interface Sender {
  readonly name: SenderName
  readonly daemon: LabProcess
}

const routerOf: Readonly<Record<SenderName, readonly RouterKind[]>> = {
  bellhop: [],
  bytes: [],
  gobgpd: ['gobgp'],
  bird: ['bird'],
  exabgp: ['exabgp'],
  openbgpd: ['openbgpd'],
}

/** Those of `names` that can run here; says what is left out, and why. */
export async function availableSenders(names: readonly SenderName[]): Promise<readonly SenderName[]> {
  const available: SenderName[] = []
  for (const name of names) {
    const missing = await missingForLab(routerOf[name])
    if (missing.length === 0) available.push(name)
    else console.log(`without ${name}: ${missing.join(', ')}`)
  }
  return available
}

const loadTimeoutMs = 600_000
/** As in deploy/. Bundled, too, as it runs there: stripping types alone takes 30 MB. */
const productionEnvironment = { NODE_OPTIONS: '--max-semi-space-size=4' }

/** Starts a daemon; resolves when it has the whole table. It ends with its network. */
export const startSender: Readonly<Record<SenderName, (options: SenderOptions) => Promise<Sender>>> = {
  bellhop: async (options) => {
    const { prefixes, nextHops, address, receivers, namespace } = options
    const settings: BellhopOptions = { prefixes, nextHops, address, receivers, maxPrefixesIn: 2_000_000 }
    const outputFolder = inDirectory(options, 'bundle')
    await bundle({ root: repositoryRoot, entry: 'bench/bgp/bellhop-program.ts', outputFolder })
    const script = path.relative(repositoryRoot, path.join(outputFolder, 'bellhop.mjs'))
    return { name: 'bellhop', daemon: await ready(namespace, script, settings, { env: productionEnvironment }) }
  },
  bytes: async ({ prefixes, nextHops, address, namespace }) => {
    const settings: ReplayOptions = { prefixes, nextHops, asn: senderAsn, address }
    return { name: 'bytes', daemon: await ready(namespace, 'bench/bgp/replay-program.ts', settings) }
  },
  gobgpd: async (options) => {
    const { namespace } = options
    const file = inDirectory(options, 'gobgpd.toml')
    writeFileSync(file, gobgpConfiguration(options))
    const daemon = namespace.spawn(['gobgpd', '-f', file, '--log-level', 'error', '--api-hosts', '127.0.0.1:50051'])
    const answers = async (): Promise<boolean> => (await namespace.exec(['gobgp', 'global'])).status === 0
    await daemon.waitUntil(answers, { what: 'gobgpd answers' })
    const mrt = inDirectory(options, 'table.mrt')
    writeMrt(mrt, options)
    await namespace.run(['gobgp', 'mrt', 'inject', 'global', mrt], { timeoutMs: loadTimeoutMs })
    const { prefixes, nextHops } = options
    const expected = new RegExp(`Destination: ${prefixes}, Path: ${prefixes * nextHops}\\b`)
    const loaded = async (): Promise<boolean> =>
      expected.test(await namespace.run(['gobgp', 'global', 'rib', 'summary']))
    await daemon.waitUntil(loaded, { what: 'gobgpd has the table', timeoutMs: loadTimeoutMs })
    return { name: 'gobgpd', daemon }
  },
  bird: async (options) => {
    const { namespace, prefixes, nextHops } = options
    const file = inDirectory(options, 'bird.conf')
    const socket = inDirectory(options, 'bird.ctl')
    writeFileSync(file, birdConfiguration(options))
    const daemon = namespace.spawn(['bird', '-f', '-c', file, '-s', socket, '-P', inDirectory(options, 'bird.pid')])
    const expected = `${prefixes * nextHops} of ${prefixes * nextHops} routes for ${prefixes} networks`
    const loaded = async (): Promise<boolean> =>
      (await namespace.exec(['birdc', '-r', '-s', socket, 'show route count'])).stdout.includes(expected)
    await daemon.waitUntil(loaded, { what: 'BIRD has the table', timeoutMs: loadTimeoutMs })
    return { name: 'bird', daemon }
  },
  exabgp: async (options) => {
    const { namespace, address } = options
    const file = inDirectory(options, 'exabgp.conf')
    writeFileSync(file, exabgpConfiguration(options))
    const env = {
      'exabgp.daemon.user': 'root',
      'exabgp.tcp.bind': address,
      'exabgp.tcp.port': String(bgpPort),
      'exabgp.log.level': 'CRIT',
      'exabgp.api.cli': 'false',
      'exabgp.cache.attributes': 'true',
    }
    const daemon = namespace.spawn(['exabgp', file], { env })
    const listens = async (): Promise<boolean> =>
      (await namespace.run(['ss', '-Hltn', `sport = :${bgpPort}`])).includes(address)
    await daemon.waitUntil(listens, { what: 'ExaBGP listens', timeoutMs: loadTimeoutMs })
    return { name: 'exabgp', daemon }
  },
  openbgpd: async (options) => {
    const { namespace, prefixes, nextHops, address } = options
    const file = inDirectory(options, 'bgpd.conf')
    const socket = inDirectory(options, 'bgpd.sock')
    writeFileSync(file, openbgpdConfiguration(options, socket), { mode: 0o600 })
    const prepare = 'mount -t tmpfs tmpfs /run && mkdir /run/openbgpd && exec "$@"'
    const daemon = namespace.spawn(['sh', '-c', prepare, 'start', '/usr/sbin/bgpd', '-d', '-f', file])
    const settings: ReplayOptions = { prefixes, nextHops, asn: feederAsn, address: feederAddress, feeds: address }
    await namespace.addAddress('lo', `${feederAddress}/32`)
    const feeder = await ready(namespace, 'bench/bgp/replay-program.ts', settings)
    // Each path once as it was received and once in the table.
    const expected = `${2 * prefixes * nextHops} prefix entries`
    const loaded = async (): Promise<boolean> =>
      (await namespace.exec(['bgpctl', '-s', socket, 'show', 'rib', 'mem'])).stdout.includes(` ${expected}`)
    await feeder.waitUntil(loaded, { what: 'OpenBGPD has the table', timeoutMs: loadTimeoutMs })
    return { name: 'openbgpd', daemon }
  },
}

const inDirectory = ({ directory }: SenderOptions, name: string): string => path.join(directory, name)

interface ReadyOptions {
  readonly onFirst?: (line: string) => void
  readonly env?: Readonly<Record<string, string>>
}

/** Starts one of our own programs, and waits for its first line. */
export async function ready(
  namespace: Namespace,
  script: string,
  settings: object,
  { onFirst, env = {} }: ReadyOptions = {},
): Promise<LabProcess> {
  const daemon = namespace.spawn(nodeProgram(script, [JSON.stringify(settings)]), { env })
  let spoken = false
  daemon.onLine((line) => {
    if (!spoken) onFirst?.(line)
    spoken = true
  })
  await daemon.waitUntil(() => spoken, { what: `${script} is ready`, timeoutMs: loadTimeoutMs })
  return daemon
}

const legs = ({ nextHops }: TableSize): readonly number[] => Array.from({ length: nextHops }, (_, leg) => leg)
const hosts = ({ prefixes }: TableSize): readonly string[] => Array.from({ length: prefixes }, (_, i) => host(i))

const gobgpConfiguration = (options: SenderOptions): string =>
  [
    '[global.config]',
    `as = ${senderAsn}`,
    `router-id = "${options.address}"`,
    `local-address-list = ["${options.address}"]`,
    ...options.receivers.flatMap((receiver) => [
      '[[neighbors]]',
      '[neighbors.config]',
      `neighbor-address = "${receiver}"`,
      `peer-as = ${receiverAsn}`,
      '[neighbors.transport.config]',
      'passive-mode = true',
      '[[neighbors.afi-safis]]',
      '[neighbors.afi-safis.config]',
      'afi-safi-name = "ipv4-unicast"',
      '[neighbors.afi-safis.add-paths.config]',
      `send-max = ${options.nextHops}`,
    ]),
    '[[neighbors]]',
    '[neighbors.config]',
    `neighbor-address = "${changerAddress}"`,
    `peer-as = ${feederAsn}`,
    '[neighbors.transport.config]',
    'passive-mode = true',
  ].join('\n')

// One static protocol a next hop, because BIRD keeps one route a protocol and prefix; the next hop set where the route enters.
const birdConfiguration = (options: SenderOptions): string =>
  [
    'log stderr { error, fatal };',
    `router id ${options.address};`,
    'protocol device { scan time 60; }',
    ...legs(options).flatMap((leg) => [
      `protocol static s${leg} {`,
      '  ipv4;',
      ...hosts(options).map((address) => `  route ${address}/32 via ${nextHop(leg)};`),
      '}',
    ]),
    ...options.receivers.flatMap((receiver, i) => [
      `protocol bgp r${i} {`,
      `  local ${options.address} as ${senderAsn}; neighbor ${receiver} as ${receiverAsn}; direct; passive;`,
      '  ipv4 { import none; export where source = RTS_STATIC || source = RTS_BGP; add paths tx; };',
      '}',
    ]),
    'protocol bgp changer {',
    `  local ${options.address} as ${senderAsn}; neighbor ${changerAddress} as ${feederAsn}; direct; passive;`,
    '  ipv4 { import all; export none; };',
    '}',
  ].join('\n')

const exabgpConfiguration = (options: SenderOptions): string =>
  [
    'template { neighbor all {',
    `  router-id ${options.address}; local-address ${options.address}; local-as ${senderAsn}; peer-as ${receiverAsn};`,
    '  hold-time 90; passive true; group-updates true;',
    '  family { ipv4 unicast; }',
    '  capability { asn4 enable; route-refresh enable; add-path send; }',
    '  static {',
    ...legs(options).flatMap((leg) =>
      hosts(options).map(
        (address) => `    route ${address}/32 next-hop ${nextHop(leg)} path-information 0.0.0.${leg + 1} origin igp;`,
      ),
    ),
    '  }',
    '} }',
    ...options.receivers.map((receiver) => `neighbor ${receiver} { inherit all; }`),
  ].join('\n')

const openbgpdConfiguration = (options: SenderOptions, socket: string): string =>
  `${[
    `AS ${senderAsn}`,
    `router-id ${options.address}`,
    `listen on ${options.address}`,
    `socket "${socket}"`,
    'fib-update no',
    `neighbor ${feederAddress} {`,
    `  remote-as ${feederAsn}`,
    '  passive',
    '  multihop 2',
    '  announce IPv4 unicast',
    '  announce add-path recv yes',
    '}',
    ...options.receivers.flatMap((receiver) => [
      `neighbor ${receiver} {`,
      `  remote-as ${receiverAsn}`,
      '  passive',
      '  announce IPv4 unicast',
      '  announce add-path send all',
      '}',
    ]),
    `neighbor ${changerAddress} {`,
    `  remote-as ${feederAsn}`,
    '  passive',
    '  announce IPv4 unicast',
    '  export none',
    '}',
    'allow from any',
    'allow to any',
  ].join('\n')}\n`
