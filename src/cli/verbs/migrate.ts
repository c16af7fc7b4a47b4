// `bellhop migrate`: objects of OpenELB (Porter) or MetalLB in, Bellhop's out, with a word on all that is not the same. Writes to
// standard output what kubectl takes, to standard error what people want to know; changes nothing anywhere.

import type { RawObject } from '../../k8s/json.ts'
import type { Service } from '../../k8s/objects.ts'
import { migrate, type Product, productsIn } from '../../migrate/migrate.ts'
import { noteLine, renderMigration } from '../../migrate/render.ts'
import { checkServices, loadBalancers, type ServiceVerdict } from '../../migrate/services.ts'
import { type Migration, problemsOf } from '../../migrate/types.ts'
import { systemClock } from '../../runtime/system-clock.ts'
import { credentialsFrom } from '../credentials.ts'
import { type ClusterObjects, InputError, readCluster, readObjects } from '../migrate-input.ts'
import { version } from '../version.ts'

export interface MigrateFlags {
  readonly kubeconfig?: string
  readonly filename?: readonly string[]
  readonly from: 'openelb' | 'metallb' | 'auto'
  readonly speaker: 'controller' | 'node'
  readonly services?: string
  readonly class: string
  readonly defaultClass: boolean
}

/** `--services` with this value reads them from the cluster. */
const fromCluster = 'cluster'

/** The exit status is 0 when nothing is left to decide, else 1: a problem, a Service that would lose an address, unreadable input. */
export async function migrateVerb(flags: MigrateFlags): Promise<void> {
  try {
    const input = await readInput(flags)
    const { yaml, summary, clean } = convert(input, flags)
    process.stdout.write(yaml)
    process.stderr.write(summary)
    process.exitCode = clean ? 0 : 1
  } catch (error) {
    if (!(error instanceof InputError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exitCode = 1
  }
}

export interface MigrateInput {
  readonly configuration: readonly RawObject[]
  /** Undefined: nobody looked. */
  readonly services: readonly Service[] | undefined
  readonly namespaces: readonly RawObject[]
}

async function readInput({ kubeconfig, filename, from, services }: MigrateFlags): Promise<MigrateInput> {
  const files = filename === undefined ? undefined : readObjects(filename)
  const listed = services === undefined || services === fromCluster ? undefined : readObjects([services])
  const cluster: ClusterObjects | undefined =
    files === undefined || services === fromCluster
      ? await readCluster(credentialsFrom(kubeconfig), {
          clock: systemClock,
          userAgent: `bellhop/${version} (migrate)`,
          configuration: files !== undefined ? [] : from === 'auto' ? ['openelb', 'metallb'] : [from],
        })
      : undefined
  const given = [...(listed ?? []), ...(files ?? [])]
  const found = loadBalancers(listed ?? cluster?.services ?? files ?? [])
  const known = listed !== undefined || cluster !== undefined || found.length > 0
  return {
    configuration: files ?? cluster?.configuration ?? [],
    services: known ? found : undefined,
    namespaces: [...given.filter((raw) => raw['kind'] === 'Namespace'), ...(cluster?.namespaces ?? [])],
  }
}

/** The conversion with its summary. `clean`: nobody has to decide anything. */
export function convert(
  { configuration, services, namespaces }: MigrateInput,
  flags: Pick<MigrateFlags, 'from' | 'class' | 'defaultClass'> & Partial<Pick<MigrateFlags, 'speaker'>>,
): { readonly yaml: string; readonly summary: string; readonly clean: boolean } {
  const { speaker = 'controller' } = flags
  const from = productOf(configuration, flags.from)
  if (speaker === 'node' && from === 'openelb')
    throw new InputError(
      "--speaker node is for MetalLB's objects: of OpenELB's, set speaker: node in the BgpPeers that come out",
    )
  const migration = migrate(configuration, {
    ...{ from, speaker },
    ...(services === undefined ? {} : { services }),
  })
  const verdicts =
    services === undefined
      ? undefined
      : checkServices(
          migration.objects.map(({ object }) => object),
          services,
          { serviceClass: { name: flags.class, handleDefault: flags.defaultClass }, namespaces },
        )
  const problems = problemsOf(migration)
  const harmed = (verdicts ?? []).filter(({ outcome }) => outcome === 'loses' || outcome === 'foreign')
  const empty = migration.objects.length === 0
  return {
    yaml: renderMigration(migration),
    summary: `${[
      ...counts(migration),
      ...problems.map(({ title, note }) => `! ${title}: ${[noteLine(note), note.command ?? []].flat().join(' ')}`),
      ...serviceLines(verdicts),
      ...(speaker === 'node' ? nodeSteps(migration) : []),
    ].join('\n')}\n`,
    clean: problems.length === 0 && harmed.length === 0 && !empty,
  }
}

// Two announcers in one cluster share nothing that one set of policies could say: each is moved over by itself.
function productOf(configuration: readonly RawObject[], from: MigrateFlags['from']): Product {
  if (from !== 'auto') return from
  const [first = 'metallb', second] = productsIn(configuration)
  if (second === undefined) return first
  throw new InputError('there are objects of both OpenELB and MetalLB: convert one at a time, with --from')
}

function counts({ objects, without }: Migration): readonly string[] {
  if (objects.length === 0 && without.length === 0)
    return ['nothing to convert: no objects of network.kubesphere.io or metallb.io, and no ConfigMap of MetalLB']
  const kinds = ['BgpConf', 'BgpPeer', 'VipPool', 'BgpPolicy'] as const
  const parts = kinds.map((kind) => {
    const count = objects.filter(({ object }) => object.kind === kind).length
    return `${count} ${kind}`
  })
  return [`${parts.join(', ')}; ${without.length} without an object of their own`]
}

/** What sessions from every node need beside the objects. */
function nodeSteps({ objects }: Migration): readonly string[] {
  const peers = objects.filter(({ object }) => object.kind === 'BgpPeer')
  const hasPassword = peers.some(({ object }) => object.spec['passwordSecretRef'] !== undefined)
  if (peers.length === 0) return []
  return [
    'next, for sessions from every node:',
    '  kubectl apply -k deploy/node-speakers instead of deploy/base: the agents need its rights',
    ...(hasPassword
      ? ['  kubectl -n bellhop-system create secret generic bgp-node-peers, then the commands in the comments fill it']
      : []),
    "  leave the routers' neighbours as they are, one a node: they need no ADD-PATH",
    '  stop the MetalLB speaker of a node before the agent speaks from it: a router has one session with each address',
  ]
}

const limit = 20

function serviceLines(verdicts: readonly ServiceVerdict[] | undefined): readonly string[] {
  if (verdicts === undefined)
    return ['Services were not checked: --services <file|folder|cluster> says whether each keeps its address']
  const of = (outcome: ServiceVerdict['outcome']): readonly ServiceVerdict[] =>
    verdicts.filter((verdict) => verdict.outcome === outcome)
  const lines = (found: readonly ServiceVerdict[], words: (verdict: ServiceVerdict) => string): readonly string[] => [
    ...found.slice(0, limit).map(words),
    ...(found.length > limit ? [`  and ${found.length - limit} more`] : []),
  ]
  return [
    `${of('keeps').length} of ${verdicts.filter(({ addresses, outcome }) => addresses.length > 0 && outcome !== 'gets').length} Services with an address keep it`,
    // Every one of them: who reads this has to act on each.
    ...of('loses').map(
      ({ service, addresses, because }) => `! Service ${service} would lose ${addresses.join(', ')}: ${because}`,
    ),
    ...of('foreign').map(
      ({ service, addresses, because }) =>
        `! Service ${service} has ${addresses.join(', ')} and would not be served: ${because}`,
    ),
    ...lines(
      of('gets'),
      ({ service, addresses }) => `~ Service ${service} has no address and will get ${addresses.join(', ')}`,
    ),
    ...lines(of('waits'), ({ service, because }) => `- Service ${service} has no address and gets none: ${because}`),
  ]
}
